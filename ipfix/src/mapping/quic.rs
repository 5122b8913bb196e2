// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of QUIC.

use super::{cesnet, weir};

rows! { Quic:
    server_name "quicServerName" String = cesnet(890);
    version "quicVersion" Unsigned32 = cesnet(892);
    alpn "quicAlpn" [String] = weir(130);
    ja3 "quicJa3" OctetArray = weir(131);
    ja4 "quicJa4" String = weir(132);
    user_agent "quicUserAgent" String = cesnet(891);
    client_version "quicClientVersion" Unsigned32 = cesnet(893);
    server_version "quicServerVersion" Unsigned32 = weir(133);
    offered_versions "quicOfferedVersions" [Unsigned32] = weir(134);
    token_length "quicTokenLength" Unsigned64 = cesnet(894);
    client_cid "quicOccid" OctetArray = cesnet(895);
    original_cid "quicOscid" OctetArray = cesnet(896);
    server_cid "quicScid" OctetArray = cesnet(897);
    retry_cid "quicRetryScid" OctetArray = cesnet(898);
    zero_rtt "quicZeroRtt" Unsigned8 = cesnet(889);
    packets "quicPackets" [Unsigned8] = cesnet(888);
    multiplexed "quicMultiplexed" Unsigned8 = cesnet(899);
    hello_read "quicChParsed" Unsigned8 = cesnet(886);
    extensions "quicTlsExtType" [Unsigned16] = cesnet(885);
    extension_lengths "quicTlsExtLen" [Unsigned16] = cesnet(884);
    cipher_suite "quicCipherSuite" Unsigned16 = weir(135);
    ja3s "quicJa3s" OctetArray = weir(136);
}
