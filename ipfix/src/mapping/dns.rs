// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of DNS.

use super::{cesnet, flowmon, weir};

rows! { Dns:
    transaction_id "dnsTransactionId" Unsigned16 = cesnet(10), flowmon(110);
    variant "dnsVariant" String = weir(160);
    flags "dnsFlags" Unsigned16 = flowmon(111);
    opcode "dnsOpcode" Unsigned8 = weir(161);
    authoritative "dnsAuthoritative" Unsigned8 = weir(162);
    truncated "dnsTruncated" Unsigned8 = weir(163);
    recursion_available "dnsRecursionAvailable" Unsigned8 = weir(164);
    authentic_data "dnsAuthenticData" Unsigned8 = weir(165);
    query_name "dnsQueryName" String = cesnet(2), flowmon(121);
    query_type "dnsQueryType" Unsigned16 = cesnet(3), flowmon(122);
    query_class "dnsQueryClass" Unsigned16 = cesnet(4), flowmon(123);
    response_code "dnsResponseCode" Unsigned8 = cesnet(1);
    extended_response_code "dnsExtendedResponseCode" Unsigned16 = weir(166);
    question_count "dnsQuestionCount" Unsigned16 = flowmon(112);
    answer_count "dnsAnswerCount" Unsigned16 = cesnet(14), flowmon(113);
    authority_count "dnsAuthorityCount" Unsigned16 = flowmon(114);
    additional_count "dnsAdditionalCount" Unsigned16 = flowmon(115);
    answer_type "dnsAnswerType" Unsigned16 = cesnet(11), flowmon(117);
    answer_ttl "dnsAnswerTtl" Unsigned32 = cesnet(5), flowmon(119);
    answer_data_length "dnsAnswerDataLength" Unsigned16 = cesnet(6), flowmon(124);
    answer_data "dnsAnswerData" String = cesnet(7);
    answer_ipv4 "dnsAnswerIPv4Address" [Ipv4Address] = weir(1);
    answer_ipv6 "dnsAnswerIPv6Address" [Ipv6Address] = weir(2);
    answers "dnsAnswers" [String] = weir(3);
    edns_udp_size "dnsEdnsUdpSize" Unsigned16 = cesnet(8);
    edns_dnssec_ok "dnsEdnsDnssecOk" Unsigned8 = cesnet(9);
    client_subnet "dnsClientSubnet" String = weir(167);
    client_subnet_scope "dnsClientSubnetScope" Unsigned8 = weir(168);
    extended_error "dnsExtendedError" Unsigned16 = weir(169);
    response_time_micros "dnsResponseTimeMicroseconds" Unsigned32 = weir(170);
    repeated_queries "dnsRepeatedQueries" Unsigned8 = weir(171);
    additional "dnsAdditional" [String] = weir(487);
}
