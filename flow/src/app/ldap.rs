// SPDX-License-Identifier: MIT OR Apache-2.0
//! LDAP (RFC 4511): one connection, or what is asked over UDP between the same ports.

use crate::{List, Text, TextList};

crate::fields! {
    /// Fields of an LDAP connection.
    pub struct Ldap = "ldap" {
        /// Version of the last bind.
        pub version: Option<u8>,
        /// Name of the last bind; absent if it is anonymous, or of SASL.
        pub bind_name: Text<512>,
        /// How the last bind authenticates: `simple`, or the mechanism of SASL.
        pub bind_mechanism: Text<64>,
        /// Operations seen, requests and responses, a bit for each by the number of its tag (RFC 4511 section 4.2 on): bit 0
        /// bind, 2 unbind, 3 search, 6 modify, 8 add, 10 delete, 23 extended.
        pub operations: Option<u32>,
        /// Where searches begin, each once.
        pub search_base: TextList<32, 512>,
        /// Result codes other than 0, success, each once.
        pub result_code: List<u16, 16>,
        /// Extended operations, by the numbers of their object identifiers, each once.
        pub extended: TextList<8, 128>,
    }
}
