// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of RTSP.

use super::{cesnet, weir};

rows! { Rtsp:
    method "rtspMethod" String = cesnet(1040);
    uri "rtspUri" String = cesnet(1042);
    status_code "rtspStatusCode" Unsigned16 = cesnet(1043);
    user_agent "rtspUserAgent" String = cesnet(1041);
    server "rtspServer" String = cesnet(1045);
    content_type "rtspContentType" String = cesnet(1044);
    transport "rtspTransport" String = weir(410);
    session "rtspSession" String = weir(411);
    cseq "rtspCseq" Unsigned32 = weir(412);
}
