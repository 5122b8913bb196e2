// SPDX-License-Identifier: MIT OR Apache-2.0
//! SNMP (RFC 3411 to 3418, RFC 1157): a request and its response, or a notification.

use crate::{ShortOctets, Text, TextList};

crate::fields! {
    /// Fields of an SNMP exchange.
    pub struct Snmp = "snmp" {
        /// Version: 1, 2 (with communities, 2c), 3.
        pub version: Option<u8>,
        /// 1 if there is a community. It is a password: its value is nowhere.
        pub has_community: Option<u8>,
        /// Kind of the first message (RFC 3416 section 3): 0 get, 1 get next, 2 response, 3 set, 4 trap of version 1, 5 get bulk, 6
        /// inform, 7 trap, 8 report. Absent where it is encrypted.
        pub pdu_type: Option<u8>,
        /// Identifier of the request; of version 3 that of the message.
        pub request_id: Option<u32>,
        /// Error status of the response (RFC 3416 section 3).
        pub error_status: Option<u8>,
        /// User of version 3 (RFC 3414).
        pub user: Text<64>,
        /// Identifier of the engine that has the say (RFC 3411 section 5).
        pub engine_id: ShortOctets<32>,
        /// Kind of the device that sends a trap of version 1: an object identifier.
        pub enterprise: Text<256>,
        /// Object identifiers of the first message, each once.
        pub object: TextList<8, 128>,
    }
}
