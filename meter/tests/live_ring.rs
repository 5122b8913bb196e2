// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of real interfaces, in network namespaces of the test's own. Without the rights for that, tests say so and pass.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "common/netns.rs"]
mod netns;

use std::{
    collections::HashSet,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use netns::{Namespace, Wire, offload};
use weir_flow::{FlowRecord, LinkType, Merged, Packet, PacketSource, SourceState, Timestamp, ledger::Ledger};
use weir_metering::capture::ring::{Fanout, FanoutMode, Link, MIN_SNAP, Ring, RingConfig, RingError, filter};
use weir_metering::{MeterConfig, Share, Worker};

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

/// A ring of 4 MiB that hands over soon; but not so soon that a sender who is kept waiting fills the blocks with a few packets each.
fn config(interface: &str) -> RingConfig {
    RingConfig {
        block_octets: 1 << 18,
        blocks: 16,
        block_timeout: Duration::from_millis(30),
        poll_timeout: Duration::from_millis(40),
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

/// The same frame with a tag behind its hardware addresses.
fn tagged(frame: &[u8], protocol: u16, tag: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &protocol.to_be_bytes(), &tag.to_be_bytes(), rest].concat()
}

#[test]
fn the_ledger_closes_while_sender_and_reader_race() {
    let Some(wire) = Wire::new() else { return };
    let small = RingConfig { block_octets: 1 << 16, blocks: 4, ..config(Wire::RIGHT) };
    let mut ring = open(&wire.right, small);
    let (sent, handed_over) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let frames = numbered(20_000);
            (0..5).map(|_| wire.send(&frames)).sum::<u64>()
        });
        let mut handed_over = 0;
        while !sender.is_finished() {
            ring.poll(&mut |batch| handed_over += batch.len() as u64).unwrap();
        }
        handed_over += read_all(&mut ring).len() as u64;
        (sender.join().unwrap(), handed_over)
    });
    let captured = ring.captured();
    assert_eq!((captured.offered_packets, handed_over + captured.lost_packets()), (sent, sent), "{captured:?}");
    assert_eq!((sent, handed_over), (100_000, ring.handed_over()));
}

#[test]
fn vlan_tags_are_where_they_were() {
    let Some(wire) = Wire::new() else { return };
    let mut ring = open(&wire.right, config(Wire::RIGHT));
    let plain = udp(1, 2, [7, 9], &[0x55; 30]);
    let tag = tagged(&plain, 0x8100, 0x6fff);
    let zero = tagged(&plain, 0x8100, 0);
    let service = tagged(&plain, 0x88a8, 0x0123);
    let both = tagged(&tagged(&plain, 0x8100, 0x0002), 0x88a8, 0x0001);
    let arp = tagged(&[&[0xff; 12][..], &[0x08, 0x06], &[0; 46]].concat(), 0x8100, 5);
    let frames = [plain, tag, zero, service, both, arp];
    let many: Vec<_> = frames.iter().cycle().take(600).cloned().collect();
    assert_eq!(wire.send(&many), 600);
    let kept = read_all(&mut ring);
    assert_eq!(kept.len(), 600);
    for (kept, frame) in kept.iter().zip(&many) {
        assert_eq!((&kept.data, kept.wire_octets as usize), (frame, frame.len()));
    }
}

#[test]
fn a_snap_length_cuts_and_the_tag_is_on_top() {
    let Some(wire) = Wire::new() else { return };
    for (asked, octets) in [(100, 100), (1, MIN_SNAP as usize)] {
        let mut ring = open(&wire.right, RingConfig { snap_octets: asked, ..config(Wire::RIGHT) });
        let long = udp(1, 2, [7, 9], &[0x55; 1000]);
        let short = udp(1, 2, [7, 9], &[0x55; 18]);
        let tagged = tagged(&long, 0x8100, 3);
        wire.send(&[long.clone(), short.clone(), tagged.clone()]);
        let kept = read_all(&mut ring);
        let data: Vec<_> = kept.iter().map(|kept| &kept.data[..]).collect();
        assert_eq!(data, [&long[..octets], &short, &tagged[..octets + 4]]);
        let wire: Vec<_> = kept.iter().map(|kept| kept.wire_octets as usize).collect();
        assert_eq!(wire, [long.len(), short.len(), tagged.len()]);
    }
}

