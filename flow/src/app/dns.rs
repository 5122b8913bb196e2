// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS (RFC 1035): one query and its response.

use crate::{Compact, Field, List, Memory, OnceTexts, Text, TextList, Value};

/// Most answer records that are kept in presentation form.
pub const MAX_ANSWERS: usize = 16;

/// Most octets of an answer record in presentation form.
pub const MAX_ANSWER: usize = 512;

/// Which DNS it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Variant {
    /// That of RFC 1035, which has no need to say so.
    #[default]
    Unicast,
    /// Multicast DNS (RFC 6762).
    Mdns,
    /// Link-local multicast name resolution (RFC 4795).
    Llmnr,
}

crate::fields! {
    /// Fields of a DNS transaction.
    ///
    /// What both messages have is the response's, where there is one; else the query's. Where there are several responses, it
    /// is the first one's, but for the answers, which are those of all.
    pub struct Dns = "dns" {
        /// Message identifier, the same in query and response (RFC 1035 section 4.1.1).
        pub transaction_id: Option<u16>,
        /// `mdns` (RFC 6762) or `llmnr` (RFC 4795), by the ports; unset for all other DNS.
        pub variant: Variant,
        /// Second word of the header, flags and codes as they stand (RFC 1035 section 4.1.1).
        pub flags: Option<u16>,
        /// Operation: 0 query, 4 notify, 5 update (RFC 6895 section 2.2).
        pub opcode: Compact<u8>,
        /// AA, 1 if the answer is authoritative (RFC 1035 section 4.1.1); unset while there is no response, as the next three.
        pub authoritative: Compact<u8>,
        /// TC, 1 if the response was cut to fit.
        pub truncated: Compact<u8>,
        /// RA, 1 if the server recurses.
        pub recursion_available: Compact<u8>,
        /// AD, 1 if the server has validated the answer (RFC 4035 section 3.2.3).
        pub authentic_data: Compact<u8>,
        /// Name asked for, in presentation form without the final dot; `.` is the root.
        pub query_name: Text<1024>,
        /// Type asked for (RFC 1035 section 4.1.2).
        pub query_type: Option<u16>,
        /// Class asked for, without the bit that multicast DNS has there.
        pub query_class: Option<u16>,
        /// Response code of the header, without the extended bits; unset while there is no response.
        pub response_code: Option<u8>,
        /// Response code with the upper bits of EDNS (RFC 6891 section 6.1.3), where one of these is set.
        pub extended_response_code: Option<u16>,
        /// Questions that the message claims to hold (RFC 1035 section 4.1.1).
        pub question_count: Compact<u16>,
        /// Answer records that the response claims to hold, the most of several responses.
        pub answer_count: Option<u16>,
        /// Authority records that the message claims to hold.
        pub authority_count: Compact<u16>,
        /// Additional records that the message claims to hold, EDNS among them.
        pub additional_count: Compact<u16>,
        /// Type of the first answer record.
        pub answer_type: Option<u16>,
        /// Time to live of the first answer record, in seconds.
        pub answer_ttl: Option<u32>,
        /// Length of the data of the first answer record, in octets.
        pub answer_data_length: Compact<u16>,
        /// Data of the first answer record in presentation form.
        pub answer_data: Text<MAX_ANSWER>,
        /// Addresses of A records in the answer section.
        pub answer_ipv4: List<[u8; 4], 64>,
        /// Addresses of AAAA records in the answer section.
        pub answer_ipv6: List<[u8; 16], 64>,
        /// Answer records in presentation form: owner, time to live in seconds, type, data.
        pub answers: TextList<MAX_ANSWERS, MAX_ANSWER>,
        /// Largest UDP payload that the sender of the query takes, in octets (RFC 6891 section 6.1.2); the server, if the query
        /// does not say or was not seen.
        pub edns_udp_size: Option<u16>,
        /// DO, 1 if signatures are asked for (RFC 6891 section 6.1.4), of the same message.
        pub edns_dnssec_ok: Compact<u8>,
        /// Subnet of the client, address and source prefix length (RFC 7871 section 6).
        pub client_subnet: Text<64>,
        /// Length of the prefix for which the server says that its answer holds (RFC 7871 section 6).
        pub client_subnet_scope: Compact<u8>,
        /// Code of the first extended error (RFC 8914 section 2).
        pub extended_error: Option<u16>,
        /// From the first query to the first response, in microseconds; unset unless both were seen.
        pub response_time_micros: Compact<u32>,
        /// How often the query came again before it was answered; unset if it did not.
        pub repeated_queries: Compact<u8>,
        /// Records that multicast DNS adds to its answers (RFC 6762 section 7.2), such as where a service is (RFC 6763 section 12), in
        /// the same form; without those of type NSEC, which say what there is not.
        pub additional: OnceTexts<MAX_ANSWERS, MAX_ANSWER>,
    }
}

impl Variant {
    const NAMES: [(Self, &str); 2] = [(Self::Mdns, "mdns"), (Self::Llmnr, "llmnr")];
}

impl Field for Variant {
    fn clear(&mut self) {
        *self = Self::Unicast;
    }
    fn value<'a>(&'a self, _: &'a Memory) -> Option<Value<'a>> {
        match self {
            Self::Unicast => None,
            Self::Mdns => Some(Value::Text(b"mdns")),
            Self::Llmnr => Some(Value::Text(b"llmnr")),
        }
    }
    fn assign(&mut self, value: Value<'_>, _: &mut Memory) -> bool {
        let Value::Text(text) = value else { return false };
        // What has another name is nothing that is known.
        *self =
            Self::NAMES.iter().find(|(_, name)| name.as_bytes() == text).map_or(Self::Unicast, |(variant, _)| *variant);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_what_was_assigned() {
        let (mut variant, mut memory) = (Variant::default(), Memory::default());
        assert_eq!(variant.value(&memory), None);
        for (each, name) in Variant::NAMES {
            assert!(variant.assign(Value::Text(name.as_bytes()), &mut memory));
            assert_eq!((variant, variant.value(&memory)), (each, Some(Value::Text(name.as_bytes()))));
        }
        assert!(variant.assign(Value::Text(b"dns"), &mut memory));
        assert_eq!(variant, Variant::Unicast);
        assert!(!variant.assign(Value::Unsigned(1), &mut memory));
    }
}
