// SPDX-License-Identifier: MIT OR Apache-2.0
//! AF_XDP on veth pairs in network namespaces.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod lab;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    mem::MaybeUninit,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use lab::{Lab, Sender, lab};
use weir_flow::{PacketSource, SourceState, ledger::Captured};
use weir_xdp::{InUse, Mode, ModeWish, OpenError, Strategy, XdpConfig, Xsk, ZeroCopy};

fn config(mode: ModeWish) -> XdpConfig {
    XdpConfig { mode, frames: 256, wait: Duration::from_millis(2), ..XdpConfig::default() }
}

/// A UDP datagram that has its number in it, of 60 to 1514 octets. Ports differ, so that the queues do.
fn frame(number: u32) -> Vec<u8> {
    let octets = 60 + number as usize * 7 % 1455;
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0x00];
    let ip_octets = (octets - 14) as u16;
    frame.extend([0x45, 0]);
    frame.extend(ip_octets.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend((1024 + (number % 512) as u16).to_be_bytes());
    frame.extend(9_u16.to_be_bytes());
    frame.extend((ip_octets - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(number.to_be_bytes());
    frame.resize(octets, number as u8);
    frame
}

/// How often each number has come, by queue too.
#[derive(Default)]
struct Seen {
    numbers: BTreeMap<u32, u32>,
    by_queue: BTreeMap<u32, u64>,
}

impl Seen {
    fn packets(&self) -> u64 {
        self.by_queue.values().sum()
    }

    /// Polls a queue once, and looks at each octet of what comes.
    fn poll(&mut self, xsk: &mut Xsk) -> SourceState {
        let queue = xsk.queue();
        let state = xsk.poll(&mut |batch| {
            assert!(!batch.is_empty());
            for packet in batch {
                let number = u32::from_be_bytes(packet.data[42..46].try_into().unwrap());
                assert_eq!(packet.data, frame(number));
                assert_eq!(packet.wire_octets as usize, packet.data.len());
                assert!(packet.ts.as_secs() > 1_600_000_000 && packet.interface != 0);
                *self.numbers.entry(number).or_default() += 1;
                *self.by_queue.entry(queue).or_default() += 1;
            }
        });
        state.unwrap()
    }

    /// Polls until so many packets have come in all.
    fn until(&mut self, xsks: &mut [Xsk], packets: u64) {
        for _ in 0..1000 {
            if self.packets() >= packets {
                break;
            }
            for xsk in &mut *xsks {
                self.poll(xsk);
            }
        }
        assert_eq!(self.packets(), packets, "{:?}", captured(xsks));
    }
}

fn captured(xsks: &mut [Xsk]) -> Captured {
    let mut all = Captured::default();
    xsks.iter_mut().for_each(|xsk| all.add(&xsk.captured()));
    all
}

/// Slowly, so that nothing is lost; then more than there are frames, without a look.
fn every_packet_is_handed_over_or_counted(lab: &Lab, mode: ModeWish) {
    let mut xsks = weir_xdp::open(&lab.interface, &config(mode)).unwrap();
    assert_eq!(xsks.len(), lab.queues as usize);
    let got = if mode == ModeWish::Native { Mode::Native } else { Mode::Generic };
    assert!(xsks.iter().all(|xsk| xsk.mode() == got && !xsk.zero_copy()));
    let sender = Sender::new(lab);
    let mut seen = Seen::default();
    for number in 0..10_000 {
        sender.send(&frame(number));
        if number % 50 == 49 {
            seen.until(&mut xsks, u64::from(number) + 1);
        }
    }
    assert!((0..10_000).all(|number| seen.numbers.get(&number) == Some(&1)));
    let all = captured(&mut xsks);
    assert_eq!((all.offered_packets, all.lost_packets()), (10_000, 0));
    println!("by queue: {:?}", seen.by_queue);
    if mode == ModeWish::Native {
        assert_eq!(seen.by_queue.len(), lab.queues as usize, "packets of many ports come on all queues");
    }

    (0..10_000).for_each(|number| sender.send(&frame(number)));
    // An interface under pressure receives later, on another thread.
    let arrived = 20_000 - lab.far_counter("tx_dropped");
    let waiting = (0..1_000_000).map(|_| captured(&mut xsks)).find(|all| all.offered_packets == arrived).unwrap();
    assert!(waiting.lost_packets() > 0);
    seen.until(&mut xsks, arrived - waiting.lost_packets());
    let all = captured(&mut xsks);
    println!("in all: {all:?}");
    assert_eq!(all, waiting, "what waits is offered already");
    assert_eq!(all.offered_packets, seen.packets() + all.lost_packets());
    assert!(xsks.iter().all(|xsk| xsk.starvations() == 0));

    // All frames are back.
    (0..200).for_each(|number| sender.send(&frame(number)));
    let before = seen.packets();
    seen.until(&mut xsks, before + 200);
}

#[test]
fn native_one_queue() {
    lab("native_one_queue", 1, |lab| every_packet_is_handed_over_or_counted(lab, ModeWish::Native));
}

#[test]
fn native_two_queues() {
    lab("native_two_queues", 2, |lab| every_packet_is_handed_over_or_counted(lab, ModeWish::Native));
}

#[test]
fn generic_one_queue() {
    lab("generic_one_queue", 1, |lab| every_packet_is_handed_over_or_counted(lab, ModeWish::Generic));
}

#[test]
fn generic_two_queues() {
    lab("generic_two_queues", 2, |lab| every_packet_is_handed_over_or_counted(lab, ModeWish::Generic));
}

#[test]
fn auto_takes_the_driver_and_says_that_packets_are_copied() {
    lab("auto_takes_the_driver_and_says_that_packets_are_copied", 1, |lab| {
        for zero_copy in [ZeroCopy::Auto, ZeroCopy::Off] {
            let xsks = weir_xdp::open(&lab.interface, &XdpConfig { zero_copy, ..config(ModeWish::Auto) }).unwrap();
            assert_eq!((xsks[0].mode(), xsks[0].zero_copy(), xsks[0].not_native()), (Mode::Native, false, None));
            assert!(lab.state().contains(" xdp "), "{}", lab.state());
        }
        assert!(!lab.state().contains("xdp"), "{}", lab.state());
        // No driver of the loopback takes a program.
        lab.must(&format!("-n {} link set lo up", lab.near));
        let xsks = weir_xdp::open("lo", &config(ModeWish::Auto)).unwrap();
        println!("lo: {:?}, {:?}", xsks[0].mode(), xsks[0].not_native());
        assert!(xsks[0].mode() == Mode::Generic && xsks[0].not_native().is_some());
        drop(xsks);
        let refused = weir_xdp::open("lo", &config(ModeWish::Native)).unwrap_err();
        assert!(matches!(refused, OpenError::NotNative(_)), "{refused}");
    });
}

#[test]
fn busy_polling_hands_over_as_well() {
    lab("busy_polling_hands_over_as_well", 1, |lab| {
        let strategy = Strategy::BusyPoll { budget: 64 };
        let mut xsks = weir_xdp::open(&lab.interface, &XdpConfig { strategy, ..config(ModeWish::Native) }).unwrap();
        let (sender, mut seen) = (Sender::new(lab), Seen::default());
        for number in 0..1000 {
            sender.send(&frame(number));
            while seen.packets() <= u64::from(number) {
                seen.poll(&mut xsks[0]);
            }
        }
        assert_eq!(captured(&mut xsks).offered_packets, 1000);
    });
}

#[test]
fn what_is_larger_than_a_frame_is_lost_and_counted() {
    lab("what_is_larger_than_a_frame_is_lost_and_counted", 1, |lab| {
        for (namespace, interface) in [(&lab.near, &lab.interface), (&lab.far, &lab.peer)] {
            lab.must(&format!("-n {namespace} link set {interface} mtu 6000"));
        }
        let sender = Sender::new(lab);
        for (mode, frame_octets) in [(ModeWish::Auto, 2048), (ModeWish::Auto, 4096), (ModeWish::Generic, 2048)] {
            let config = XdpConfig { frame_octets, ..config(mode) };
            let mut xsks = weir_xdp::open(&lab.interface, &config).unwrap();
            println!("MTU 6000: {:?}, {:?}", xsks[0].mode(), xsks[0].not_native());
            let largest = config.largest_packet() as usize;
            let (mut seen, mut octets) = (0, 0);
            for size in [60, largest, largest + 1, largest + 1000, 60] {
                sender.send(&vec![0xee; size]);
            }
            for _ in 0..1000 {
                let look = &mut |batch: &[weir_flow::Packet<'_>]| {
                    seen += batch.len();
                    octets += batch.iter().map(|packet| packet.data.len()).sum::<usize>();
                };
                xsks[0].poll(look).unwrap();
                if seen == 3 {
                    break;
                }
            }
            let all = captured(&mut xsks);
            assert_eq!((seen, octets), (3, largest + 120), "{all:?}");
            assert_eq!((all.offered_packets, all.lost_packets(), all.lost_xdp_dropped), (5, 2, 2));
        }
    });
}

#[test]
fn vlan_tags_are_in_the_packet() {
    lab("vlan_tags_are_in_the_packet", 1, |lab| {
        let mut tagged = frame(0);
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
        for mode in [ModeWish::Native, ModeWish::Generic] {
            let mut xsk = weir_xdp::open(&lab.interface, &config(mode)).unwrap().remove(0);
            Sender::new(lab).send(&tagged);
            let mut seen = Vec::new();
            for _ in 0..1000 {
                xsk.poll(&mut |batch| seen.extend_from_slice(batch[0].data)).unwrap();
                if !seen.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, tagged, "{mode:?}");
        }
    });
}

#[test]
fn a_second_one_is_told_that_the_interface_is_busy() {
    lab("a_second_one_is_told_that_the_interface_is_busy", 1, |lab| {
        let first = weir_xdp::open(&lab.interface, &config(ModeWish::Native)).unwrap();
        for mode in [ModeWish::Auto, ModeWish::Native, ModeWish::Generic] {
            let refused = weir_xdp::open(&lab.interface, &config(mode)).unwrap_err();
            assert!(matches!(refused, OpenError::Busy { .. }), "{refused}");
        }
        drop(first);
        weir_xdp::open(&lab.interface, &config(ModeWish::Generic)).unwrap();
    });
}

/// Not a test: what the next one kills.
#[test]
fn holds_the_interface() {
    if std::env::var_os("WEIR_XDP_HOLD").is_none() {
        return;
    }
    lab("holds_the_interface", 1, |lab| {
        let xsks = weir_xdp::open(&lab.interface, &config(ModeWish::Auto)).unwrap();
        println!("ready with {}", xsks.len());
        let _ = std::io::stdin().read_line(&mut String::new());
    });
}

#[test]
fn nothing_is_left_of_a_process_that_was_killed() {
    lab("nothing_is_left_of_a_process_that_was_killed", 2, |lab| {
        for round in 0..3 {
            let mut command = lab.again("holds_the_interface", "");
            command.env("WEIR_XDP_HOLD", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.is_ok_and(|line| line.contains("ready with 2"))));
            assert!(lab.state().contains("xdp"), "{}", lab.state());
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!lab.state().contains("xdp"), "round {round}: {}", lab.state());
            let mut xsks = weir_xdp::open(&lab.interface, &config(ModeWish::Native)).unwrap();
            let (sender, mut seen) = (Sender::new(lab), Seen::default());
            (0..100).for_each(|number| sender.send(&frame(number)));
            seen.until(&mut xsks, 100);
        }
    });
}

