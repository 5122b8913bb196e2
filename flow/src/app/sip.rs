// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP (RFC 3261): one request and its responses.

use crate::{List, ShortText, Text, TextList};

crate::fields! {
    /// Fields of a SIP transaction.
    pub struct Sip = "sip" {
        /// Method of the request line; where only a response was seen, `cseq` has it.
        pub method: ShortText<32>,
        /// Request-URI.
        pub request_uri: Text<512>,
        /// Status codes of the responses, provisional ones first.
        pub status_code: List<u16, 16>,
        /// From header field, whole.
        pub from: Text<512>,
        /// To header fields, whole, each once: of the request, then with the tags that responses give.
        pub to: TextList<4, 512>,
        /// URI of From.
        pub from_uri: Text<256>,
        /// URI of To.
        pub to_uri: Text<256>,
        /// Call-ID.
        pub call_id: Text<256>,
        /// User-Agent.
        pub user_agent: Text<256>,
        /// CSeq, number and method.
        pub cseq: Text<64>,
        /// Server, of responses.
        pub server: Text<256>,
        /// Topmost Via.
        pub via: Text<512>,
        /// First Contact.
        pub contact: Text<512>,
    }
}
