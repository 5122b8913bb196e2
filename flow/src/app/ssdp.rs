// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSDP (UPnP Device Architecture 2.0 section 1): searches and announcements between the same ports.

use crate::{Text, TextList};

crate::fields! {
    /// Fields of SSDP.
    pub struct Ssdp = "ssdp" {
        /// Methods: `NOTIFY`, `M-SEARCH`; of a response `RESPONSE`. Each once.
        pub method: TextList<3, 16>,
        /// What is searched for, or was found (`ST`), each once.
        pub search_target: TextList<16, 256>,
        /// What is announced (`NT`), each once.
        pub notification_type: TextList<16, 256>,
        /// Unique names of services (`USN`), each once.
        pub unique_name: TextList<16, 256>,
        /// Program of the device (`SERVER`).
        pub server: Text<256>,
        /// Program of the client (`USER-AGENT`).
        pub user_agent: Text<256>,
        /// Where the device is described (`LOCATION`).
        pub location: Text<512>,
        /// Port of that.
        pub location_port: Option<u16>,
    }
}
