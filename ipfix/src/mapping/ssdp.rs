// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SSDP.

use super::{cesnet, flowmon, weir};

rows! { Ssdp:
    method "ssdpMethod" [String] = weir(429);
    search_target "ssdpSearchTarget" [String] = cesnet(825), flowmon(582);
    notification_type "ssdpNotificationType" [String] = cesnet(824), flowmon(581);
    unique_name "ssdpUniqueName" [String] = weir(430);
    server "ssdpServer" String = cesnet(822), flowmon(583);
    user_agent "ssdpUserAgent" String = cesnet(823), flowmon(584);
    location "ssdpLocation" String = weir(431);
    location_port "ssdpLocationPort" Unsigned16 = cesnet(821), flowmon(580);
}
