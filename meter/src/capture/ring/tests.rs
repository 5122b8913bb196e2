// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocks as a kernel lays them down, and as none does.

use proptest::{collection::vec, prelude::*};
use weir_flow::{LinkType, Merged, Packet, Timestamp};

use super::{
    block::{Found, Framing, Next, Shape, Walk},
    filter::{self, Instruction},
};

const ETHERNET: Shape = Shape { framing: Framing::Ethernet, has_vnet: true };

/// A packet as the kernel lays it down.
#[derive(Clone, Debug, Default)]
struct Laid {
    data: Vec<u8>,
    octets: u32,
    status: u32,
    tag: u16,
    tag_protocol: u16,
    vnet: [u8; 10],
    kind: u8,
    protocol: [u8; 2],
    link_octets: u16,
}

impl Laid {
    fn new(data: &[u8]) -> Self {
        Self { data: data.to_vec(), octets: data.len() as u32, link_octets: 14, ..Self::default() }
    }
}

/// Where the link header is, from the packet's own header on: that, the address, room, what was merged.
const LINK_AT: u16 = 48 + 20 + 6 + 10;

fn lay(packets: &[Laid]) -> Vec<u8> {
    // Version, private area, status, number, first, length; the rest means nothing to us.
    let descriptor = [1, 48, 1, packets.len() as u32, 48, 0];
    let mut block: Vec<u8> = descriptor.iter().flat_map(|number: &u32| number.to_ne_bytes()).collect();
    block.resize(48, 0);
    for (index, laid) in packets.iter().enumerate() {
        let octets = (usize::from(LINK_AT) + laid.data.len()).next_multiple_of(16);
        let next = if index + 1 == packets.len() { 0 } else { octets as u32 };
        let end = block.len() + octets;
        // Next, seconds, nanoseconds, captured, octets, status.
        for number in [next, 7, index as u32, laid.data.len() as u32, laid.octets, laid.status] {
            block.extend(number.to_ne_bytes());
        }
        block.extend([LINK_AT, LINK_AT + laid.link_octets].map(u16::to_ne_bytes).as_flattened());
        block.extend([0, u32::from(laid.tag)].map(u32::to_ne_bytes).as_flattened());
        block.extend(laid.tag_protocol.to_ne_bytes());
        block.extend([0; 10]);
        // Family, protocol, interface, hardware, kind of packet.
        block.extend([0, 17, laid.protocol[0], laid.protocol[1], 0, 0, 0, 5, 0, 1, laid.kind]);
        block.resize(end - octets + usize::from(LINK_AT) - 10, 0);
        block.extend(laid.vnet);
        block.extend(&laid.data);
        block.resize(end, 0xee);
    }
    block
}

/// All packets of a block, and how many could not be found.
fn walk(block: &mut [u8], shape: Shape) -> (Vec<Found>, u32) {
    let mut walk = Walk::new(block, shape);
    let mut all = Vec::new();
    loop {
        match walk.next(block) {
            Next::Packet(found) => all.push(found),
            Next::Outgoing => {}
            Next::End => return (all, walk.unread()),
        }
    }
}

