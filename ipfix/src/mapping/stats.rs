// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of flow statistics: of any record that has them, whatever its application protocol. Definitions are in
//! `docs/statistics.md`.
//!
//! Flowmon's elements are of one direction and have no reverse ones, so the reverse direction has some of ours. In lists of
//! bursts, CESNET's exporter writes numbers of four octets for elements that libfds declares to have two, since two do not
//! hold them; so do we.

use super::{cesnet, flowmon, iana, reverse, weir};

rows! { Statistics:
    packet_lengths "packetLength" [Signed16] = cesnet(1013);
    packet_times "packetTime" [DateTimeMilliseconds] = cesnet(1014);
    packet_flags "packetFlag" [Unsigned8] = cesnet(1015);
    packet_directions "packetDirection" [Signed8] = cesnet(1016);
    size_histogram "phistSrcSizes" [Unsigned32] = cesnet(1060);
    time_histogram "phistSrcInterPacketTime" [Unsigned32] = cesnet(1061);
    reverse_size_histogram "phistDstSizes" [Unsigned32] = cesnet(1062);
    reverse_time_histogram "phistDstInterPacketTime" [Unsigned32] = cesnet(1063);
    burst_packets "burstSrcPackets" [Unsigned32] = cesnet(1050);
    burst_octets "burstSrcBytes" [Unsigned32] = cesnet(1051);
    burst_starts "burstSrcTimeStart" [DateTimeMilliseconds] = cesnet(1052);
    burst_ends "burstSrcTimeStop" [DateTimeMilliseconds] = cesnet(1053);
    reverse_burst_packets "burstDstPackets" [Unsigned32] = cesnet(1054);
    reverse_burst_octets "burstDstBytes" [Unsigned32] = cesnet(1055);
    reverse_burst_starts "burstDstTimeStart" [DateTimeMilliseconds] = cesnet(1056);
    reverse_burst_ends "burstDstTimeStop" [DateTimeMilliseconds] = cesnet(1057);
    entropy "payloadEntropyMillibits" Unsigned16 = weir(300);
    reverse_entropy "reversePayloadEntropyMillibits" Unsigned16 = weir(301);
    entropy_octets "payloadEntropyOctets" Unsigned16 = weir(302);
    reverse_entropy_octets "reversePayloadEntropyOctets" Unsigned16 = weir(303);
    handshake_time "npnRoundTripTime" Unsigned32 = flowmon(69);
    server_round_trip "tcpServerRoundTripTime" Unsigned32 = weir(304);
    client_round_trip "tcpClientRoundTripTime" Unsigned32 = weir(305);
    response_time "npmServerResponseTime" Unsigned32 = flowmon(70);
    retransmissions "npmTcpRetransmission" Unsigned32 = flowmon(71);
    reverse_retransmissions "reverseTcpRetransmission" Unsigned32 = weir(306);
    out_of_order "npmTcpOutOfOrder" Unsigned32 = flowmon(72);
    reverse_out_of_order "reverseTcpOutOfOrder" Unsigned32 = weir(307);
    duplicate_acks "tcpDuplicateAcknowledgments" Unsigned32 = weir(308);
    reverse_duplicate_acks "reverseTcpDuplicateAcknowledgments" Unsigned32 = weir(309);
    zero_windows "tcpZeroWindows" Unsigned32 = weir(310);
    reverse_zero_windows "reverseTcpZeroWindows" Unsigned32 = weir(311);
    window "tcpWindowSize" Unsigned16 = iana(186);
    reverse_window "reverseTcpWindowSize" Unsigned16 = reverse(186);
    mss "tcpMss" Unsigned32 = cesnet(900);
    reverse_mss "tcpMssRev" Unsigned32 = cesnet(901);
    window_scale "tcpWindowScale" Unsigned16 = iana(238);
    reverse_window_scale "reverseTcpWindowScale" Unsigned16 = reverse(238);
    tcp_options "tcpOptions" Unsigned64 = iana(209);
    reverse_tcp_options "reverseTcpOptions" Unsigned64 = reverse(209);
    syn_octets "tcpSynSize" Unsigned16 = cesnet(902), flowmon(80);
    ttl "ipTTL" Unsigned8 = iana(192);
    reverse_ttl "reverseIpTTL" Unsigned8 = reverse(192);
    ttl_min "minimumTTL" Unsigned8 = iana(52);
    reverse_ttl_min "reverseMinimumTTL" Unsigned8 = reverse(52);
    ttl_max "maximumTTL" Unsigned8 = iana(53);
    reverse_ttl_max "reverseMaximumTTL" Unsigned8 = reverse(53);
    ip_flags "fragmentFlags" Unsigned8 = iana(197);
    reverse_ip_flags "reverseFragmentFlags" Unsigned8 = reverse(197);
    source_mac "sourceMacAddress" MacAddress = iana(56);
    destination_mac "destinationMacAddress" MacAddress = iana(80);
    mpls_label "mplsTopLabelStackSection" OctetArray = iana(70);
    reverse_mpls_label "reverseMplsTopLabelStackSection" OctetArray = reverse(70);
    mpls_label_2 "mplsLabelStackSection2" OctetArray = iana(71);
    reverse_mpls_label_2 "reverseMplsLabelStackSection2" OctetArray = reverse(71);
    mpls_label_3 "mplsLabelStackSection3" OctetArray = iana(72);
    reverse_mpls_label_3 "reverseMplsLabelStackSection3" OctetArray = reverse(72);
    reverse_tos "reverseIpClassOfService" Unsigned8 = reverse(5);
    reverse_vlan "reverseVlanId" Unsigned16 = reverse(58);
    reverse_icmp "reverseIcmpTypeCodeIPv4" Unsigned16 = reverse(32);
    reverse_icmpv6 "reverseIcmpTypeCodeIPv6" Unsigned16 = reverse(139);
}
