// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSH (RFC 4253): the beginning of one connection.

use crate::{ShortOctets, Text};

crate::fields! {
    /// Fields of an SSH connection.
    pub struct Ssh = "ssh" {
        /// Identification string of the client (RFC 4253 section 4.2), without the end of the line.
        pub client_version: Text<255>,
        /// Identification string of the server.
        pub server_version: Text<255>,
        /// HASSH fingerprint of the client's algorithms: MD5 octets.
        pub hassh: ShortOctets<16>,
        /// HASSH fingerprint of the server's algorithms: MD5 octets.
        pub hassh_server: ShortOctets<16>,
        /// Key exchange method that the lists of both sides agree on (RFC 4253 section 7.1).
        pub kex_algorithm: Text<128>,
        /// Algorithm of the server's host key, likewise.
        pub host_key_algorithm: Text<128>,
        /// Cipher from the client to the server, likewise.
        pub cipher: Text<128>,
        /// Message authentication code from the client to the server, likewise; a cipher may make it meaningless.
        pub mac: Text<128>,
    }
}