/// Sends `frames` to a group of two; gives what came to each.
fn shares(wire: &Wire, group: u16, mode: FanoutMode, frames: &[Vec<u8>]) -> [Vec<Kept>; 2] {
    let fanout = Some(Fanout { group, mode, members: 2 });
    let mut rings = [(); 2].map(|()| open(&wire.right, RingConfig { fanout, ..config(Wire::RIGHT) }));
    assert_eq!(wire.send(frames), frames.len() as u64);
    let kept = rings.each_mut().map(read_all);
    let offered: u64 = rings.iter_mut().map(|ring| ring.captured().offered_packets).sum();
    assert_eq!((offered as usize, kept[0].len() + kept[1].len()), (frames.len(), frames.len()));
    kept
}

/// The two ends of a packet, whichever is the source.
fn ends(frame: &[u8]) -> [u8; 2] {
    let (src, dst) = (frame[29], frame[33]);
    [src.min(dst), src.max(dst)]
}

#[test]
fn both_directions_of_a_flow_come_to_one_socket() {
    let Some(wire) = Wire::new() else { return };
    let flows = (1..=200).map(|number| (number, udp(number, 250, [number.into(), 53], b"there")));
    let frames: Vec<_> =
        flows.flat_map(|(number, there)| [there, udp(250, number, [53, number.into()], b"and back again")]).collect();
    for (group, mode) in [(1, FanoutMode::Hash), (2, FanoutMode::Addresses)] {
        let kept = shares(&wire, group, mode, &frames);
        let [one, other] = kept.each_ref().map(|kept| kept.iter().map(|kept| ends(&kept.data)).collect::<HashSet<_>>());
        assert!(one.is_disjoint(&other), "{mode:?}");
        assert_eq!(one.len() + other.len(), 200, "{mode:?}");
        assert!(one.len() > 40 && other.len() > 40, "{mode:?}: {} and {}", one.len(), other.len());
    }
}

#[test]
fn fragments_stay_with_their_flow_when_shared_by_addresses() {
    let Some(wire) = Wire::new() else { return };
    let mut frames = Vec::new();
    for number in 1..=100 {
        let whole = udp(number, 250, [1000, 53], &[1; 40]);
        let (mut first, mut later) = (whole.clone(), whole.clone());
        // "More fragments" at offset 0, then the rest at offset 48.
        first[20] = 0x20;
        later[21] = 6;
        let answer = tagged(&udp(250, number, [53, 1000], &[2; 40]), 0x8100, 9);
        frames.extend([whole, first, later, answer]);
    }
    // Neither IP nor with an address.
    frames.push([&[0xff; 12][..], &[0x08, 0x06], &[0; 46]].concat());
    let untagged =
        |kept: &Kept| if kept.data[12] == 0x81 { [&[0; 12], &kept.data[16..]].concat() } else { kept.data.clone() };
    let kept = shares(&wire, 3, FanoutMode::Addresses, &frames);
    let [one, other] = kept
        .each_ref()
        .map(|kept| kept.iter().map(untagged).filter(|f| f[13] == 0).map(|f| ends(&f)).collect::<HashSet<_>>());
    assert!(one.is_disjoint(&other));
    assert!(one.len() + other.len() == 100 && one.len().min(other.len()) > 20, "{} and {}", one.len(), other.len());
    // None is put together by the kernel, whatever the mode.
    shares(&wire, 4, FanoutMode::Hash, &frames);
    shares(&wire, 5, FanoutMode::Cpu, &frames);
}

