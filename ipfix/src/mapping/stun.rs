// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of STUN.

use super::weir;

rows! { Stun:
    message_type "stunMessageType" [Unsigned16] = weir(291);
    software "stunSoftware" String = weir(292);
    server_software "stunServerSoftware" String = weir(293);
    username "stunUsername" String = weir(294);
    realm "stunRealm" String = weir(295);
    mapped_ipv4 "stunMappedIPv4Address" [Ipv4Address] = weir(296);
    mapped_ipv6 "stunMappedIPv6Address" [Ipv6Address] = weir(297);
    mapped_port "stunMappedPort" [Unsigned16] = weir(298);
    error_code "stunErrorCode" [Unsigned16] = weir(299);
}
