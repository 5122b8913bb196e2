// SPDX-License-Identifier: MIT OR Apache-2.0
//! POP3 (RFC 1939): one connection.

use crate::{Text, TextList};

crate::fields! {
    /// Fields of a POP3 connection.
    pub struct Pop3 = "pop3" {
        /// The greeting behind its status (RFC 1939 section 4).
        pub banner: Text<256>,
        /// Name of the latest USER or APOP (RFC 1939 section 7).
        pub user: Text<128>,
        /// Commands in upper case, each once, in the order of their first use. STLS (RFC 2595), if accepted, is followed by a
        /// record of TLS.
        pub command: TextList<24, 8>,
        /// Mechanism of AUTH in upper case (RFC 5034). Nothing else of it.
        pub auth_mechanism: Text<20>,
        /// Number of replies `+OK`, without the greeting.
        pub ok_count: Option<u32>,
        /// Number of replies `-ERR`.
        pub error_count: Option<u32>,
        /// Number of refused PASS, APOP and AUTH commands.
        pub failed_login_count: Option<u16>,
    }
}
