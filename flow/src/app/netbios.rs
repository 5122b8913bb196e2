// SPDX-License-Identifier: MIT OR Apache-2.0
//! NetBIOS: a request about a name and the answer (RFC 1002 section 4.2), or a datagram from one name to another (section 4.4).

use crate::{Compact, List, OnceText, TextList};

crate::fields! {
    /// Fields of a NetBIOS name transaction, or of a datagram.
    pub struct Netbios = "netbios" {
        /// The name, without the spaces at its end; of a datagram, that of its destination.
        pub name: OnceText<16>,
        /// Suffix of the name, which says what kind of service it is of: 0x00 workstation, 0x20 file server, 0x1b and 0x1c
        /// domain.
        pub suffix: Option<u8>,
        /// Identifier, the same in request and answer; of a datagram its own.
        pub transaction_id: Option<u16>,
        /// Operation: 0 query, 5 registration, 6 release, 7 wait, 8 and 9 refresh, 15 registration by several.
        pub opcode: Compact<u8>,
        /// Result; unset while there is no answer. Of a datagram that says that another could not be delivered, why (section 4.4.3).
        pub response_code: Compact<u8>,
        /// Addresses that the name has, or is registered with; of a datagram, that of its source.
        pub address: List<[u8; 4], 16>,
        /// Names that a node says it has, each with its suffix in angle brackets.
        pub names: TextList<32, 24>,
        /// Kind of a datagram: 16 to one name, 17 to a group, 18 to all, 19 an error, 20 a query, 21 and 22 its answers (section
        /// 4.4.1). Unset of the name service.
        pub datagram_type: Compact<u8>,
        /// Name of the source of a datagram.
        pub source_name: OnceText<16>,
        /// Suffix of that name.
        pub source_suffix: Compact<u8>,
    }
}
