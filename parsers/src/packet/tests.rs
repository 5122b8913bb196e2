// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets made by hand.

use proptest::prelude::*;
use weir_flow::{LinkType, Merged, Timestamp};

use super::*;

fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
    Packet { data, wire_octets: data.len() as u32, ts: Timestamp::ZERO, interface: 0, link, merged: Merged::NOT }
}

fn ethernet(parts: &[&[u8]]) -> Vec<u8> {
    [&[0x02; 12][..], &parts.concat()].concat()
}

/// 192.0.2.1 to 198.51.100.2, total length `total`, fragment field `fragment`, protocol `protocol`.
fn ipv4(total: u16, fragment: u16, protocol: u8) -> [u8; 20] {
    let ([t0, t1], [f0, f1]) = (total.to_be_bytes(), fragment.to_be_bytes());
    [0x45, 0xb8, t0, t1, 0x12, 0x34, f0, f1, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]
}

/// 2001:db8::1 to 2001:db8::2, payload length `octets`, next header `next`.
fn ipv6(octets: u16, next: u8) -> [u8; 40] {
    let mut header = [0; 40];
    header[..4].copy_from_slice(&[0x6b, 0x80, 0, 0]);
    header[4..6].copy_from_slice(&octets.to_be_bytes());
    header[6..8].copy_from_slice(&[next, 64]);
    header[8..12].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    header[23] = 1;
    header[24..28].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    header[39] = 2;
    header
}

/// 53 to 1024, of 12 octets.
const UDP: [u8; 12] = [0, 53, 4, 0, 0, 12, 0, 0, b'd', b'a', b't', b'a'];
/// 80 to 1025, sequence 0x01020304, data offset 6, NS SYN ACK, an option, three octets of payload.
const TCP: [u8; 27] = [0, 80, 4, 1, 1, 2, 3, 4, 0, 0, 0, 0, 0x61, 0x12, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, b'a', b'b', b'c'];

fn ignored(link: LinkType, data: &[u8]) -> Option<Ignore> {
    decode(&packet(link, data)).err()
}

#[test]
fn ethernet_with_two_tags_and_padding() {
    let data = ethernet(&[
        &[0x88, 0xa8, 0xe0, 0x07], // priority 7, VLAN 7
        &[0x81, 0x00, 0x00, 0x2a], // VLAN 42
        &[0x08, 0x00],
        &ipv4(32, 0x4000, protocol::UDP),
        &UDP,
        b"padding",
    ]);
    let decoded = decode(&packet(LinkType::ETHERNET, &data)).unwrap();
    let expected = FlowKey::new([192, 0, 2, 1].into(), [198, 51, 100, 2].into(), 53, 1024, protocol::UDP);
    assert_eq!(decoded.key, expected);
    assert_eq!((decoded.ip_octets, decoded.vlan, decoded.class_of_service), (32, 7, 0xb8));
    assert_eq!((decoded.payload, decoded.payload_octets), (&b"data"[..], 4));
    assert_eq!((decoded.fragment, decoded.tcp, decoded.icmp_type_code), (Fragment::None, None, None));
}

