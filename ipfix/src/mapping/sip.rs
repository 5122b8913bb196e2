// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SIP. Flowmon's times of ringing, answer and end (37 to 39) are not used: their unit and zero are not published,
//! and these are durations.

use super::{cesnet, flowmon, weir};

rows! { Sip:
    message_type "sipMessageType" Unsigned16 = cesnet(100);
    method "sipMethod" String = weir(10);
    request_uri "sipRequestUri" String = cesnet(107);
    status_code "sipStatusCode" [Unsigned16] = cesnet(101);
    from "sipFrom" [String] = cesnet(103), flowmon(34);
    to "sipTo" [String] = cesnet(104), flowmon(35);
    from_uri "sipFromUri" String = weir(11);
    to_uri "sipToUri" String = weir(12);
    call_id "sipCallId" String = cesnet(102), flowmon(33);
    user_agent "sipUserAgent" String = cesnet(106);
    cseq "sipCseq" String = cesnet(108);
    server "sipServer" String = weir(13);
    via "sipVia" String = cesnet(105), flowmon(36);
    contact "sipContact" String = weir(14);
    auth_user "sipAuthUser" String = weir(250);
    media_ipv4 "sipMediaIPv4Address" [Ipv4Address] = flowmon(40);
    media_ipv6 "sipMediaIPv6Address" [Ipv6Address] = flowmon(41);
    audio_port "sipAudioPort" [Unsigned16] = flowmon(42);
    video_port "sipVideoPort" [Unsigned16] = flowmon(43);
    media_port "sipMediaPort" [Unsigned16] = weir(251);
    codec "sipCodec" [String] = weir(252);
    response_time "sipResponseTime" Unsigned32 = weir(253);
    time_to_ring "sipTimeToRing" Unsigned64 = weir(254);
    time_to_answer "sipTimeToAnswer" Unsigned64 = weir(255);
    time_to_end "sipTimeToEnd" Unsigned64 = weir(256);
    call_duration "sipCallDuration" Unsigned64 = weir(257);
}
