// SPDX-License-Identifier: MIT OR Apache-2.0
//! STUN (RFC 8489): what two sides say to find out their addresses, and which path is open (ICE, RFC 8445).

use crate::{List, Text};

crate::fields! {
    /// Fields of a flow with STUN messages, of the time of one record.
    pub struct Stun = "stun" {
        /// Types of messages, each once: method and class as they stand; 1 is a binding request, 257 its success response.
        pub message_type: List<u16, 16>,
        /// SOFTWARE of requests and indications (RFC 8489 section 14.14).
        pub software: Text<128>,
        /// SOFTWARE of responses.
        pub server_software: Text<128>,
        /// USERNAME: of ICE, fragments of both sides with a colon between (RFC 8489 section 14.3).
        pub username: Text<256>,
        /// REALM (RFC 8489 section 14.9).
        pub realm: Text<128>,
        /// IPv4 addresses that senders of requests have from outside (XOR-MAPPED-ADDRESS, MAPPED-ADDRESS), each once.
        pub mapped_ipv4: List<[u8; 4], 4>,
        /// IPv6 addresses, likewise.
        pub mapped_ipv6: List<[u8; 16], 4>,
        /// Ports of these addresses, each once.
        pub mapped_port: List<u16, 4>,
        /// Codes of error responses, each once (RFC 8489 section 14.8).
        pub error_code: List<u16, 8>,
    }
}
