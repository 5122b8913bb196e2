// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS (RFC 8446, RFC 5246): one handshake.

use crate::{ShortOctets, ShortText, Text, TextList};

crate::fields! {
    /// Fields of a TLS handshake.
    pub struct Tls = "tls" {
        /// Host name of the server name extension (RFC 6066 section 3).
        pub server_name: Text<256>,
        /// Legacy version of the ClientHello.
        pub client_version: Option<u16>,
        /// Version chosen by the server: supported_versions of the ServerHello, else its legacy version.
        pub version: Option<u16>,
        /// Cipher suite chosen by the server.
        pub cipher_suite: Option<u16>,
        /// Application protocols offered by the client (RFC 7301), in its order.
        pub alpn: TextList<256, 64>,
        /// JA3 fingerprint of the ClientHello: MD5 octets.
        pub ja3: ShortOctets<16>,
        /// JA3S fingerprint of the ServerHello: MD5 octets.
        pub ja3s: ShortOctets<16>,
        /// JA4 fingerprint of the ClientHello.
        pub ja4: ShortText<40>,
        /// Description of an alert sent before the handshake was encrypted: the first fatal one, else the first.
        pub alert: Option<u8>,
    }
}