#[test]
fn ipv6_is_shared_by_addresses_too() {
    let Some(wire) = Wire::new() else { return };
    let frame = |src: u8, dst: u8| {
        let mut frame = vec![2; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
        for end in [src, dst] {
            frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
        }
        frame.extend([0, src, 0, dst, 0, 8, 0, 0]);
        frame
    };
    let frames: Vec<_> = (1..=200).flat_map(|number| [frame(number, 250), frame(250, number)]).collect();
    let kept = shares(&wire, 6, FanoutMode::Addresses, &frames);
    let ends = |kept: &Kept| kept.data[37].min(kept.data[53]);
    let [one, other] = kept.each_ref().map(|kept| kept.iter().map(ends).collect::<HashSet<_>>());
    assert!(one.is_disjoint(&other) && one.len() + other.len() == 200);
    assert!(one.len().min(other.len()) > 40, "{} and {}", one.len(), other.len());
}

#[test]
fn queues_have_sockets_of_their_own() {
    let Some(wire) = Wire::with_queues(2) else { return };
    let kept = shares(&wire, 7, FanoutMode::Queue, &numbered(1000));
    assert_eq!(kept.map(|kept| kept.len()).iter().sum::<usize>(), 1000);
}

#[test]
fn a_group_of_another_mode_is_refused_with_a_reason() {
    let Some(wire) = Wire::new() else { return };
    let with = |mode| RingConfig { fanout: Some(Fanout { group: 8, mode, members: 0 }), ..config(Wire::RIGHT) };
    let _first = open(&wire.right, with(FanoutMode::Hash));
    let error = wire.right.enter(|| Ring::open(with(FanoutMode::Cpu))).unwrap_err();
    assert!(
        error.to_string().contains("fanout group") && error.to_string().contains("another interface or mode"),
        "{error}"
    );
}

fn promiscuity(namespace: &Namespace, interface: &str) -> u64 {
    let all: serde_json::Value = serde_json::from_str(&namespace.ip(&format!("-j -d link show {interface}"))).unwrap();
    all[0]["promiscuity"].as_u64().unwrap()
}

#[test]
fn promiscuous_mode_ends_with_the_ring() {
    let Some(wire) = Wire::new() else { return };
    assert_eq!(promiscuity(&wire.right, Wire::RIGHT), 0);
    let modest = open(&wire.right, RingConfig { promiscuous: false, ..config(Wire::RIGHT) });
    assert_eq!(promiscuity(&wire.right, Wire::RIGHT), 0);
    let ring = open(&wire.right, config(Wire::RIGHT));
    assert_eq!(promiscuity(&wire.right, Wire::RIGHT), 1);
    drop((modest, ring));
    assert_eq!(promiscuity(&wire.right, Wire::RIGHT), 0);
}

/// What [`a_ring_of_a_process_that_is_killed_leaves_nothing`] runs in a process of its own.
#[test]
fn holds_a_ring_until_it_is_killed() {
    let Ok(interface) = env::var("WEIR_TEST_HOLDS_A_RING_ON") else { return };
    let _ring = Ring::open(config(&interface)).unwrap();
    println!("\nholds a ring");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_ring_of_a_process_that_is_killed_leaves_nothing() {
    let Some(wire) = Wire::new() else { return };
    let mut child = Command::new("ip")
        .args(["netns", "exec", wire.right.name()])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "holds_a_ring_until_it_is_killed", "--nocapture"])
        .env("WEIR_TEST_HOLDS_A_RING_ON", Wire::RIGHT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.unwrap() == "holds a ring");
    let held = promiscuity(&wire.right, Wire::RIGHT);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said && held == 1, "{held}");
    assert_eq!(promiscuity(&wire.right, Wire::RIGHT), 0);
    let mut ring = open(&wire.right, config(Wire::RIGHT));
    wire.send(&numbered(10));
    assert_eq!(read_all(&mut ring).len(), 10);
}

