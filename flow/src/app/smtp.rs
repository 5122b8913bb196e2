// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMTP (RFC 5321): one mail, or what was said on a connection without one.

use crate::{List, Text, TextList};

crate::fields! {
    /// Fields of an SMTP transaction.
    pub struct Smtp = "smtp" {
        /// Domain of HELO or EHLO (RFC 5321 section 4.1.1.1), or LHLO (RFC 2033); of every mail of the connection.
        pub helo: Text<256>,
        /// Reverse path of MAIL FROM, without angle brackets (RFC 5321 section 4.1.1.2).
        pub mail_from: Text<320>,
        /// Forward paths of RCPT TO, without angle brackets (RFC 5321 section 4.1.1.3).
        pub rcpt_to: TextList<1024, 320>,
        /// Subject of the message, unfolded, as encoded on the wire (RFC 5322 section 3.6.5).
        pub subject: Text<1024>,
        /// From header field of the message, likewise (RFC 5322 section 3.6.2).
        pub header_from: Text<1024>,
        /// To header field of the message, likewise (RFC 5322 section 3.6.3).
        pub header_to: Text<1024>,
        /// Cc header field of the message, likewise.
        pub header_cc: Text<1024>,
        /// Message-ID of the message (RFC 5322 section 3.6.4).
        pub message_id: Text<1024>,
        /// Reply codes, each once, in the order of their first use (RFC 5321 section 4.2).
        pub reply_code: List<u16, 32>,
        /// Commands in upper case, each once, in the order of their first use.
        pub command: TextList<32, 32>,
        /// First word of the greeting, the server's domain (RFC 5321 section 4.2); of every mail of the connection.
        pub server_name: Text<256>,
        /// The greeting behind its code, first line.
        pub greeting: Text<512>,
        /// Commands seen: EHLO 1, HELO 2, MAIL 4, RCPT 8, DATA 0x10, RSET 0x20, VRFY 0x40, EXPN 0x80, HELP 0x100, NOOP 0x200,
        /// QUIT 0x400, any other known one 0x8000. The bits are those of CESNET's ipfixprobe.
        pub command_flags: Option<u16>,
        /// Number of MAIL commands.
        pub mail_count: Option<u16>,
        /// Number of RCPT commands.
        pub rcpt_count: Option<u16>,
        /// Reply codes seen: bits 0 to 23 are 211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 455, 500, 501, 502,
        /// 503, 504, 550, 551, 552, 553, 554, 555; bit 30 is a refusal that says "SPAM"; bit 31 any other code. The bits are
        /// those of CESNET's ipfixprobe.
        pub reply_flags: Option<u32>,
        /// Number of replies 200 to 299.
        pub reply_2xx_count: Option<u16>,
        /// Number of replies 300 to 399.
        pub reply_3xx_count: Option<u16>,
        /// Number of replies 400 to 499.
        pub reply_4xx_count: Option<u16>,
        /// Number of replies 500 to 599.
        pub reply_5xx_count: Option<u16>,
        /// Mechanism of AUTH in upper case (RFC 4954 section 4); of every mail of the connection. Nothing else of AUTH.
        pub auth_mechanism: Text<20>,
        /// Refused AUTH commands, at most 127.
        pub failed_auth_count: Option<i8>,
        /// 1 where STARTTLS (RFC 3207) was accepted; what follows is a record of TLS.
        pub is_encrypted: Option<i8>,
        /// Size of the message in octets, as MAIL announces it (RFC 1870 section 6).
        pub size: Option<u32>,
        /// Bcc header field of the message, unfolded, as encoded on the wire (RFC 5322 section 3.6.3).
        pub header_bcc: Text<1024>,
        /// X-Mailer or User-Agent of the message, whichever comes first, likewise.
        pub mailer: Text<1024>,
        /// Names of MIME parts, each once: filename of Content-Disposition (RFC 2183 section 2.3) and name of Content-Type.
        /// Decoded to UTF-8 (RFC 2231, RFC 2047) from UTF-8, US-ASCII and ISO 8859-1; what is in another character set is as
        /// encoded on the wire.
        pub attachment: TextList<64, 256>,
    }
}