#[test]
fn each_link_type_leads_to_ip() {
    let ip = [&ipv4(32, 0, protocol::UDP)[..], &UDP].concat();
    let mac = [2; 12];
    let headers: [(u16, &[&[u8]]); 23] = [
        (1, &[&mac, &[0x08, 0x00]]),
        (1, &[&mac, &[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00]]), // 802.3, LLC, SNAP
        (1, &[&mac, &[0, 40, 6, 6, 3]]),                            // 802.3, LLC
        (1, &[&mac, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 34, 0, 0x21]]), // PPPoE
        (1, &[&mac, &[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64]]),      // two labels
        (1, &[&mac, &[0x88, 0x47, 0, 1, 1, 64, 0, 0, 0, 0], &mac, &[0x08, 0x00]]), // pseudowire, control word
        (1, &[&mac, &[0x88, 0xe7, 0, 0, 0, 1], &mac, &[0x08, 0x00]]), // MAC-in-MAC
        (1, &[&mac, &[0x89, 0x03, 0, 1], &mac, &[0x08, 0x00]]),     // FabricPath
        (1, &[&mac, &[0x89, 0x26, 0, 1, 2, 3, 0x08, 0x00]]),        // VN-Tag
        (1, &[&mac, &[0x88, 0xe5, 0x20, 0, 0, 0, 0, 1], &[0; 8], &[0x08, 0x00]]), // MACsec in the clear
        (113, &[&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x08, 0x00]]),
        (276, &[&[0x08, 0x00, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0]]),
        (101, &[]),
        (12, &[]),
        (14, &[]),
        (228, &[]),
        (0, &[&[2, 0, 0, 0]]),
        (108, &[&[0, 0, 0, 2]]),
        (9, &[&[0xff, 3, 0, 0x21]]),
        (9, &[&[0x21]]), // protocol field compressed
        (50, &[&[0x0f, 0, 0x08, 0x00]]),
        (51, &[&[0x11, 0, 0, 1, 0, 34, 0, 0x21]]),
        (239, &[&[2, 0, 0, 0, 8, 0, 1, 0, 8, 0, 0, 0, 36, 0, 9, 0]]),
    ];
    for (link, header) in headers {
        let data = [header.concat(), ip.clone()].concat();
        let decoded =
            decode(&packet(LinkType(link), &data)).unwrap_or_else(|why| panic!("{link} {header:x?}: {why:?}"));
        assert_eq!((decoded.key.src_port, decoded.ip_octets, decoded.payload), (53, 32, &b"data"[..]), "{link}");
        // Cut anywhere, it is ignored for a reason, or in the flow of what is there.
        for len in 0..data.len() {
            match decode(&packet(LinkType(link), &data[..len])) {
                Err(why) => assert!(
                    matches!(why, Ignore::TruncatedLinkHeader | Ignore::TruncatedIpHeader | Ignore::NotIp),
                    "{link} {header:x?} cut at {len}: {why:?}"
                ),
                Ok(decoded) => {
                    assert!(len >= data.len() - UDP.len(), "{link} cut at {len}");
                    assert_eq!(decoded.without_transport_header, len < data.len() - UDP.len() + 4);
                }
            }
        }
    }
    for (link, family) in [(0, [24, 0, 0, 0]), (0, [0, 0, 0, 28]), (108, [0, 0, 0, 30]), (0, [10, 0, 0, 0])] {
        let data = [&family[..], &ipv6(12, protocol::UDP), &UDP].concat();
        assert_eq!(decode(&packet(LinkType(link), &data)).unwrap().key.src_port, 53);
    }
}