/// Polls until the link is as it should be.
fn wait_for(ring: &mut Ring, link: Link) {
    let begin = Instant::now();
    while ring.link() != link {
        ring.poll(&mut |_| ()).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}, not {link:?}", ring.link());
    }
}

#[test]
fn the_link_may_go_down_and_away_and_come_back() {
    let Some(wire) = Wire::new() else { return };
    let grouped = Some(Fanout { group: 9, mode: FanoutMode::Hash, members: 0 });
    // Within the namespace, where a socket that has to be made anew belongs.
    wire.right.enter(|| {
        link_lost_and_found(&wire, None);
        link_lost_and_found(&wire, grouped);
    });
}

fn link_lost_and_found(wire: &Wire, fanout: Option<Fanout>) {
    let mut ring = Ring::open(RingConfig { fanout, ..config(Wire::RIGHT) }).unwrap();
    let expect = |ring: &mut Ring, lost: u64| {
        assert_eq!(wire.send(&numbered(10)), 10);
        assert_eq!(read_all(ring).len(), 10, "after {lost}");
        assert_eq!((ring.link(), ring.link_lost()), (Link::Up, lost));
    };
    expect(&mut ring, 0);
    wire.right.ip("link set right0 down");
    wait_for(&mut ring, Link::Down);
    wire.right.ip("link set right0 up");
    wait_for(&mut ring, Link::Up);
    expect(&mut ring, 1);
    // What waits in the ring when the interface goes is not lost.
    let index = ring.interface();
    assert_eq!(wire.send(&numbered(10)), 10);
    wire.disconnect();
    assert_eq!(read_all(&mut ring).len(), 10);
    wait_for(&mut ring, Link::Gone);
    assert_eq!(ring.link_lost(), 2);
    wire.connect(1);
    wait_for(&mut ring, Link::Up);
    assert_ne!(ring.interface(), index);
    assert_eq!(promiscuity(&wire.right, Wire::RIGHT), 1);
    expect(&mut ring, 2);
    let captured = ring.captured();
    assert_eq!((captured.offered_packets, captured.lost_packets(), ring.handed_over()), (40, 0, 40));
}

#[test]
fn all_of_a_group_take_up_the_interface_that_comes_back() {
    let Some(wire) = Wire::new() else { return };
    wire.right.enter(|| {
        let fanout = Some(Fanout { group: 11, mode: FanoutMode::Addresses, members: 0 });
        let mut rings = [(); 2].map(|()| Ring::open(RingConfig { fanout, ..config(Wire::RIGHT) }).unwrap());
        wire.disconnect();
        rings.iter_mut().for_each(|ring| wait_for(ring, Link::Gone));
        wire.connect(1);
        rings.iter_mut().for_each(|ring| wait_for(ring, Link::Up));
        let frames: Vec<_> = (1..=100).map(|number| udp(number, 250, [1, 2], &[])).collect();
        assert_eq!(wire.send(&frames), 100);
        let [one, other] = rings.each_mut().map(|ring| read_all(ring).len());
        assert!(one + other == 100 && one.min(other) > 20, "{one} and {other}");
    });
}

