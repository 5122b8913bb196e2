// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kerberos 5 (RFC 4120): one request of a client and the answer.

use crate::{ShortText, Text};

crate::fields! {
    /// Fields of a Kerberos exchange.
    pub struct Kerberos = "kerberos" {
        /// Type of the request (RFC 4120 section 7.5.7): 10 AS-REQ, for a ticket by password or key, 12 TGS-REQ, for a service.
        pub request_type: Option<u8>,
        /// Type of the answer: 11 AS-REP, 13 TGS-REP, 30 KRB-ERROR.
        pub response_type: Option<u8>,
        /// Realm: that of the client if the answer says so, else the one asked.
        pub realm: Text<256>,
        /// Name of the client, its parts joined by slashes.
        pub client_name: Text<256>,
        /// Name of the service, likewise.
        pub service_name: Text<256>,
        /// Error code (section 7.5.9).
        pub error_code: Option<u32>,
        /// Text of the error.
        pub error_text: Text<256>,
        /// Encryption types that the client offers, in its order, joined by commas (RFC 3961 section 8); some are negative.
        pub offered_ciphers: Text<256>,
        /// Encryption type of the ticket, which tells the kind of the service's key.
        pub ticket_cipher: ShortText<11>,
    }
}
