// SPDX-License-Identifier: MIT OR Apache-2.0
//! The services that answer a small datagram with a large one.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A UDP service that can be abused as a reflector.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name, as it appears in alerts.
    pub name: Cow<'static, str>,
    /// UDP port.
    pub port: u16,
    /// Least mean octets of a packet of an abusive answer, IP header included.
    pub min_packet_octets: u32,
}

const fn service(name: &'static str, port: u16, min_packet_octets: u32) -> Service {
    Service { name: Cow::Borrowed(name), port, min_packet_octets }
}

/// Names and ports as in the advisories on UDP amplification (CISA TA14-017A and its successors). The least packet is 400
/// octets where abusive answers fill packets, and less where the protocol answers in small ones.
pub static SERVICES: &[Service] = &[
    service("qotd", 17, 100),
    service("chargen", 19, 100),
    service("dns", 53, 400),
    service("tftp", 69, 400),
    service("portmap", 111, 100),
    service("ntp", 123, 400),
    service("netbios", 137, 200),
    service("snmp", 161, 400),
    service("cldap", 389, 400),
    service("slp", 427, 400),
    service("rip", 520, 400),
    service("ssdp", 1_900, 250),
    service("ard", 3_283, 400),
    service("wsd", 3_702, 400),
    service("mdns", 5_353, 100),
    service("ubiquiti", 10_001, 100),
    service("memcached", 11_211, 400),
    service("dvr", 37_810, 400),
];