#[test]
fn an_interface_is_taken_up_again_without_privileges() {
    let Some(wire) = Wire::new() else { return };
    let grouped = Some(Fanout { group: 12, mode: FanoutMode::Hash, members: 0 });
    for fanout in [None, grouped] {
        let (packets, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let seen = || packets.load(Ordering::Relaxed);
        // Each round is a call of another program, which takes its time.
        let until = |is_so: &dyn Fn() -> bool| {
            let begin = Instant::now();
            while !is_so() {
                assert!(begin.elapsed() < Duration::from_secs(10), "{packets:?}");
                promiscuity(&wire.right, Wire::RIGHT);
            }
        };
        thread::scope(|scope| {
            let _stops = StopsWhenDropped(&stop);
            scope.spawn(|| {
                wire.right.enter(|| {
                    let mut ring = Ring::open(RingConfig { fanout, ..config(Wire::RIGHT) }).unwrap();
                    netns::drop_capabilities();
                    assert!(Ring::open(config(Wire::RIGHT)).is_err(), "capabilities are gone");
                    packets.store(1, Ordering::Relaxed);
                    while !stop.load(Ordering::Relaxed) {
                        ring.poll(&mut |batch| _ = packets.fetch_add(batch.len(), Ordering::Relaxed)).unwrap();
                    }
                });
            });
            until(&|| seen() == 1);
            wire.send(&numbered(10));
            until(&|| seen() == 11);
            wire.disconnect();
            wire.connect(1);
            until(&|| promiscuity(&wire.right, Wire::RIGHT) == 1);
            until(&|| wire.send(&numbered(1)) == 1 && seen() > 11);
        });
    }
}

/// Tells another thread to stop, also when this one panics.
struct StopsWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_interface_that_is_down_can_be_opened_and_one_that_is_not_there_cannot() {
    let Some(wire) = Wire::new() else { return };
    wire.right.ip("link set right0 down");
    let mut ring = open(&wire.right, config(Wire::RIGHT));
    wait_for(&mut ring, Link::Down);
    wire.right.ip("link set right0 up");
    wait_for(&mut ring, Link::Up);
    assert_eq!(wire.send(&numbered(10)), 10);
    assert_eq!(read_all(&mut ring).len(), 10);
    for name in ["no0", "", "a name that is much too long", "nul\0"] {
        let error = wire.right.enter(|| Ring::open(config(name))).unwrap_err();
        assert!(matches!(error, RingError::NoInterface { .. }), "{error}");
    }
    let odd = RingConfig { block_octets: 5000, ..config(Wire::RIGHT) };
    let error = wire.right.enter(|| Ring::open(odd)).unwrap_err();
    assert!(error.to_string().contains("powers of two"), "{error}");
}

#[test]
fn a_filter_takes_what_it_says() {
    let Some(wire) = Wire::new() else { return };
    let dns = udp(1, 2, [1000, 53], b"question");
    let other = udp(1, 2, [1000, 54], b"question");
    let behind_tag = tagged(&dns, 0x8100, 7);
    let frames = [dns.clone(), other, behind_tag.clone()];
    let program = filter::compile("udp port 53", LinkType::ETHERNET).unwrap();
    for fanout in [None, Some(Fanout { group: 10, mode: FanoutMode::Cpu, members: 0 })] {
        let filter = Some(program.clone());
        let mut ring = open(&wire.right, RingConfig { filter, fanout, snap_octets: 64, ..config(Wire::RIGHT) });
        wire.send(&frames);
        let kept: Vec<_> = read_all(&mut ring).into_iter().map(|kept| kept.data).collect();
        assert_eq!(kept, [dns.clone(), behind_tag.clone()]);
        assert_eq!(ring.captured().offered_packets, 2, "what a filter leaves out is not offered");
    }
}

#[test]
fn loopback_has_each_packet_once() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.ip("link set lo up");
    let mut ring = open(&namespace, config("lo"));
    namespace.enter(|| {
        let [to, from] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for number in 0..100_u8 {
            from.send_to(&[number], to.local_addr().unwrap()).unwrap();
        }
    });
    let kept = read_all(&mut ring);
    let payloads: Vec<_> = kept.iter().map(|kept| kept.data[42]).collect();
    assert_eq!(payloads, (0..100).collect::<Vec<_>>());
    assert!(kept.iter().all(|kept| kept.link == LinkType::ETHERNET && kept.merged == Merged::NOT));
    assert_eq!(ring.captured().offered_packets - ring.skipped_outgoing(), 100);
}

