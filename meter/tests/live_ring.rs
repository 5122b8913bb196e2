// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of real interfaces, in network namespaces of the test's own. Without the rights for that, tests say so and pass.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "common/netns.rs"]
mod netns;

use std::time::Duration;

use netns::{Namespace, Wire};
use weir_flow::{LinkType, Merged, Packet, PacketSource, SourceState, Timestamp};
use weir_metering::capture::ring::{Link, Ring, RingConfig};

/// A packet, kept.
#[derive(Clone, Debug)]
struct Kept {
    data: Vec<u8>,
    wire_octets: u32,
    ts: Timestamp,
    link: LinkType,
    merged: Merged,
}

impl Kept {
    fn new(packet: &Packet<'_>) -> Self {
        let &Packet { data, wire_octets, ts, link, merged, .. } = packet;
        Self { data: data.to_vec(), wire_octets, ts, link, merged }
    }
}

/// A ring of 4 MiB that hands over soon.
fn config(interface: &str) -> RingConfig {
    RingConfig {
        block_octets: 1 << 18,
        blocks: 16,
        block_timeout: Duration::from_millis(2),
        poll_timeout: Duration::from_millis(20),
        ..RingConfig::new(interface)
    }
}

fn open(namespace: &Namespace, config: RingConfig) -> Ring {
    namespace.enter(|| Ring::open(config)).unwrap()
}

/// Reads until nothing came for several times the timeouts.
fn read_all(ring: &mut Ring) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut idle = 0;
    while idle < 3 {
        let state = ring.poll(&mut |batch| kept.extend(batch.iter().map(Kept::new))).unwrap();
        idle = if state == SourceState::Idle { idle + 1 } else { 0 };
    }
    kept
}

/// Ethernet and IPv4 with UDP: any payload, addresses 10.0.0.`src` and 10.0.0.`dst`.
fn udp(src: u8, dst: u8, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x08, 0x00];
    let octets = |octets: usize| (octets as u16).to_be_bytes();
    frame.extend([0x45, 0]);
    frame.extend(octets(28 + payload.len()));
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, src, 10, 0, 0, dst]);
    frame.extend(ports.map(u16::to_be_bytes).as_flattened());
    frame.extend(octets(8 + payload.len()));
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|number| udp(1, 2, [1000, 2000], &[&number.to_be_bytes()[..], &[0x55; 18]].concat())).collect()
}

#[test]
fn every_packet_comes_as_it_was_sent() {
    let Some(wire) = Wire::new() else { return };
    let mut ring = open(&wire.right, config(Wire::RIGHT));
    let frames = numbered(10_000);
    assert_eq!(wire.send(&frames), 10_000);
    let kept = read_all(&mut ring);
    let captured = ring.captured();
    assert_eq!((kept.len(), captured.offered_packets, captured.lost_packets()), (10_000, 10_000, 0));
    assert_eq!((ring.handed_over(), ring.unreadable_packets(), ring.skipped_outgoing()), (10_000, 0, 0));
    for (kept, frame) in kept.iter().zip(&frames) {
        assert_eq!((&kept.data, kept.wire_octets as usize, kept.link), (frame, frame.len(), LinkType::ETHERNET));
        assert_eq!(kept.merged, Merged::NOT);
    }
    assert!(kept.is_sorted_by(|a, b| a.ts <= b.ts));
    assert!(kept[0].ts > Timestamp::from_secs(1_700_000_000));
    assert!(ring.recognises_merged());
    assert_eq!((ring.link(), ring.link_lost(), ring.link_type()), (Link::Up, 0, LinkType::ETHERNET));
}

#[test]
fn what_does_not_fit_into_the_ring_is_counted() {
    let Some(wire) = Wire::new() else { return };
    let small = RingConfig { block_octets: 1 << 16, blocks: 2, ..config(Wire::RIGHT) };
    assert_eq!(small.octets(), 1 << 17);
    let mut ring = open(&wire.right, small);
    for round in 1..=3 {
        assert_eq!(wire.send(&numbered(5_000)), 5_000);
        read_all(&mut ring);
        let captured = ring.captured();
        assert_eq!(captured.offered_packets, round * 5_000);
        assert_eq!(ring.handed_over() + captured.lost_packets(), round * 5_000);
        assert!(captured.lost_ring_full > round * 1_000 && ring.handed_over() > round * 100, "{captured:?}");
    }
}
