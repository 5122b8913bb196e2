// SPDX-License-Identifier: MIT OR Apache-2.0
//! WireGuard: a tunnel between two peers.

crate::fields! {
    /// Fields of a WireGuard tunnel. Indices are numbers that each peer makes up for one handshake.
    pub struct Wireguard = "wireguard" {
        /// How sure it is, in percent: 100 a handshake and its answer, 90 half a handshake and what goes on from it, 80 two packets of data that go on
        /// from each other.
        pub confidence: Option<u8>,
        /// Index of the peer that began the flow, read as little-endian number.
        pub source_peer: Option<u32>,
        /// Index of the other peer.
        pub destination_peer: Option<u32>,
    }
}
