// SPDX-License-Identifier: MIT OR Apache-2.0
//! RTSP (RFC 2326, RFC 7826): a request and its response.

use crate::Text;

crate::fields! {
    /// Fields of an RTSP transaction.
    pub struct Rtsp = "rtsp" {
        /// Method.
        pub method: Text<32>,
        /// Address that it is about.
        pub uri: Text<512>,
        /// Status code of the response.
        pub status_code: Option<u16>,
        /// Program of the client (`User-Agent`).
        pub user_agent: Text<256>,
        /// Program of the server (`Server`).
        pub server: Text<256>,
        /// Kind of the response's body (`Content-Type`), or else of the request's.
        pub content_type: Text<128>,
        /// How media are carried, and on which ports: that of the response, where it was seen.
        pub transport: Text<256>,
        /// Identifier of the session, without what follows it.
        pub session: Text<128>,
        /// Number of the request in its connection.
        pub cseq: Option<u32>,
    }
}
