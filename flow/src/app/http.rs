// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP/1 (RFC 9112) and HTTP/2 in the clear (RFC 9113): one request and its response.

use crate::{Compact, List, OnceText, OnceTexts};

crate::fields! {
    /// Fields of an HTTP transaction.
    pub struct Http = "http" {
        /// Method of the request (RFC 9110 section 9).
        pub request_method: OnceText<32>,
        /// Host or `:authority` of the request, or else the authority of an absolute target, without name and password
        /// (RFC 9110 section 7.2).
        pub request_host: OnceText<256>,
        /// Target of the request line as it stands there (RFC 9112 section 3.2), or `:path`.
        pub request_target: OnceText<8192>,
        /// Version of the request; then that of the response, if it is another one or no request was seen: `HTTP/1.1`, `HTTP/2`
        /// (RFC 9112 section 2.3).
        pub message_version: OnceTexts<2, 16>,
        /// User-Agent of the request (RFC 9110 section 10.1.5).
        pub user_agent: OnceText<4096>,
        /// Referer of the request (RFC 9110 section 10.1.3).
        pub referer: OnceText<2048>,
        /// Status code of the final response (RFC 9110 section 15).
        pub status_code: Option<u16>,
        /// Reason phrase of the final response (RFC 9112 section 4).
        pub reason_phrase: OnceText<128>,
        /// Content-Type of the response (RFC 9110 section 8.3).
        pub content_type: OnceText<256>,
        /// Server of the response (RFC 9110 section 10.2.4).
        pub server: OnceText<256>,
        /// Content-Type of the request.
        pub request_content_type: OnceText<256>,
        /// Content-Length of the request, in octets (RFC 9110 section 8.6).
        pub request_content_length: Compact<u64>,
        /// Content-Length of the response, in octets; with HEAD or 304 that of a response with content.
        pub content_length: Compact<u64>,
        /// Names, never values, of the cookies that the response sets, those of the first Set-Cookie first (RFC 6265 section 4.1).
        pub set_cookie_names: OnceTexts<32, 64>,
        /// Names, never values, of the cookies that the request brings (RFC 6265 section 4.2).
        pub cookie_names: OnceTexts<32, 64>,
        /// Scheme, never the credentials, of Authorization of the request, or else of Proxy-Authorization (RFC 9110 section 11).
        pub authorization_scheme: OnceText<24>,
        /// Scheme of the first challenge of the response, in WWW-Authenticate or else Proxy-Authenticate (RFC 9110 section 11).
        pub challenge_scheme: OnceText<24>,
        /// X-Forwarded-For of the request; several are joined with a comma.
        pub forwarded_for: OnceText<256>,
        /// Via of the request, or else of the response; several are joined with a comma (RFC 9110 section 7.6.3).
        pub via: OnceText<256>,
        /// Location of the response (RFC 9110 section 10.2.2).
        pub location: OnceText<2048>,
        /// Protocol that a response with status 101 changes to (RFC 9110 section 7.8): `websocket`, `h2c`.
        pub upgrade: OnceText<64>,
        /// Status codes of interim responses, 1xx but 101 (RFC 9110 section 15.2), each once.
        pub interim_responses: List<u16, 8>,
        /// `:scheme` of a request of HTTP/2 (RFC 9113 section 8.3.1).
        pub request_scheme: OnceText<16>,
        /// Number of the stream of HTTP/2 that carries request and response (RFC 9113 section 5.1.1).
        pub stream_id: Compact<u32>,
    }
}
