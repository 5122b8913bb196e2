// SPDX-License-Identifier: MIT OR Apache-2.0
//! QUIC (RFC 9000, 9001, 9369, and what came before them): the beginning of one connection.

use crate::{List, OnceList, OnceOctets, OnceText, TextList};

/// Most octets of a connection identifier (RFC 9000 section 17.2).
pub const MAX_CID: usize = 20;

crate::fields! {
    /// Fields of the handshake of a QUIC connection.
    ///
    /// A version is the number on the wire: 1, 0x6b3343cf for the second, 0xff00001d for draft 29, and for those of Google four
    /// characters of ASCII.
    pub struct Quic = "quic" {
        /// Host name: of the server name extension of the ClientHello (RFC 6066 section 3), or SNI of Google's CHLO.
        pub server_name: OnceText<256>,
        /// Version of the packet with the ClientHello; without one, that of the first packet.
        pub version: Option<u32>,
        /// Application protocols offered by the client (RFC 7301), in its order.
        pub alpn: TextList<64, 64>,
        /// JA3 fingerprint of the ClientHello: MD5 octets.
        pub ja3: OnceOctets<16>,
        /// JA4 fingerprint of the ClientHello, which begins with `q`.
        pub ja4: OnceText<40>,
        /// Program of the client: Google's transport parameter 0x3129, or UAID of Google's CHLO.
        pub user_agent: OnceText<256>,
        /// Version of the client's first packet, which a server may have refused.
        pub client_version: Option<u32>,
        /// Version of the server's first packet, another one after compatible negotiation (RFC 9368).
        pub server_version: Option<u32>,
        /// Versions that the server offers where it refuses that of the client (RFC 9000 section 17.2.1).
        pub offered_versions: OnceList<u32, 32>,
        /// Length of the token in the client's Initial packets (RFC 9000 section 17.2.2), in octets: the longest one.
        pub token_length: Option<u32>,
        /// Connection identifier that the client chose for itself: source of its first packet.
        pub client_cid: OnceOctets<MAX_CID>,
        /// Connection identifier that the client chose for the server: destination of its first packet.
        pub original_cid: OnceOctets<MAX_CID>,
        /// Connection identifier that the server chose for itself: source of its first packet.
        pub server_cid: OnceOctets<MAX_CID>,
        /// Connection identifier of the server's Retry packet (RFC 9000 section 17.2.5).
        pub retry_cid: OnceOctets<MAX_CID>,
        /// Packets of 0-RTT among those that were read.
        pub zero_rtt: Option<u8>,
        /// What each datagram with a long header held, of those that were read: 1 Initial, 2 0-RTT, 4 Handshake, 8 Retry, 16
        /// Version Negotiation, 128 the fixed bit of its first packet, added up.
        pub packets: List<u8, 30>,
        /// Other connections that were begun between the same ports while the first was read.
        pub multiplexed: Option<u8>,
        /// 1 if all of the ClientHello, or CHLO, was read.
        pub hello_read: Option<u8>,
        /// Types of the extensions in the ClientHello, in its order.
        pub extensions: OnceList<u16, 64>,
        /// Length of each of these extensions, in octets.
        pub extension_lengths: OnceList<u16, 64>,
        /// Cipher suite chosen by the server.
        pub cipher_suite: Option<u16>,
        /// JA3S fingerprint of the ServerHello: MD5 octets.
        pub ja3s: OnceOctets<16>,
    }
}
