// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SIP.

use super::{cesnet, flowmon, weir};

rows! { Sip:
    method "sipMethod" String = weir(10);
    request_uri "sipRequestUri" String = cesnet(107);
    status_code "sipStatusCode" [Unsigned16] = cesnet(101);
    from "sipFrom" String = cesnet(103), flowmon(34);
    to "sipTo" [String] = cesnet(104), flowmon(35);
    from_uri "sipFromUri" String = weir(11);
    to_uri "sipToUri" String = weir(12);
    call_id "sipCallId" String = cesnet(102), flowmon(33);
    user_agent "sipUserAgent" String = cesnet(106);
    cseq "sipCseq" String = cesnet(108);
    server "sipServer" String = weir(13);
    via "sipVia" String = cesnet(105), flowmon(36);
    contact "sipContact" String = weir(14);
}
