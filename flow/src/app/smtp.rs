// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMTP (RFC 5321): one mail, or what was said on a connection without one.

use crate::{List, Text, TextList};

crate::fields! {
    /// Fields of an SMTP transaction.
    pub struct Smtp = "smtp" {
        /// Domain of HELO or EHLO.
        pub helo: Text<256>,
        /// Reverse path of MAIL FROM, without angle brackets.
        pub mail_from: Text<320>,
        /// Forward paths of RCPT TO, without angle brackets.
        pub rcpt_to: TextList<1024, 320>,
        /// Subject of the message.
        pub subject: Text<1024>,
        /// From header field of the message.
        pub header_from: Text<1024>,
        /// To header field of the message.
        pub header_to: Text<1024>,
        /// Cc header field of the message.
        pub header_cc: Text<1024>,
        /// Message-ID of the message.
        pub message_id: Text<1024>,
        /// Reply codes, each once, in the order of their first use.
        pub reply_code: List<u16, 32>,
        /// Commands in upper case, each once, in the order of their first use.
        pub command: TextList<32, 32>,
    }
}
