// SPDX-License-Identifier: MIT OR Apache-2.0
//! NetBIOS name service (RFC 1002 section 4.2): a request about a name, and the answer.

use crate::{List, Text, TextList};

crate::fields! {
    /// Fields of a NetBIOS name transaction.
    pub struct Netbios = "netbios" {
        /// The name, without the spaces at its end.
        pub name: Text<16>,
        /// Suffix of the name, which says what kind of service it is of: 0x00 workstation, 0x20 file server, 0x1b and 0x1c
        /// domain.
        pub suffix: Option<u8>,
        /// Identifier, the same in request and answer.
        pub transaction_id: Option<u16>,
        /// Operation: 0 query, 5 registration, 6 release, 7 wait, 8 and 9 refresh, 15 registration by several.
        pub opcode: Option<u8>,
        /// Result; unset while there is no answer.
        pub response_code: Option<u8>,
        /// Addresses that the name has, or is registered with.
        pub address: List<[u8; 4], 16>,
        /// Names that a node says it has, each with its suffix in angle brackets.
        pub names: TextList<32, 24>,
    }
}
