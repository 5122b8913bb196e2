// SPDX-License-Identifier: MIT OR Apache-2.0
//! DHCPv6 (RFC 8415): a message of a client and the server's answer, or one message that stands alone.

use crate::{List, Text};

crate::fields! {
    /// Fields of a DHCPv6 exchange: what the client said, and, where it was seen, what the server answered.
    pub struct Dhcpv6 = "dhcpv6" {
        /// Type of the last message (RFC 8415 section 7.3): that of the answer, where it was seen. 1 SOLICIT, 2 ADVERTISE, 3
        /// REQUEST, 5 RENEW, 7 REPLY, 8 RELEASE, 11 INFORMATION-REQUEST.
        pub message_type: Option<u8>,
        /// Transaction identifier.
        pub transaction_id: Option<u32>,
        /// Identifier of the client (DUID, section 11): hexadecimal digits.
        pub client_duid: Text<260>,
        /// Identifier of the server, likewise.
        pub server_duid: Text<260>,
        /// Fully qualified name of the client (RFC 4704), in presentation form.
        pub fqdn: Text<256>,
        /// Vendor class (section 21.16): number of the enterprise, and, behind a colon, its first text.
        pub vendor_class: Text<256>,
        /// Options that the client asks for (section 21.7): their numbers in its order, joined by commas. A fingerprint of its
        /// program.
        pub fingerprint: Text<512>,
        /// Addresses that are asked for or given (section 21.6), each once.
        pub address: List<[u8; 16], 8>,
        /// Status code of the answer (section 21.13), other than success.
        pub status: Option<u16>,
    }
}