#[test]
fn a_tunnel_yields_packets_from_ip_on() {
    let Some(namespace) = Namespace::new() else { return };
    let mut tunnel = match namespace.enter(|| netns::tunnel("tun7")) {
        Err(error) => return println!("skipped: no tunnel device: {error}"),
        Ok(tunnel) => tunnel,
    };
    namespace.ip("addr add 10.8.0.1/24 dev tun7");
    namespace.ip("link set tun7 up");
    let filter = filter::compile("udp port 53", LinkType::RAW).ok();
    let mut ring = open(&namespace, RingConfig { filter, ..config("tun7") });
    // Out of the interface, then into it.
    namespace.enter(|| {
        let socket = UdpSocket::bind("10.8.0.1:53").unwrap();
        for number in 0..20 {
            socket.send_to(&[number; 30], "10.8.0.9:53").unwrap();
        }
    });
    let packet = &udp(9, 1, [1000, 53], &[0x55; 30])[14..];
    for _ in 0..20 {
        assert_eq!(tunnel.write(packet).unwrap(), 58);
    }
    let kept = read_all(&mut ring);
    assert_eq!((ring.link_type(), kept.len()), (LinkType::RAW, 40));
    for kept in &kept {
        assert_eq!((kept.link, kept.data.len(), kept.wire_octets), (LinkType::RAW, 58, 58));
    }
    assert_eq!(&kept[19].data[16..20], [10, 8, 0, 9]);
    assert_eq!(kept[39].data, packet);
}

/// Sends so many octets from the left to the right by TCP.
fn transfer(wire: &Wire, octets: usize) {
    let listener = wire.right.enter(|| TcpListener::bind("10.7.0.2:0").unwrap());
    let to = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| listener.accept().unwrap().0.read_to_end(&mut Vec::new()).unwrap());
        let mut stream = wire.left.enter(|| TcpStream::connect(to).unwrap());
        stream.write_all(&vec![7; octets]).unwrap();
        drop(stream);
        assert_eq!(reader.join().unwrap(), octets);
    });
}

/// Octets of TCP payload in a frame of Ethernet and IPv4, as it is here.
fn tcp_payload(kept: &Kept) -> usize {
    if kept.data[12..14] != [0x08, 0x00] || kept.data[23] != 6 {
        return 0;
    }
    let header = 34 + usize::from(kept.data[46] >> 4) * 4;
    (kept.wire_octets - kept.merged.repeated_octets()) as usize - header
}

/// Octets of TCP payload of all that the left has sent; those that it sent again are counted once.
fn new_payload(all: &[Kept]) -> usize {
    let mut next = None;
    let mut octets = 0;
    for kept in all.iter().filter(|kept| kept.data[26..30] == [10, 7, 0, 1] && tcp_payload(kept) > 0) {
        let sequence = u32::from_be_bytes(*kept.data[38..].first_chunk().unwrap());
        let end = sequence.wrapping_add(tcp_payload(kept) as u32);
        let new = end.wrapping_sub(*next.get_or_insert(sequence)).cast_signed();
        if new > 0 {
            octets += new as usize;
            next = Some(end);
        }
    }
    octets
}

/// What a worker makes of packets.
fn metered(kept: &[Kept]) -> Ledger {
    let mut counted = 0;
    let sink = |record: &FlowRecord<'_>| counted += record.forward.packets + record.reverse.packets;
    let mut worker = Worker::new(&MeterConfig::default(), Share::ALL, sink).unwrap();
    for kept in kept {
        let &Kept { ref data, wire_octets, ts, link, merged } = kept;
        worker.packets(&[Packet { data, wire_octets, ts, interface: 1, link, merged }]);
    }
    let (ledger, _) = worker.finish();
    assert_eq!(counted, ledger.metered.metered_packets);
    ledger
}

const TRANSFER: usize = 8 << 20;

