// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of RTP and RTCP. Flowmon's are of uniflows; here they are of packets from the initiator, and those towards it have
//! elements of their own.

use super::{flowmon, weir};

rows! { Rtp:
    ssrc "rtpSsrc" Unsigned32 = weir(258);
    payload_type "rtpPayloadType" Unsigned8 = flowmon(45);
    clock_rate "rtpClockRate" Unsigned32 = weir(259);
    packets "rtpPackets" Unsigned32 = weir(260);
    lost "rtpLost" Unsigned32 = weir(261);
    late "rtpLate" Unsigned32 = weir(262);
    duplicates "rtpDuplicates" Unsigned32 = weir(263);
    jitter "rtpJitter" Unsigned32 = flowmon(46);
    max_jitter "rtpMaxJitter" Unsigned32 = weir(264);
    other_packets "rtpOtherPackets" Unsigned32 = weir(265);
    rtcp_packets "rtcpPackets" Unsigned64 = flowmon(48);
    rtcp_octets "rtcpOctets" Unsigned64 = flowmon(49);
    sender_packets "rtcpSenderPackets" Unsigned32 = weir(266);
    sender_octets "rtcpSenderOctets" Unsigned32 = weir(267);
    reported_fraction "rtcpFractionLost" Unsigned8 = weir(268);
    reported_lost "rtcpLost" Unsigned32 = flowmon(47);
    reported_jitter "rtcpJitter" Unsigned32 = weir(269);
    round_trip "rtcpRoundTrip" Unsigned32 = weir(270);
    cname "rtcpCname" String = weir(271);
    reverse_ssrc "reverseRtpSsrc" Unsigned32 = weir(272);
    reverse_payload_type "reverseRtpPayloadType" Unsigned8 = weir(273);
    reverse_clock_rate "reverseRtpClockRate" Unsigned32 = weir(274);
    reverse_packets "reverseRtpPackets" Unsigned32 = weir(275);
    reverse_lost "reverseRtpLost" Unsigned32 = weir(276);
    reverse_late "reverseRtpLate" Unsigned32 = weir(277);
    reverse_duplicates "reverseRtpDuplicates" Unsigned32 = weir(278);
    reverse_jitter "reverseRtpJitter" Unsigned32 = weir(279);
    reverse_max_jitter "reverseRtpMaxJitter" Unsigned32 = weir(280);
    reverse_other_packets "reverseRtpOtherPackets" Unsigned32 = weir(281);
    reverse_rtcp_packets "reverseRtcpPackets" Unsigned64 = weir(282);
    reverse_rtcp_octets "reverseRtcpOctets" Unsigned64 = weir(283);
    reverse_sender_packets "reverseRtcpSenderPackets" Unsigned32 = weir(284);
    reverse_sender_octets "reverseRtcpSenderOctets" Unsigned32 = weir(285);
    reverse_reported_fraction "reverseRtcpFractionLost" Unsigned8 = weir(286);
    reverse_reported_lost "reverseRtcpLost" Unsigned32 = weir(287);
    reverse_reported_jitter "reverseRtcpJitter" Unsigned32 = weir(288);
    reverse_round_trip "reverseRtcpRoundTrip" Unsigned32 = weir(289);
    reverse_cname "reverseRtcpCname" String = weir(290);
}
