// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of NetBIOS.

use super::{cesnet, weir};

rows! { Netbios:
    name "netbiosName" String = cesnet(831);
    suffix "netbiosSuffix" Unsigned8 = cesnet(832);
    transaction_id "netbiosTransactionId" Unsigned16 = weir(379);
    opcode "netbiosOpcode" Unsigned8 = weir(432);
    response_code "netbiosResponseCode" Unsigned8 = weir(433);
    address "netbiosAddress" [Ipv4Address] = weir(434);
    names "netbiosNames" [String] = weir(435);
    datagram_type "netbiosDatagramType" Unsigned8 = weir(484);
    source_name "netbiosSourceName" String = weir(485);
    source_suffix "netbiosSourceSuffix" Unsigned8 = weir(486);
}
