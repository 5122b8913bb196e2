// SPDX-License-Identifier: MIT OR Apache-2.0
//! DHCP (RFC 2131): a message of a client and the server's answer, or one message that stands alone.

use crate::{ShortOctets, Text};

crate::fields! {
    /// Fields of a DHCP exchange: what the client said, and, where it was seen, what the server answered.
    pub struct Dhcp = "dhcp" {
        /// Type of the last message (RFC 2132 section 9.6): that of the answer, where it was seen. 1 DISCOVER, 2 OFFER, 3
        /// REQUEST, 4 DECLINE, 5 ACK, 6 NAK, 7 RELEASE, 8 INFORM.
        pub message_type: Option<u8>,
        /// Transaction identifier.
        pub transaction_id: Option<u32>,
        /// Hardware address of the client, where it is of Ethernet's kind.
        pub client_mac: ShortOctets<6>,
        /// Client identifier (option 61), its type octet included: hexadecimal digits.
        pub client_id: Text<510>,
        /// Host name of the client (option 12).
        pub host_name: Text<255>,
        /// Fully qualified name of the client (option 81, RFC 4702), in presentation form.
        pub fqdn: Text<255>,
        /// Domain name (option 15).
        pub domain_name: Text<255>,
        /// Vendor class identifier (option 60).
        pub vendor_class: Text<255>,
        /// Parameters that the client asks for (option 55): their numbers in its order, joined by commas. A fingerprint of its
        /// program.
        pub fingerprint: Text<1024>,
        /// Address that the client asks for (option 50).
        pub requested_address: Option<[u8; 4]>,
        /// Address that the client has (`ciaddr`).
        pub client_address: Option<[u8; 4]>,
        /// Address that the server gives (`yiaddr`).
        pub offered_address: Option<[u8; 4]>,
        /// Address of the server (option 54).
        pub server_address: Option<[u8; 4]>,
        /// Address of the relay agent (`giaddr`).
        pub relay_address: Option<[u8; 4]>,
        /// Lease time in seconds (option 51).
        pub lease_time: Option<u32>,
        /// Message of the server, such as why it refuses (option 56).
        pub message: Text<255>,
    }
}