#[test]
fn rarer_link_types_lead_to_ip() {
    const SNAP: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00];
    /// An aggregate of which the first frame is 8 + 32 octets.
    const SUBFRAME: &[u8] = &[2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 0, 40];
    let ip = [&ipv4(32, 0, protocol::UDP)[..], &UDP].concat();
    let wlan = |control: u8, flags: u8| [&[control, flags, 0, 0], &[2; 18][..], &[0x10, 0]].concat();
    let (plain, quality) = (wlan(0x08, 0x01), wlan(0x88, 0x02));
    let ordered = wlan(0x88, 0x82);
    let four = wlan(0x88, 0x03);
    let pktap = |link: u8| [&[108, 0, 0, 0, 1, 0, 0, 0, link, 0, 0, 0], &[0; 96][..]].concat();
    let big_endian = [&[0, 0, 0, 108, 0, 0, 0, 1, 0, 0, 0, 12], &[0; 96][..]].concat();
    let headers: [(u16, &[&[u8]]); 48] = [
        (6, &[&[0, 0x40], &[2; 12], SNAP]),
        (6, &[&[0, 0x40], &[2; 6], &[0x82], &[2; 5], &[4, 0x20, 0, 0x11], SNAP]), // with a route of four octets
        (7, &[&[1, 2, 240]]),                                                     // RFC 1051
        (7, &[&[1, 2, 212, 0, 0, 1]]),                                            // RFC 1201
        (7, &[&[1, 2, 212, 0xff, 0xff, 0xff, 212, 0, 0, 1]]),                     // exception packet
        (129, &[&[1, 2, 0, 0, 240]]),
        (129, &[&[1, 2, 0, 0, 212, 1, 0, 1]]), // the first of two parts
        (8, &[&[0, 0x45], &[0; 14]]),
        (100, &[SNAP]),
        (100, &[&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0], &[2; 12], &[0x08, 0x00]]), // bridged Ethernet
        (105, &[&plain, SNAP]),
        (105, &[&quality, &[0, 0], SNAP]),
        (105, &[&ordered, &[0, 0], &[1, 2, 3, 4], SNAP]), // with HT control
        (105, &[&four, &[4; 6], &[0, 0], SNAP]),          // four addresses
        (105, &[&quality, &[0x80, 0], SUBFRAME, SNAP]),   // aggregate
        (106, &[]),
        (106, &[SNAP]),
        (107, &[&[0x18, 0x41, 0x03, 0xcc]]),
        (107, &[&[0x18, 0x40, 0x02, 0x01, 0x03, 0xcc]]), // an address of four octets
        (107, &[&[0x18, 0x41, 0x03, 0x00, 0x80, 0, 0, 0, 0x08, 0x00]]), // SNAP
        (107, &[&[0x18, 0x41, 0x03, 0xcf, 0, 0x21]]),    // PPP
        (107, &[&[0x18, 0x41, 0x08, 0x00]]),             // Cisco
        (109, &[&[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]]),
        (117, &[&[61], &[2; 63]]), // filled up to 64
        (119, &[&[0, 0, 0, 0x44], &[0; 140], &plain, SNAP]),
        (119, &[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 16], &[0; 8], &plain, SNAP]), // AVS
        (122, &[&[2; 16], SNAP]),
        (123, &[&[0x02, 0, 0, 100], SNAP]),
        (123, &[&[0x81, 0, 0, 100, 0, 7], &[2; 12], &[0x08, 0x00]]), // LAN emulation
        (127, &[&[0, 0, 8, 0, 0, 0, 0, 0], &plain, SNAP]),
        // Time and flags, of which the highest bits of another kind of field make a second word; frame check sequence at the end.
        (127, &[&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10], &plain, SNAP]),
        (127, &[&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &quality, &[0, 0], &[0, 0], SNAP]), // header filled up
        (138, &[&[2; 16], &[0x08, 0x00]]),
        (149, &[&pktap(12)]),
        (163, &[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], &[0; 56], &plain, SNAP]),
        (166, &[&[1, 3, 0, 0x21]]),
        (192, &[&[0, 0, 12, 0, 105, 0, 0, 0], &[0; 4], &plain, SNAP]),
        (192, &[&[0, 0, 8, 0, 1, 0, 0, 0], &[2; 12], &[0x08, 0x00]]),
        (204, &[&[0, 0xff, 3, 0, 0x21]]),
        (205, &[&[0, 0x0f, 0, 0x08, 0x00]]),
        (206, &[&[0, 0x18, 0x41, 0x03, 0xcc]]),
        (226, &[&[1, 2], &[0; 22]]),
        (242, &[&[2; 40], &[0x08, 0x00, 0, 0]]),
        (258, &[&pktap(1), &[2; 12], &[0x08, 0x00]]),
        (258, &[&pktap(12)]),
        (258, &[&big_endian]),
        (258, &[&[112], &pktap(12)[1..], &[0; 4]]), // a longer header
        (258, &[&pktap(127), &[0, 0, 8, 0, 0, 0, 0, 0], &plain, SNAP]),
    ];
    for (link, header) in headers {
        let header = header.concat();
        let data = [&header[..], &ip].concat();
        // Behind the packet: a frame check sequence, the rest of an aggregate.
        let trailed = [&data[..], &[0x45; 30]].concat();
        for data in [&data, &trailed] {
            let decoded =
                decode(&packet(LinkType(link), data)).unwrap_or_else(|why| panic!("{link} {header:x?}: {why:?}"));
            assert_eq!((decoded.key.src_port, decoded.ip_octets, decoded.payload), (53, 32, &b"data"[..]), "{link}");
        }
        for len in 0..header.len() + 20 {
            let why = ignored(LinkType(link), &data[..len]);
            assert!(why.is_some(), "{link} {header:x?} cut at {len}");
        }
    }
    for (link, header) in [(7, &[1, 2, 196, 0, 0, 1][..]), (107, &[0x18, 0x41, 3, 0x8e]), (226, &[1, 26])] {
        let fill = if link == 226 { 22 } else { 0 };
        let data = [header, &vec![0; fill], &ipv6(12, protocol::UDP), &UDP].concat();
        assert_eq!(decode(&packet(LinkType(link), &data)).map(|decoded| decoded.key.src_port), Ok(53), "{link}");
    }
}