/// Polls the queues until all are so, on a thread that has no capabilities if asked.
fn poll_until(seen: &mut Seen, xsks: &mut [Xsk], privileged: bool, so: impl Fn(&Seen, &[Xsk]) -> bool + Sync) {
    let poll = || {
        if !privileged {
            lab::give_up_capabilities();
        }
        for _ in 0..1000 {
            for xsk in &mut *xsks {
                seen.poll(xsk);
            }
            if so(seen, xsks) {
                return;
            }
        }
        panic!("not within a thousand polls: {:?}", xsks.iter().map(Xsk::interruption).collect::<Vec<_>>());
    };
    std::thread::scope(|scope| scope.spawn(poll).join().unwrap());
}

/// Takes the interface away and gives it back; no packet is counted twice, and none is forgotten.
fn comes_back(lab: &Lab, mode: ModeWish, privileged: bool) {
    let mut xsks = weir_xdp::open(&lab.interface, &config(mode)).unwrap();
    let mut seen = Seen::default();
    for round in 1..=3 {
        let sender = Sender::new(lab);
        (0..100).for_each(|number| sender.send(&frame(number)));
        poll_until(&mut seen, &mut xsks, privileged, |seen, _| seen.packets() == round * 100);
        assert_eq!(captured(&mut xsks).offered_packets, round * 100);
        lab.must(&format!("-n {} link del {}", lab.near, lab.interface));
        poll_until(&mut seen, &mut xsks, privileged, |_, xsks| xsks.iter().all(|xsk| xsk.interruption().is_some()));
        println!("{:?}", xsks[0].interruption());
        lab.make_pair();
        poll_until(&mut seen, &mut xsks, privileged, |_, xsks| xsks.iter().all(|xsk| xsk.interruption().is_none()));
        assert!(xsks.iter().all(|xsk| xsk.interruptions() == round));
        assert!(lab.state().contains("xdp"));
    }
    assert_eq!(captured(&mut xsks).lost_packets(), 0);
}

