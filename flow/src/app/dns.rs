// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS (RFC 1035): one query and its response.

use crate::{List, Text, TextList};

/// Most answer records that are kept in presentation form.
pub const MAX_ANSWERS: usize = 16;

/// Most octets of an answer record in presentation form.
pub const MAX_ANSWER: usize = 512;

crate::fields! {
    /// Fields of a DNS transaction.
    pub struct Dns = "dns" {
        /// Message identifier, the same in query and response.
        pub transaction_id: Option<u16>,
        /// Name asked for, in presentation form without the final dot; `.` is the root.
        pub query_name: Text<1024>,
        /// Type asked for.
        pub query_type: Option<u16>,
        /// Class asked for.
        pub query_class: Option<u16>,
        /// Response code of the header, without the extended bits; unset while there is no response.
        pub response_code: Option<u8>,
        /// Answer records that the response claims to hold.
        pub answer_count: Option<u16>,
        /// Addresses of A records in the answer section.
        pub answer_ipv4: List<[u8; 4], 64>,
        /// Addresses of AAAA records in the answer section.
        pub answer_ipv6: List<[u8; 16], 64>,
        /// Answer records in presentation form: owner, time to live, type, data.
        pub answers: TextList<MAX_ANSWERS, MAX_ANSWER>,
    }
}
