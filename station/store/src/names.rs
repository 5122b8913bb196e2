// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of numbers: protocols, DNS types and response codes.

/// Protocol numbers with the names that nfdump prints.
const PROTOCOLS: &[(u8, &str)] = &[
    (0, "HOPOPT"),
    (1, "ICMP"),
    (2, "IGMP"),
    (3, "GGP"),
    (4, "IPIP"),
    (6, "TCP"),
    (8, "EGP"),
    (9, "IGP"),
    (17, "UDP"),
    (33, "DCCP"),
    (41, "IPv6"),
    (43, "RTHDR6"),
    (44, "FRAG6"),
    (46, "RSVP"),
    (47, "GRE"),
    (50, "ESP"),
    (51, "AH"),
    (58, "ICMP6"),
    (59, "NOHE6"),
    (60, "OPTS6"),
    (88, "EIGRP"),
    (89, "OSPF"),
    (94, "NOS"),
    (98, "ENCAP"),
    (103, "PIM"),
    (108, "IPComp"),
    (112, "VRRP"),
    (115, "L2TP"),
    (124, "ISIS"),
    (132, "SCTP"),
    (136, "UDPL"),
    (137, "MPLS"),
];

/// Other spellings.
const PROTOCOL_ALIASES: &[(&str, u8)] =
    &[("icmpv6", 58), ("ipv6-icmp", 58), ("udplite", 136), ("ipencap", 4), ("ospfigp", 89)];

/// Name of a protocol, or its number.
pub(crate) fn protocol(number: u8) -> String {
    PROTOCOLS.iter().find(|p| p.0 == number).map_or_else(|| number.to_string(), |p| p.1.to_owned())
}

/// Number of a protocol by name, whatever the case.
pub(crate) fn protocol_number(name: &str) -> Option<u8> {
    let known = PROTOCOLS.iter().find(|p| p.1.eq_ignore_ascii_case(name)).map(|p| p.0);
    known.or_else(|| PROTOCOL_ALIASES.iter().find(|p| p.0.eq_ignore_ascii_case(name)).map(|p| p.1))
}

/// Names of values of application fields: column, name, value.
const VALUES: &[(&str, &[(&str, u64)])] = &[
    (
        "dns_query_type",
        &[
            ("A", 1),
            ("NS", 2),
            ("CNAME", 5),
            ("SOA", 6),
            ("PTR", 12),
            ("HINFO", 13),
            ("MX", 15),
            ("TXT", 16),
            ("AAAA", 28),
            ("SRV", 33),
            ("NAPTR", 35),
            ("DS", 43),
            ("RRSIG", 46),
            ("DNSKEY", 48),
            ("SVCB", 64),
            ("HTTPS", 65),
            ("AXFR", 252),
            ("ANY", 255),
        ],
    ),
    (
        "dns_response_code",
        &[("NOERROR", 0), ("FORMERR", 1), ("SERVFAIL", 2), ("NXDOMAIN", 3), ("NOTIMP", 4), ("REFUSED", 5)],
    ),
];

/// Value of an application field by name, whatever the case.
pub(crate) fn value(column: &str, name: &str) -> Option<u64> {
    let (_, names) = VALUES.iter().find(|v| v.0 == column)?;
    names.iter().find(|n| n.0.eq_ignore_ascii_case(name)).map(|n| n.1)
}