#[test]
fn an_interface_that_comes_back_is_taken_again() {
    lab("an_interface_that_comes_back_is_taken_again", 2, |lab| {
        comes_back(lab, ModeWish::Native, true);
        comes_back(lab, ModeWish::Generic, true);
    });
}

#[test]
fn an_interface_that_comes_back_is_taken_again_without_capabilities() {
    lab("an_interface_that_comes_back_is_taken_again_without_capabilities", 2, |lab| {
        comes_back(lab, ModeWish::Auto, false);
        comes_back(lab, ModeWish::Generic, false);
    });
}

#[test]
fn an_interface_that_goes_down_goes_on_when_it_is_up() {
    lab("an_interface_that_goes_down_goes_on_when_it_is_up", 1, |lab| {
        for mode in [ModeWish::Native, ModeWish::Generic] {
            let mut xsks = weir_xdp::open(&lab.interface, &config(mode)).unwrap();
            let (sender, mut seen) = (Sender::new(lab), Seen::default());
            for round in 1..=3 {
                (0..100).for_each(|number| sender.send(&frame(number)));
                seen.until(&mut xsks, round * 100);
                lab.must(&format!("-n {} link set {} down", lab.near, lab.interface));
                assert_eq!(seen.poll(&mut xsks[0]), SourceState::Idle);
                assert!(xsks[0].is_interrupted());
                lab.must(&format!("-n {} link set {} up", lab.near, lab.interface));
                assert_eq!(seen.poll(&mut xsks[0]), SourceState::Idle);
                assert!(!xsks[0].is_interrupted());
                assert_eq!((xsks[0].interruption(), xsks[0].interruptions()), (None, round));
            }
            assert_eq!(captured(&mut xsks).offered_packets, 300);
        }
    });
}

