// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMB (MS-SMB2): one connection.

use crate::{Text, TextList};

crate::fields! {
    /// Fields of an SMB connection.
    pub struct Smb = "smb" {
        /// Highest version of the protocol in use: 1, 2 or 3. Of 1 nothing else is read.
        pub version: Option<u8>,
        /// Dialect that the server chose: 0x0202, 0x0210, 0x0300, 0x0302, 0x0311; 0x02ff while that is left open.
        pub dialect: Option<u16>,
        /// Commands seen, a bit for each (MS-SMB2 section 2.2.1.2): bit 0 NEGOTIATE, 1 SESSION_SETUP, 3 TREE_CONNECT, 5
        /// CREATE, 8 READ, 9 WRITE, 18 OPLOCK_BREAK.
        pub commands: Option<u32>,
        /// Last status of a response that is an error, but for one that only asks for more.
        pub status: Option<u32>,
        /// Shares that the client connects to, such as `\\server\share`, each once.
        pub tree: TextList<16, 256>,
        /// Files and folders that the client opens or creates, within their share, each once.
        pub file: TextList<64, 512>,
        /// User that the client authenticates as by NTLM.
        pub user: Text<256>,
        /// Domain of that user.
        pub domain: Text<256>,
        /// Workstation that the client says it is.
        pub host: Text<256>,
    }
}