#[test]
fn an_aggregate_ends_the_packet_where_its_first_frame_ends() {
    let wlan =
        [&[0x88, 0x02, 0, 0], &[2; 18][..], &[0x10, 0, 0x80, 0], &[2; 12], &[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]]
            .concat();
    // A total length of zero: as long as the frame.
    let data = [&wlan[..], &ipv4(0, 0, protocol::UDP), &UDP, &[7; 60]].concat();
    let decoded = decode(&packet(LinkType(105), &data)).unwrap();
    assert_eq!((decoded.ip_octets, decoded.payload), (32, &b"data"[..]));
}

#[test]
fn what_rarer_links_do_not_carry_has_a_reason() {
    let frame = |control: u8, flags: u8, sequence: u8| {
        [&[control, flags, 0, 0], &[2; 18][..], &[sequence, 0], &[0; 40]].concat()
    };
    let pktap = [&[108, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], &[0; 120][..]].concat();
    let cases: [(u16, &[u8], Ignore); 20] = [
        (105, &frame(0x80, 0, 0), Ignore::NotIp),                 // beacon
        (105, &[0xd4, 0, 0, 0, 2, 2, 2, 2, 2, 2], Ignore::NotIp), // acknowledgement
        (105, &frame(0x48, 1, 0), Ignore::NotIp),                 // no data
        (105, &frame(0x08, 0x41, 0), Ignore::Encrypted),
        (105, &frame(0x08, 0x01, 1), Ignore::LinkFragment),
        (105, &frame(0x09, 0x01, 0), Ignore::MalformedLinkHeader), // protocol version 1
        (127, &[&[0, 0, 9, 0, 2, 0, 0, 0, 0x40], &frame(8, 1, 0)[..]].concat(), Ignore::MalformedLinkHeader), // bad check
        (127, &[0, 0, 7, 0, 0, 0, 0, 0, 0], Ignore::MalformedLinkHeader),
        (127, &[1, 0, 8, 0, 0, 0, 0, 0, 0], Ignore::MalformedLinkHeader),
        (127, &[0, 0, 80, 0, 0, 0, 0, 0, 0], Ignore::TruncatedLinkHeader),
        (129, &[1, 2, 0, 0, 213, 0, 0, 0], Ignore::NotIp), // ARP
        (129, &[1, 2, 0, 0, 212, 2, 0, 0, 0x45], Ignore::LinkFragment),
        (107, &[0x19, 0x41, 3, 0xcc], Ignore::MalformedLinkHeader), // an address of one octet
        (107, &[0x18, 0x41, 3, 0x81], Ignore::NotIp),
        (123, &[1, 0, 0, 1, 0xff, 0, 0], Ignore::NotIp), // control of LAN emulation
        (258, &pktap, Ignore::NotIp),                    // no packet
        (258, &[0; 108], Ignore::MalformedLinkHeader),
        (149, &[0; 108], Ignore::UnsupportedLinkType),
        (192, &[0, 0, 8, 0, 147, 0, 0, 0], Ignore::UnsupportedLinkType),
        (226, &[0; 24], Ignore::MalformedLinkHeader),
    ];
    for (link, data, why) in cases {
        assert_eq!(ignored(LinkType(link), data), Some(why), "{link} {data:x?}");
    }
    // Headers that say forever that another follows.
    let nested = [0, 0, 8, 0, 192, 0, 0, 0].repeat(100);
    assert_eq!(ignored(LinkType(192), &nested), Some(Ignore::TooManyLinkHeaders));
}