/// Nanoseconds that this thread has had a processor.
fn processor_nanos() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[test]
fn idle_costs_next_to_nothing() {
    lab("idle_costs_next_to_nothing", 1, |lab| {
        let mut xsks = weir_xdp::open(&lab.interface, &XdpConfig::default()).unwrap();
        Sender::new(lab).send(&frame(0));
        let mut seen = Seen::default();
        let Some(before) = processor_nanos() else { return println!("skipped: no schedstat") };
        // Twenty times a tenth of a second.
        let idle = (0..21).filter(|_| seen.poll(&mut xsks[0]) == SourceState::Idle).count();
        let spent = processor_nanos().unwrap_or_default() - before;
        println!("idle for 2 s: {} us of processor time, {} %", spent / 1000, spent as f64 / 2e9 * 100.0);
        assert_eq!((idle, seen.packets()), (20, 1));
        assert!(spent < 20_000_000, "{spent} ns");
    });
}

#[test]
fn an_interface_that_something_else_uses_is_found() {
    lab("an_interface_that_something_else_uses_is_found", 1, |lab| {
        let Lab { near, interface, .. } = lab;
        let used = || weir_xdp::in_use(interface);
        // Does it, and undoes it.
        let with = |do_it: &[String], expected: fn(&InUse) -> bool, undo: &[String]| {
            do_it.iter().for_each(|words| drop(lab.must(&format!("-n {near} {words}"))));
            let found = used().expect(&do_it[0]);
            println!("{}: {found}", do_it[0]);
            assert!(expected(&found), "{found}");
            undo.iter().for_each(|words| drop(lab.must(&format!("-n {near} {words}"))));
            assert!(used().is_none(), "{:?}", used());
        };
        assert!(used().is_none(), "{:?}", used());
        let i = interface;
        with(
            &[format!("addr add 192.0.2.1/32 dev {i}")],
            |found| matches!(found, InUse::Address(address) if address.is_ipv4()),
            &[format!("addr del 192.0.2.1/32 dev {i}")],
        );
        with(
            &[format!("route add 198.51.100.0/24 dev {i}")],
            |found| matches!(found, InUse::Route(4)),
            &[format!("route del 198.51.100.0/24 dev {i}")],
        );
        with(
            &[format!("route add 198.51.100.0/24 dev {i} table 77")],
            |found| matches!(found, InUse::Route(4)),
            &[format!("route del 198.51.100.0/24 dev {i} table 77")],
        );
        with(
            &["link add br0 type bridge".to_owned(), format!("link set {i} master br0")],
            |found| matches!(found, InUse::Part(name) if name == "br0"),
            &["link del br0".to_owned()],
        );
        let vlan = format!("link add link {i} name vlan7 type vlan id 7");
        if lab.ip(&format!("-n {near} {vlan}")).status.success() {
            lab.must(&format!("-n {near} link del vlan7"));
            let found = |found: &InUse| matches!(found, InUse::Upper(name) if name == "vlan7");
            with(&[vlan], found, &["link del vlan7".to_owned()]);
        } else {
            println!("skipped: VLAN interfaces");
        }
        let has_ipv6 = fs::write(format!("/proc/sys/net/ipv6/conf/{i}/disable_ipv6"), "0").is_ok();
        if !has_ipv6 {
            return println!("skipped: no IPv6");
        }
        assert!(used().is_none(), "an address of the link is no use: {:?}", used());
        with(
            &[format!("addr add 2001:db8::1/128 dev {i}")],
            |found| matches!(found, InUse::Address(address) if address.is_ipv6()),
            &[format!("addr del 2001:db8::1/128 dev {i}")],
        );
        with(
            &[format!("-6 route add 2001:db8:1::/48 dev {i}")],
            |found| matches!(found, InUse::Route(6)),
            &[format!("-6 route del 2001:db8:1::/48 dev {i}")],
        );
    });
}

