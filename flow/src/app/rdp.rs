// SPDX-License-Identifier: MIT OR Apache-2.0
//! RDP (MS-RDPBCGR): the beginning of one connection.

use crate::Text;

crate::fields! {
    /// Fields of an RDP connection.
    pub struct Rdp = "rdp" {
        /// Cookie of the client: mostly the beginning of the user's name.
        pub cookie: Text<256>,
        /// Token by which a balancer finds the server.
        pub routing_token: Text<256>,
        /// Protocols that the client offers, a bit for each: 1 TLS, 2 CredSSP, 4 RDSTLS, 8 CredSSP with early authorisation; 0
        /// RDP's own security.
        pub requested_protocols: Option<u32>,
        /// Protocol that the server chose, in the same form.
        pub selected_protocol: Option<u32>,
        /// Reason why the server chose none (MS-RDPBCGR section 2.2.1.2.2).
        pub failure_code: Option<u32>,
    }
}