fn one(laid: Laid, shape: Shape, check: impl FnOnce(Packet<'_>)) {
    let mut block = lay(&[laid]);
    let (all, unread) = walk(&mut block, shape);
    assert_eq!((all.len(), unread), (1, 0));
    check(all[0].packet(&block, 5));
}

/// Ethernet, IPv4, TCP with so many octets of options, and payload.
fn tcp(options: usize, payload: usize) -> Vec<u8> {
    let mut frame = vec![2; 12];
    let octets = (40 + options + payload) as u16;
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(octets.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0, 80, 4, 0, 0, 0, 0, 1, 0, 0, 0, 1, ((20 + options) as u8) << 2, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(54 + options + payload, 1);
    frame
}

/// A `struct virtio_net_hdr`: flags, kind, octets of headers (unused), octets of a segment, checksum from, and at.
fn vnet(flags: u8, kind: u8, segment: u16, start: u16) -> [u8; 10] {
    let mut octets = [0; 10];
    octets[..2].copy_from_slice(&[flags, kind]);
    octets[4..6].copy_from_slice(&segment.to_ne_bytes());
    octets[6..8].copy_from_slice(&start.to_ne_bytes());
    octets
}

#[test]
fn packets_of_a_block_come_in_order() {
    let frames: Vec<_> = (0..5_usize).map(|number| tcp(0, number)).collect();
    let mut block = lay(&frames.iter().map(|frame| Laid::new(frame)).collect::<Vec<_>>());
    let (all, unread) = walk(&mut block, ETHERNET);
    assert_eq!((all.len(), unread), (5, 0));
    for (nanos, (found, frame)) in (0..).zip(all.iter().zip(&frames)) {
        let packet = found.packet(&block, 5);
        assert_eq!((packet.data, packet.wire_octets as usize), (&frame[..], frame.len()));
        assert_eq!((packet.ts, packet.interface), (Timestamp::from_nanos(7_000_000_000 + nanos), 5));
        assert_eq!((packet.link, packet.merged, found.has_hardware_time()), (LinkType::ETHERNET, Merged::NOT, false));
    }
    assert_eq!(walk(&mut lay(&[]), ETHERNET).0.len(), 0);
}

#[test]
fn a_tag_goes_where_it_was() {
    let frame = tcp(0, 10);
    let valid = libc::TP_STATUS_VLAN_VALID;
    let known = valid | libc::TP_STATUS_VLAN_TPID_VALID;
    for (status, protocol, expected) in [(valid, 0, 0x8100_u16), (known, 0x88a8, 0x88a8), (known, 0x8100, 0x8100)] {
        let laid = Laid { status, tag: 0x2007, tag_protocol: protocol, ..Laid::new(&frame) };
        one(laid, ETHERNET, |packet| {
            let [high, low] = expected.to_be_bytes();
            let tagged = [&frame[..12], &[high, low, 0x20, 0x07], &frame[12..]].concat();
            assert_eq!((packet.data, packet.wire_octets as usize), (&tagged[..], tagged.len()));
        });
    }
    // Without a valid tag, what stands there means nothing.
    one(Laid { tag: 7, ..Laid::new(&frame) }, ETHERNET, |packet| assert_eq!(packet.data, frame));
    // Cut within the addresses: there is no place for it.
    let cut = Laid { status: valid, octets: 60, ..Laid::new(&frame[..11]) };
    one(cut, ETHERNET, |packet| assert_eq!((packet.data, packet.wire_octets), (&frame[..11], 60)));
}

#[test]
fn merged_packets_are_those_of_the_wire() {
    // Flags, kind, checksum from; octets of TCP options, payload, octets of a segment; then further packets and headers.
    let cases = [
        ((1, 1, 34), (12, 3000, 1448), (2, 66)),
        ((1, 0x81, 34), (0, 2920, 1460), (1, 54)),
        ((1, 4, 34), (0, 2921, 1460), (2, 54)),
        // One segment is none too many.
        ((1, 1, 34), (0, 1460, 1460), (0, 0)),
        ((1, 1, 34), (0, 0, 1460), (0, 0)),
        // A segment of nothing.
        ((1, 1, 34), (0, 3000, 0), (0, 0)),
        // UDP: eight octets of header.
        ((1, 5, 34), (0, 1000, 100), (10, 42)),
        // The checksum is done: headers are looked for.
        ((2, 1, 0), (12, 3000, 1448), (2, 66)),
        // Fragmentation, and what nobody knows.
        ((1, 3, 34), (0, 3000, 1000), (0, 0)),
        ((1, 9, 34), (0, 3000, 1000), (0, 0)),
        // A checksum that begins behind what there is.
        ((1, 1, 5000), (0, 3000, 1000), (0, 0)),
        ((1, 1, u16::MAX), (0, 3000, 1000), (0, 0)),
        ((1, 5, u16::MAX), (0, 3000, 1000), (0, 0)),
    ];
    for ((flags, kind, start), (options, payload, segment), (further_packets, header_octets)) in cases {
        let frame = tcp(options, payload);
        let merged = Merged { further_packets, header_octets };
        let merged = if further_packets == 0 { Merged::NOT } else { merged };
        for (status, tag) in [(0, 0), (libc::TP_STATUS_VLAN_VALID, 4)] {
            let laid = Laid { status, vnet: vnet(flags, kind, segment, start), ..Laid::new(&frame) };
            one(laid.clone(), ETHERNET, |packet| {
                let header_octets = if further_packets == 0 { 0 } else { merged.header_octets + tag };
                assert_eq!(packet.merged, Merged { header_octets, ..merged }, "{flags} {kind} {start} {payload}");
                assert_eq!(packet.data.len(), frame.len() + usize::from(tag));
                assert_eq!(packet.octets_as_one() as usize, packet.data.len());
                assert_eq!(packet.wire_octets, packet.octets_as_one() + packet.merged.repeated_octets());
                assert_eq!(packet.wire_packets(), 1 + u32::from(further_packets));
            });
            // Nobody asked the kernel.
            let shape = Shape { has_vnet: false, ..ETHERNET };
            one(laid, shape, |packet| assert_eq!(packet.merged, Merged::NOT));
        }
    }
}

#[test]
fn a_merged_packet_that_was_cut_keeps_its_octets() {
    let frame = tcp(0, 2920);
    let laid = Laid { octets: 2974, vnet: vnet(1, 1, 1460, 34), ..Laid::new(&frame[..60]) };
    one(laid, ETHERNET, |packet| {
        assert_eq!((packet.data.len(), packet.wire_octets, packet.octets_as_one()), (60, 2974 + 54, 2974));
    });
}

#[test]
fn what_goes_out_of_the_loopback_is_left_out() {
    let outgoing = Laid { kind: 4, ..Laid::new(&tcp(0, 1)) };
    let incoming = Laid { kind: 0, ..Laid::new(&tcp(0, 2)) };
    let packets = [outgoing.clone(), incoming, outgoing];
    for (framing, count) in [(Framing::Loopback, 1), (Framing::Ethernet, 3)] {
        assert_eq!(walk(&mut lay(&packets), Shape { framing, has_vnet: true }).0.len(), count);
    }
}

#[test]
fn other_devices_yield_packets_from_ip_on() {
    let frame = tcp(0, 2920);
    let shape = Shape { framing: Framing::Network, has_vnet: true };
    for link_octets in [14, 0] {
        let data = &frame[14 - usize::from(link_octets)..];
        let start = 20 + link_octets;
        let laid = Laid { link_octets, protocol: [8, 0], vnet: vnet(1, 1, 1460, start), ..Laid::new(data) };
        one(laid.clone(), shape, |packet| {
            assert_eq!((packet.link, packet.data), (LinkType::RAW, &frame[14..]));
            assert_eq!(packet.merged, Merged { further_packets: 1, header_octets: 40 });
            assert_eq!(packet.wire_octets, 2960 + 40);
        });
        // Not IP.
        one(Laid { protocol: [8, 6], ..laid }, shape, |packet| assert_eq!(packet.link, LinkType(u16::MAX)));
    }
    // A network header behind what there is.
    let laid = Laid { link_octets: 5000, ..Laid::new(&frame[..30]) };
    one(laid, shape, |packet| assert_eq!((packet.data.len(), packet.wire_octets), (0, 0)));
}

#[test]
fn offsets_that_lead_out_of_the_block_end_the_walk() {
    let frames = [tcp(0, 0), tcp(0, 1), tcp(0, 2)].map(|frame| Laid::new(&frame));
    let second = 48 + (usize::from(LINK_AT) + 54).next_multiple_of(16);
    // Where, what, how many packets are found.
    let cases = [
        (12, 1000, 3),
        (16, 47, 0),
        (16, u32::MAX, 0),
        (second, 0, 2),
        (second, 47, 2),
        (second, u32::MAX, 2),
        (second + 12, u32::MAX, 1),
        (second + 12, 1 << 16, 1),
    ];
    for (at, value, count) in cases {
        let mut block = lay(&frames);
        block[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        let (all, unread) = walk(&mut block, ETHERNET);
        assert_eq!(all.len(), count, "{value} at {at}");
        assert!(unread > 0 || at == 16 && value == 47, "{value} at {at}");
    }
    for octets in 0..48 + 48 {
        assert_eq!(walk(&mut lay(&frames)[..octets], ETHERNET).0.len(), 0);
    }
}

proptest! {
    #[test]
    fn no_block_is_too_odd(
        mut block in vec(any::<u8>(), 0..600),
        count in any::<u32>(),
        first in prop_oneof![Just(48_u32), any::<u32>()],
        next in prop_oneof![Just(64_u32), any::<u32>()],
        mac in prop_oneof![0..200_u16, any::<u16>()],
        captured in prop_oneof![0..200_u32, any::<u32>()],
        has_vnet in any::<bool>(),
        framing in prop_oneof![Just(Framing::Ethernet), Just(Framing::Loopback), Just(Framing::Network)],
    ) {
        let mut put = |at: usize, octets: &[u8]| {
            if let Some(place) = block.get_mut(at..at + octets.len()) {
                place.copy_from_slice(octets);
            }
        };
        put(12, &count.to_ne_bytes());
        put(16, &first.to_ne_bytes());
        put(48, &next.to_ne_bytes());
        put(48 + 12, &captured.to_ne_bytes());
        put(48 + 24, &mac.to_ne_bytes());
        let (all, _) = walk(&mut block, Shape { framing, has_vnet });
        prop_assert!(all.len() <= count as usize);
        for found in all {
            let packet = found.packet(&block, 1);
            prop_assert!(packet.data.len() as u64 <= u64::from(packet.wire_octets));
        }
    }
}

#[test]
fn a_filter_is_cut_to_the_snap_length() {
    let instruction = |code, k| Instruction { code, jt: 0, jf: 1, k };
    let program = [instruction(0x28, 12), instruction(0x15, 0x800), instruction(0x06, 262_144), instruction(0x06, 0)];
    let cut = filter::snap(&program, 96);
    assert_eq!(cut.iter().map(|i| i.k).collect::<Vec<_>>(), [12, 0x800, 96, 0]);
    assert_eq!(filter::all(5), [Instruction { code: 6, jt: 0, jf: 0, k: 5 }]);
}

#[cfg(feature = "libpcap")]
#[test]
fn expressions_are_compiled_or_refused_with_a_reason() {
    for (expression, link) in
        [("", LinkType::ETHERNET), ("tcp port 80 or host 10.0.0.1", LinkType::ETHERNET), ("ip6", LinkType::RAW)]
    {
        let program = filter::compile(expression, link).unwrap();
        assert!(program.iter().any(|i| i.code == 6 && i.k > 0), "{expression}: {program:?}");
    }
    // The type of an Ethernet header is where it is, and raw IP has none.
    assert!(filter::compile("ip", LinkType::ETHERNET).unwrap().iter().any(|i| i.k == 12));
    assert!(filter::compile("ip", LinkType::RAW).unwrap().iter().all(|i| i.k != 12));
    for (expression, reason) in [("tcp prot 80", "tcp prot 80"), ("vlan 7 and tcp", "VLAN tag"), ("host", "host")] {
        let error = filter::compile(expression, LinkType::ETHERNET).unwrap_err().to_string();
        assert!(error.starts_with("filter \"") && error.contains(reason), "{error}");
        println!("{error}");
    }
    filter::compile("host vlan.example or not vlan", LinkType::ETHERNET).unwrap_err();
}

#[cfg(not(feature = "libpcap"))]
#[test]
fn without_libpcap_the_most_used_expressions_are_compiled() {
    let program = filter::compile("tcp port 80 or host 10.0.0.1", LinkType::ETHERNET).unwrap();
    assert!(program.iter().any(|i| i.code == 6 && i.k > 0), "{program:?}");
    for (expression, reason) in
        [("ether broadcast", "without libpcap"), ("vlan 7 and tcp", "VLAN tag"), ("host", "ends")]
    {
        let error = filter::compile(expression, LinkType::ETHERNET).unwrap_err().to_string();
        assert!(error.starts_with("filter \"") && error.contains(reason), "{error}");
    }
}
