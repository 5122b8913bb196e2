// SPDX-License-Identifier: MIT OR Apache-2.0
//! FTP (RFC 959): the control connection.

use crate::{List, Text, TextList};

crate::fields! {
    /// Fields of an FTP control connection.
    pub struct Ftp = "ftp" {
        /// The greeting behind its code, first line (RFC 959 section 5.4).
        pub banner: Text<256>,
        /// Name of the latest USER (RFC 959 section 4.1.1).
        pub user: Text<128>,
        /// Commands in upper case, each once, in the order of their first use. AUTH TLS (RFC 4217), if accepted, is followed by
        /// a record of TLS.
        pub command: TextList<64, 8>,
        /// Reply codes, each once, in the order of their first use (RFC 959 section 4.2).
        pub reply_code: List<u16, 64>,
        /// Number of replies.
        pub reply_count: Option<u32>,
        /// Number of replies 400 to 599.
        pub error_count: Option<u32>,
        /// Number of refused passwords.
        pub failed_login_count: Option<u16>,
        /// Where data connections are awaited, each once: `192.0.2.1:20480` and `[2001:db8::1]:20480` of PORT and reply 227 (RFC
        /// 959), and of EPRT (RFC 2428); `:20480`, at the server's address of this connection, of reply 229 to EPSV.
        pub data_endpoint: TextList<32, 64>,
        /// Files read and written, each once: RETR, STOR, STOU or APPE, a space, and the name as the client gave it.
        pub file: TextList<64, 256>,
    }
}
