// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of WireGuard.

use super::cesnet;

rows! { Wireguard:
    confidence "wireguardConfidence" Unsigned8 = cesnet(1100);
    source_peer "wireguardSourcePeer" Unsigned32 = cesnet(1101);
    destination_peer "wireguardDestinationPeer" Unsigned32 = cesnet(1102);
}
