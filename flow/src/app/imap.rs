// SPDX-License-Identifier: MIT OR Apache-2.0
//! IMAP (RFC 9051, RFC 3501): one connection.

use crate::{Text, TextList};

crate::fields! {
    /// Fields of an IMAP connection.
    pub struct Imap = "imap" {
        /// The greeting behind its status (RFC 9051 section 7.1).
        pub banner: Text<256>,
        /// User name of LOGIN (RFC 9051 section 6.2.3).
        pub user: Text<128>,
        /// Commands in upper case, each once, in the order of their first use; those behind UID with it. STARTTLS, if accepted, is
        /// followed by a record of TLS.
        pub command: TextList<48, 16>,
        /// Mechanism of AUTHENTICATE in upper case (RFC 9051 section 6.2.2). Nothing else of it.
        pub auth_mechanism: Text<20>,
        /// Mailboxes opened with SELECT or EXAMINE, each once, as the client gave them.
        pub mailbox: TextList<32, 128>,
        /// Number of commands that were answered with OK.
        pub ok_count: Option<u32>,
        /// Number of commands that were answered with NO or BAD.
        pub error_count: Option<u32>,
        /// Number of refused LOGIN and AUTHENTICATE commands.
        pub failed_login_count: Option<u16>,
    }
}
