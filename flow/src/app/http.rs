// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP/1 (RFC 9112): one request and its response.

use crate::{ShortText, Text};

crate::fields! {
    /// Fields of an HTTP transaction.
    pub struct Http = "http" {
        /// Method of the request line.
        pub request_method: ShortText<32>,
        /// Host header field, or the authority of an absolute target.
        pub request_host: Text<256>,
        /// Target of the request line, as it stands there.
        pub request_target: Text<8192>,
        /// Version of the request, or of the response where the request was not seen: `HTTP/1.1`.
        pub message_version: ShortText<16>,
        /// User-Agent of the request.
        pub user_agent: Text<4096>,
        /// Referer of the request.
        pub referer: Text<2048>,
        /// Status code of the final response.
        pub status_code: Option<u16>,
        /// Reason phrase of the final response.
        pub reason_phrase: Text<128>,
        /// Content-Type of the response.
        pub content_type: Text<256>,
        /// Server of the response.
        pub server: Text<256>,
    }
}