/// Not a test: tells the next one why the interface cannot be opened.
#[test]
fn tells_why_not() {
    if std::env::var_os("WEIR_XDP_WHY_NOT").is_none() {
        return;
    }
    lab("tells_why_not", 1, |lab| {
        let frames = std::env::var("WEIR_XDP_WHY_NOT").unwrap().parse().unwrap();
        match weir_xdp::open(&lab.interface, &XdpConfig { frames, ..config(ModeWish::Auto) }) {
            Ok(_) => println!("it was opened"),
            Err(error) => println!("because: {error:?}: {error}"),
        }
    });
}

#[test]
fn what_is_lacking_is_told() {
    lab("what_is_lacking_is_told", 1, |lab| {
        let why_not = |before: &str, frames: u32| {
            let mut command = lab.again("tells_why_not", before);
            let output = command.env("WEIR_XDP_WHY_NOT", frames.to_string()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            println!("{before}: {}", said.lines().find(|line| line.starts_with("because")).unwrap_or(&said));
            said
        };
        if !why_not("setpriv --bounding-set=+all", 256).contains("it was opened") {
            return println!("skipped: no setpriv");
        }
        let small = "setpriv --bounding-set=-ipc_lock prlimit --memlock=1048576";
        assert!(why_not(small, 256).contains("it was opened"));
        let text = why_not(small, 4096);
        assert!(text.contains("MemoryLock") && text.contains("8192 KiB") && text.contains("1024 KiB"), "{text}");
        assert!(why_not("setpriv --bounding-set=-net_raw", 256).contains("CAP_NET_RAW"));
        assert!(why_not("setpriv --bounding-set=-net_admin,-sys_admin", 256).contains("CAP_NET_ADMIN"));
        assert!(why_not("setpriv --bounding-set=-bpf,-sys_admin", 256).contains("CAP_BPF"));
        assert!(why_not("setpriv --bounding-set=-all,+net_raw,+net_admin,+bpf", 256).contains("it was opened"));
    });
}

/// Floods the interface, and says how many packets a second `receive`, given whether to go on, has had of them.
fn rate(lab: &Lab, name: &str, receive: impl FnOnce(&AtomicBool) -> u64) {
    let (sender, going, times) = (Sender::new(lab), AtomicBool::new(true), 2_000_000);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let begun = Instant::now();
            let taken = sender.flood(&frame(0), times);
            let seconds = begun.elapsed().as_secs_f64();
            going.store(false, Ordering::Relaxed);
            (taken, seconds)
        });
        let before = processor_nanos().unwrap_or_default();
        let received = receive(&going);
        let used = processor_nanos().unwrap_or_default() - before;
        let (taken, seconds) = flood.join().unwrap();
        println!(
            "{name:32} sent {:5.2} M/s, received {:5.2} M/s, lost {:6.3} %, {:4.0} ns of processor time each",
            taken as f64 / seconds / 1e6,
            received as f64 / seconds / 1e6,
            100.0 - received as f64 / taken as f64 * 100.0,
            used as f64 / received as f64
        );
    });
}

