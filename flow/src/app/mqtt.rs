// SPDX-License-Identifier: MIT OR Apache-2.0
//! MQTT (OASIS 3.1.1 and 5.0, and 3.1 before them): one connection.

use crate::{Text, TextList};

crate::fields! {
    /// Fields of an MQTT connection.
    pub struct Mqtt = "mqtt" {
        /// Kinds of control packets seen, a bit for each: bit 1 CONNECT, 2 CONNACK, 3 PUBLISH, 8 SUBSCRIBE, 12 PINGREQ, 14
        /// DISCONNECT.
        pub packet_types: Option<u16>,
        /// Level of the protocol: 3 is 3.1, 4 is 3.1.1, 5 is 5.0.
        pub version: Option<u8>,
        /// Flags of CONNECT: bit 1 clean start, 2 will, 3 and 4 its quality of service, 5 its retaining, 6 password, 7 user name.
        pub connect_flags: Option<u8>,
        /// Keep-alive, in seconds.
        pub keep_alive: Option<u16>,
        /// Return or reason code of CONNACK.
        pub return_code: Option<u8>,
        /// Flags of all PUBLISH packets: bit 0 retain, 1 and 2 quality of service, 3 sent again.
        pub publish_flags: Option<u8>,
        /// Topics published to, each once.
        pub topics: TextList<32, 256>,
        /// Client identifier.
        pub client_id: Text<256>,
        /// User name. The password is not read.
        pub user_name: Text<256>,
        /// Topic of the client's will.
        pub will_topic: Text<256>,
        /// Topic filters subscribed to, each once.
        pub filters: TextList<32, 256>,
    }
}
