// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of TLS.

use super::{cesnet, flowmon, weir};

rows! { Tls:
    server_name "tlsServerName" String = cesnet(808), flowmon(338);
    client_version "tlsClientVersion" Unsigned16 = flowmon(340);
    version "tlsVersion" Unsigned16 = flowmon(333);
    cipher_suite "tlsCipherSuite" Unsigned16 = flowmon(336);
    alpn "tlsAlpn" [String] = flowmon(337);
    ja3 "tlsJa3" OctetArray = flowmon(357);
    ja3s "tlsJa3s" OctetArray = weir(30);
    ja4 "tlsJa4" String = cesnet(809);
    alert "tlsAlert" Unsigned8 = weir(31);
}
