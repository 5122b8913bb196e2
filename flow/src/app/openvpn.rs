// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenVPN: the beginning of a tunnel.

use crate::ShortText;

crate::fields! {
    /// Fields of an OpenVPN tunnel.
    pub struct Openvpn = "openvpn" {
        /// How sure it is, in percent: 100 the answer names the session that it answers, 90 that part is encrypted, and the
        /// rest fits.
        pub confidence: Option<u8>,
        /// Operation of the first packet: 1 and 7 a reset of the first and second key method, 10 with a key of the client.
        pub operation: Option<u8>,
        /// How control packets are protected: `none`, `tls-auth`, `tls-crypt`, `tls-crypt-v2`.
        pub protection: ShortText<12>,
        /// Session identifier of the client.
        pub client_session: Option<u64>,
        /// Session identifier of the server.
        pub server_session: Option<u64>,
    }
}