#[test]
fn what_is_not_metered_has_a_reason() {
    let eth = LinkType::ETHERNET;
    assert_eq!(ignored(LinkType(147), &[0; 64]), Some(Ignore::UnsupportedLinkType));
    assert_eq!(ignored(eth, &ethernet(&[&[0x08, 0x06], &[0; 28]])), Some(Ignore::NotIp));
    assert_eq!(ignored(eth, &[2; 13]), Some(Ignore::TruncatedLinkHeader));
    let tags = [0x81, 0x00, 0x00, 0x01].repeat(100);
    assert_eq!(ignored(eth, &ethernet(&[&tags, &[0x08, 0x00], &ipv4(20, 0, 59)])), Some(Ignore::TooManyLinkHeaders));
    // PPPoE of version 2.
    assert_eq!(ignored(eth, &ethernet(&[&[0x88, 0x64, 0x21, 0, 0, 1, 0, 2]])), Some(Ignore::MalformedLinkHeader));
    // The EtherType says IPv4, the header version 6; header length 16; total length below the header's.
    let version = [&[0x65][..], &ipv4(20, 0, 59)[1..]].concat();
    let header_length = [&[0x44][..], &ipv4(20, 0, 59)[1..]].concat();
    for header in [&version, &header_length, &ipv4(19, 0, 59).to_vec()] {
        assert_eq!(ignored(eth, &ethernet(&[&[0x08, 0x00], header])), Some(Ignore::MalformedIpHeader));
    }
    assert_eq!(ignored(LinkType::RAW, &ipv4(20, 0, 59)[..19]), Some(Ignore::TruncatedIpHeader));
    assert_eq!(ignored(LinkType::RAW, &ipv6(0, 59)[..39]), Some(Ignore::TruncatedIpHeader));

    let mut counters = Ignored::default();
    for why in [
        Ignore::Encrypted,
        Ignore::LinkFragment,
        Ignore::MalformedLinkHeader,
        Ignore::MalformedIpHeader,
        Ignore::NotIp,
        Ignore::TooManyLinkHeaders,
        Ignore::TruncatedIpHeader,
        Ignore::TruncatedLinkHeader,
        Ignore::UnsupportedLinkType,
    ] {
        why.count(&mut counters);
    }
    assert!(counters.values().iter().all(|count| *count == 1), "each reason has its counter: {counters:?}");
}

#[test]
fn tcp_flags_sequence_and_payload() {
    let data = [&ipv4(47, 0, protocol::TCP)[..], &TCP].concat();
    let decoded = decode(&packet(LinkType::RAW, &data)).unwrap();
    assert_eq!(decoded.tcp, Some(TcpSegment { flags: 0x112, sequence: 0x0102_0304 }));
    assert_eq!((decoded.payload, decoded.payload_octets), (&b"abc"[..], 3));

    // Snapped behind the flags: the claim stays.
    let decoded = decode(&Packet { wire_octets: 47, ..packet(LinkType::RAW, &data[..34]) }).unwrap();
    assert!(decoded.tcp.is_some() && !decoded.without_transport_header);
    assert_eq!((decoded.payload, decoded.payload_octets, decoded.ip_octets), (&b""[..], 3, 47));

    // A data offset below five words: ports only.
    let mut lying = data.clone();
    lying[32] = 0x41;
    let decoded = decode(&packet(LinkType::RAW, &lying)).unwrap();
    assert_eq!((decoded.tcp, decoded.key.src_port, decoded.payload_octets), (None, 80, 0));

    // A data offset beyond the segment.
    lying[32] = 0xf0;
    let decoded = decode(&packet(LinkType::RAW, &lying)).unwrap();
    assert_eq!((decoded.payload, decoded.payload_octets), (&b""[..], 0));
}

