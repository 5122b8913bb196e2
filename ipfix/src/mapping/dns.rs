// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of DNS.

use super::{cesnet, flowmon, weir};

rows! { Dns:
    transaction_id "dnsTransactionId" Unsigned16 = cesnet(10), flowmon(110);
    query_name "dnsQueryName" String = cesnet(2), flowmon(121);
    query_type "dnsQueryType" Unsigned16 = cesnet(3), flowmon(122);
    query_class "dnsQueryClass" Unsigned16 = cesnet(4), flowmon(123);
    response_code "dnsResponseCode" Unsigned8 = cesnet(1);
    answer_count "dnsAnswerCount" Unsigned16 = cesnet(14), flowmon(113);
    answer_ipv4 "dnsAnswerIPv4Address" [Ipv4Address] = weir(1);
    answer_ipv6 "dnsAnswerIPv6Address" [Ipv6Address] = weir(2);
    answers "dnsAnswers" [String] = weir(3);
}