#[test]
fn packets_merged_on_receipt_count_as_they_were_on_the_wire() {
    let Some(wire) = Wire::new() else { return };
    wire.give_addresses();
    // Single packets on the wire, merged where they come in.
    wire.left.set_offload(Wire::LEFT, offload::TSO, false);
    wire.left.set_offload(Wire::LEFT, offload::GSO, false);
    wire.right.set_offload(Wire::RIGHT, offload::GRO, true);
    let mut ring = open(&wire.right, RingConfig { block_octets: 1 << 20, blocks: 64, ..config(Wire::RIGHT) });
    let names = ["rx_packets", "tx_packets", "rx_octets", "tx_octets"];
    let counted = || names.map(|name| wire.right.counter(Wire::RIGHT, name));
    let before = counted();
    transfer(&wire, TRANSFER);
    let kept = read_all(&mut ring);
    let captured = ring.captured();
    assert_eq!(captured.lost_packets(), 0);
    let merged = kept.iter().filter(|kept| kept.merged != Merged::NOT).count();
    assert!(merged > 0 && merged as u64 == captured.merged_packets, "{captured:?}");
    assert!(kept.iter().all(|kept| kept.data.len() as u32 == kept.wire_octets - kept.merged.repeated_octets()));
    let after = counted();
    let [received, sent, octets_received, octets_sent] = [0, 1, 2, 3].map(|i| after[i] - before[i]);
    let packets: u64 = kept.iter().map(|kept| 1 + u64::from(kept.merged.further_packets)).sum();
    assert_eq!(packets, received + sent, "{} packets, {merged} merged", kept.len());
    let octets: u64 = kept.iter().map(|kept| u64::from(kept.wire_octets)).sum();
    // A veth counts what comes by way of GRO without its link header, and what it sends with it.
    assert_eq!(octets, octets_received + 14 * received + octets_sent);
    let ledger = metered(&kept);
    assert!(ledger.closes() && ledger.ignored.not_ip == ledger.ignored_packets(), "{ledger:?}");
    assert_eq!((ledger.metered.delivered_packets, ledger.metered.delivered_octets), (packets, octets));
    let arp: u64 = kept.iter().filter(|kept| kept.data[12..14] == [8, 6]).map(|kept| u64::from(kept.wire_octets)).sum();
    assert_eq!(ledger.metered.metered_octets, octets - arp - 14 * ledger.metered.metered_packets);
    assert_eq!(ledger.metered.flows_created, 1);
    assert_eq!(new_payload(&kept), TRANSFER);
}

#[test]
fn packets_that_the_interface_will_cut_count_as_what_they_will_be() {
    let Some(wire) = Wire::new() else { return };
    wire.give_addresses();
    let mut ring = open(&wire.left, RingConfig { block_octets: 1 << 20, blocks: 64, ..config(Wire::LEFT) });
    transfer(&wire, TRANSFER);
    let kept = read_all(&mut ring);
    assert_eq!(ring.captured().lost_packets(), 0);
    assert!(ring.captured().merged_packets > 0);
    assert_eq!(new_payload(&kept), TRANSFER);
    // 20 octets of IP, 32 of TCP with timestamps.
    let segment = 1500 - 52;
    for kept in kept.iter().filter(|kept| kept.merged != Merged::NOT) {
        assert_eq!(kept.merged.header_octets, 14 + 52);
        assert_eq!(usize::from(kept.merged.further_packets) + 1, tcp_payload(kept).div_ceil(segment));
    }
}

/// Nanoseconds that this thread was on a processor.
fn on_processor() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn an_idle_ring_takes_no_time_of_a_processor() {
    let Some(wire) = Wire::new() else { return };
    let mut ring = open(&wire.right, RingConfig::new(Wire::RIGHT));
    // The best of three: what other programs do to the caches of the processor is not the ring's.
    let shares = [(); 3].map(|()| {
        let (begin, used) = (Instant::now(), on_processor());
        for _ in 0..5 {
            assert_eq!(ring.poll(&mut |_| ()).unwrap(), SourceState::Idle);
        }
        (on_processor() - used) as f64 / begin.elapsed().as_nanos() as f64
    });
    println!("idle: {shares:.6?} of a processor");
    assert!(shares.iter().any(|share| *share < 0.001), "{shares:?}");
}