/// Not a test: packets a second of this and of a plain socket, when asked for with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn rates() {
    lab("rates", 1, |lab| {
        for _ in 0..3 {
            for (mode, strategy) in [
                (ModeWish::Native, Strategy::SleepBatching),
                (ModeWish::Generic, Strategy::SleepBatching),
                (ModeWish::Native, Strategy::BusyPoll { budget: 64 }),
            ] {
                let config = XdpConfig { mode, strategy, ..XdpConfig::default() };
                let mut xsk = weir_xdp::open(&lab.interface, &config).unwrap().remove(0);
                rate(lab, &format!("AF_XDP {mode:?} {strategy:?}"), |going| {
                    let mut received = 0;
                    let mut poll = || xsk.poll(&mut |batch| received += batch.len() as u64).unwrap();
                    while poll() == SourceState::More || going.load(Ordering::Relaxed) {}
                    received
                });
            }
            // ETH_P_ALL, in network byte order.
            let protocol = socket2::Protocol::from(i32::from(3_u16.to_be()));
            let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(protocol)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            rate(lab, "AF_PACKET recv", |going| {
                let (mut received, mut octets) = (0, [MaybeUninit::uninit(); 2048]);
                let mut next = || socket.recv(&mut octets).is_ok();
                while next() || going.load(Ordering::Relaxed) {
                    received += 1;
                }
                received
            });
        }
    });
}

#[test]
fn nonsense_is_refused() {
    for (frames, frame_octets) in [(0, 2048), (63, 2048), (100, 2048), (1 << 23, 2048), (256, 1024), (256, 65536)] {
        let config = XdpConfig { frames, frame_octets, ..XdpConfig::default() };
        assert!(matches!(weir_xdp::open("lo", &config), Err(OpenError::Config(_))));
    }
    for name in ["", "no such interface", "../net/lo", "a\0b"] {
        assert!(matches!(weir_xdp::open(name, &XdpConfig::default()), Err(OpenError::NoSuchInterface(_))), "{name:?}");
    }
    let default = XdpConfig::default();
    assert!(default.memory_octets(2) >= 2 * 4096 * 2048 && default.memory_octets(2) < 17 << 20);
    assert!(XdpConfig { frames: u32::MAX, ..default }.memory_octets(usize::MAX) == usize::MAX);
}