#[test]
fn lengths_are_claims() {
    // UDP says more than IP: IP wins; UDP says less: UDP wins.
    for (claim, payload) in [(200, &b"data"[..]), (10, b"da"), (0, b"data"), (3, b"")] {
        let mut udp = UDP;
        udp[5] = claim;
        let data = [&ipv4(32, 0, protocol::UDP)[..], &udp].concat();
        assert_eq!(decode(&packet(LinkType::RAW, &data)).unwrap().payload, payload, "UDP length {claim}");
    }
    // IP says more than there is.
    let data = [&ipv4(1500, 0, protocol::UDP)[..], &UDP].concat();
    let decoded = decode(&packet(LinkType::RAW, &data)).unwrap();
    assert_eq!((decoded.ip_octets, decoded.payload.len(), decoded.payload_octets), (1500, 4, 4));
    // Length zero: what was on the wire, link header aside.
    let data = ethernet(&[&[0x08, 0x00], &ipv4(0, 0, protocol::TCP), &TCP]);
    let decoded = decode(&Packet { wire_octets: 70_000, ..packet(LinkType::ETHERNET, &data) }).unwrap();
    assert_eq!((decoded.ip_octets, decoded.payload_octets), (69_986, 69_986 - 20 - 24));
    let data = ethernet(&[&[0x86, 0xdd], &ipv6(0, protocol::TCP), &TCP]);
    let decoded = decode(&Packet { wire_octets: 70_000, ..packet(LinkType::ETHERNET, &data) }).unwrap();
    assert_eq!(decoded.ip_octets, 69_986);
    // Jumbo payload option in hop-by-hop options.
    let hop = [protocol::TCP, 0, 0xc2, 4, 0, 1, 0, 0];
    let decoded_octets = |data: &[u8]| decode(&packet(LinkType::RAW, data)).unwrap().ip_octets;
    assert_eq!(decoded_octets(&[&ipv6(0, 0)[..], &hop, &TCP].concat()), 0x1_0000 + 40);
    // No next header, and a frame of minimum size: zero is zero.
    assert_eq!(decoded_octets(&ipv6(0, 59)), 40);
    assert_eq!(decoded_octets(&[&ipv6(0, 99)[..], &[0; 6]].concat()), 40);
}

#[test]
fn fragments_of_ipv4() {
    let decoded = |fragment| {
        let data = [&ipv4(32, fragment, protocol::UDP)[..], &UDP].concat();
        let decoded = decode(&packet(LinkType::RAW, &data)).unwrap();
        (decoded.fragment, decoded.key.src_port, decoded.payload.len(), decoded.without_transport_header)
    };
    assert_eq!(decoded(0x2000), (Fragment::First { id: 0x1234 }, 53, 4, false));
    assert_eq!(decoded(0x2001), (Fragment::Later { id: 0x1234 }, 0, 0, false));
    assert_eq!(decoded(0x0001), (Fragment::Later { id: 0x1234 }, 0, 0, false));
}

#[test]
fn extension_headers_of_ipv6() {
    let decoded = |chain: &[u8], first: u8| {
        let octets = (chain.len() + UDP.len()) as u16;
        let data = [&ipv6(octets, first)[..], chain, &UDP].concat();
        let decoded = decode(&packet(LinkType::RAW, &data)).unwrap();
        (decoded.key.protocol, decoded.key.src_port, decoded.fragment, decoded.payload_octets)
    };
    let hop = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [60, 0, 0, 0, 0, 0, 0, 0];
    let options = [51, 0, 1, 4, 0, 0, 0, 0];
    let authentication = [44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // (1 + 2) * 4 octets
    let first = [17, 0, 0, 1, 0, 0, 0, 9];
    let chain = [&hop[..], &routing, &options, &authentication, &first].concat();
    assert_eq!(decoded(&chain, 0), (17, 53, Fragment::First { id: 9 }, 4));
    // Atomic fragment; later fragment, whose next header is not followed.
    assert_eq!(decoded(&[17, 0, 0, 0, 0, 0, 0, 9], 44), (17, 53, Fragment::None, 4));
    assert_eq!(decoded(&[60, 0, 0, 8, 0, 0, 0, 9], 44), (60, 0, Fragment::Later { id: 9 }, 12));
    // Mobility ends the chain.
    assert_eq!(decoded(&[59, 0, 0, 0, 0, 0, 0, 0], 135), (135, 0, Fragment::None, 20));

    // A chain that runs over the end names its successor, and has no ports.
    let data = [&ipv6(8, 60)[..], &[17, 200, 0, 0, 0, 0, 0, 0]].concat();
    let cut = decode(&packet(LinkType::RAW, &data)).unwrap();
    assert_eq!((cut.key.protocol, cut.key.src_port, cut.without_transport_header), (17, 0, true));
    // The payload length ends the chain, whatever is captured behind it.
    let data = [&ipv6(8, 60)[..], &[17, 0, 0, 0, 0, 0, 0, 0], &UDP].concat();
    let cut = decode(&packet(LinkType::RAW, &data)).unwrap();
    assert_eq!((cut.key.src_port, cut.without_transport_header, cut.ip_octets), (0, true, 48));
}

#[test]
fn protocols_without_ports() {
    let data = [&ipv4(28, 0, protocol::ICMP)[..], &[3, 1, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(decode(&packet(LinkType::RAW, &data)).unwrap().icmp_type_code, Some(0x0301));
    // AH in IPv4 is the protocol.
    let data = [&ipv4(32, 0, 51)[..], &UDP].concat();
    let decoded = decode(&packet(LinkType::RAW, &data)).unwrap();
    assert_eq!((decoded.key.protocol, decoded.key.src_port, decoded.without_transport_header), (51, 0, false));
    assert_eq!(decoded.payload.len(), 12);
    for (number, payload) in [(protocol::SCTP, 0), (protocol::UDP_LITE, 4), (protocol::DCCP, 0)] {
        let data = [&ipv4(32, 0, number)[..], &UDP].concat();
        let decoded = decode(&packet(LinkType::RAW, &data)).unwrap();
        assert_eq!((decoded.key.src_port, decoded.key.dst_port, decoded.payload.len()), (53, 1024, payload));
    }
}

proptest! {
    #[test]
    fn any_octets_are_decoded_or_ignored(link in 0..280_u16, mut data in prop::collection::vec(any::<u8>(), 0..200), kind in any::<prop::sample::Index>(), wire in any::<u32>()) {
        const KINDS: [u16; 14] = [0x0800, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8864, 0x88e5, 0x88e7, 0x8903, 0x8926, 0x892f, 0x9100, 0x6558, 40];
        let link = if data.len() % 2 == 0 { 1 } else { link };
        if let Some(field) = data.get_mut(12..14) {
            field.copy_from_slice(&kind.get(&KINDS).to_be_bytes());
        }
        if let Ok(decoded) = decode(&Packet { wire_octets: wire, ..packet(LinkType(link), &data) }) {
            prop_assert!(decoded.payload.len() <= decoded.payload_octets as usize);
            prop_assert!(u64::from(decoded.payload_octets) <= decoded.ip_octets);
        }
    }
}

proptest! {
    /// Whatever octets change and wherever the capture ends: what is read at a glance is what the walk gives.
    #[test]
    fn a_plain_packet_is_read_as_the_walk_reads_it(
        is_tagged: bool,
        is_v6: bool,
        is_tcp: bool,
        octets in 0_u16..80,
        len in 0_usize..130,
        more_on_wire in 0_u32..4,
        changes in prop::collection::vec((12_usize..110, any::<u8>()), 0..3),
    ) {
        let mut data = plain_frame(is_tagged, is_v6, is_tcp, octets);
        data.extend([0; 40]);
        for (at, octet) in changes {
            if let Some(place) = data.get_mut(at) {
                *place = octet;
            }
        }
        data.truncate(len);
        let wire_octets = data.len() as u32 + more_on_wire;
        let packet = Packet { wire_octets, ..packet(LinkType::ETHERNET, &data) };
        if let Some(plain) = Plain::read(&packet) {
            prop_assert_eq!(Ok(plain.decoded(&packet)), decode(&packet));
        }
    }
}

/// `octets` are what the IP header claims to be behind it.
fn plain_frame(is_tagged: bool, is_v6: bool, is_tcp: bool, octets: u16) -> Vec<u8> {
    let (number, transport) = if is_tcp { (protocol::TCP, &TCP[..]) } else { (protocol::UDP, &UDP[..]) };
    let tag: &[u8] = if is_tagged { &[0x81, 0x00, 0x20, 0x2a] } else { &[] };
    if is_v6 {
        ethernet(&[tag, &[0x86, 0xdd], &ipv6(octets, number), transport])
    } else {
        ethernet(&[tag, &[0x08, 0x00], &ipv4(20 + octets, 0x4000, number), transport])
    }
}

#[test]
fn what_most_packets_have_is_plain() {
    for is_tagged in [false, true] {
        for is_v6 in [false, true] {
            for (is_tcp, octets) in [(true, TCP.len()), (false, UDP.len())] {
                let mut data = plain_frame(is_tagged, is_v6, is_tcp, octets as u16);
                data.extend([0; 6]);
                let packet = packet(LinkType::ETHERNET, &data);
                assert_eq!(Plain::read(&packet).map(|plain| Ok(plain.decoded(&packet))), Some(decode(&packet)));
            }
        }
    }
}
