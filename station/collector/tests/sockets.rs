// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real sockets on loopback: what exporters sent is in the sink after a stop, and who misbehaves is counted.

#![expect(clippy::unwrap_used, reason = "loopback that does not work fails the test")]

mod wire;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use weir_collector::{Collector, Config, Handle, Limits, Listen, Snapshot, StartError, StopError, Transport};
use weir_flow::FlowRecord;
use wire::*;

/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

fn tcp_config() -> Config {
    Config { listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())], drain_quiet: SHORT, ..Config::default() }
}

fn start(config: Config) -> (Handle<Keep>, SocketAddr) {
    let handle = Collector::start(config, Keep::default(), |_| ()).unwrap();
    let address = handle.listening()[0].address();
    (handle, address)
}

fn stop(handle: Handle<Keep>) -> (Vec<u64>, Snapshot) {
    let (kept, snapshot) = handle.stop().unwrap();
    assert_eq!(snapshot.decoded.records, kept.0.len() as u64);
    assert!(snapshot.decoded.closes(&snapshot.held));
    assert_eq!(snapshot.open_sessions, 0);
    (kept.packets(), snapshot)
}

/// A message with its template and one record.
fn message(sequence: u32, packets: u32) -> Vec<u8> {
    ipfix(1, sequence, &[set(2, &template(256, FIELDS)), set(256, &record(packets))])
}

/// Whether the other end has closed the connection.
fn is_closed(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    !matches!(stream.read(&mut [0; 1]), Ok(1))
}

#[test]
fn after_a_close_and_a_stop_every_record_is_in_the_sink() {
    let (handle, address) = start(tcp_config());
    let stream: Vec<u8> = (0..2_000).flat_map(|i| message(i, i)).collect();
    // Pieces that end anywhere; nobody waits for the collector, not even for its accept.
    let senders: Vec<_> = [7, 1_000, 65_536]
        .map(|piece| {
            let mut socket = TcpStream::connect(address).unwrap();
            let stream = stream.clone();
            std::thread::spawn(move || stream.chunks(piece).for_each(|part| socket.write_all(part).unwrap()))
        })
        .into();
    for sender in senders {
        sender.join().unwrap();
    }
    let (packets, snapshot) = stop(handle);
    assert_eq!(packets.len(), 6_000);
    assert_eq!(packets.iter().sum::<u64>(), 3 * (0..2_000).sum::<u64>());
    assert_eq!((snapshot.received.sessions_accepted, snapshot.received.sessions_closed), (3, 3));
    assert_eq!((snapshot.received.stream_messages, snapshot.decoded.lost_records), (6_000, 0));
    let [exporter] = snapshot.exporters[..] else { panic!("{:?}", snapshot.exporters) };
    assert_eq!((exporter.transport, exporter.records), (Transport::Tcp, 6_000));
}

#[test]
fn one_port_takes_all_protocols_and_both_families() {
    let config =
        Config { listen: vec!["udp://[::]:0".parse().unwrap(), "tcp://[::]:0".parse().unwrap()], ..Config::default() };
    let (handle, udp) = start(config);
    let tcp = handle.listening()[1].address();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], udp.port()));
    socket.send_to(&message(0, 1), to).unwrap();
    socket.send_to(&v9(1, 0, 1_000, &[set(0, &template(256, FIELDS)), set(256, &record(2))]), to).unwrap();
    socket.send_to(&v5(30_000, 0, &[v5_record(6, 80, 3, 0, 0)]), to).unwrap();
    TcpStream::connect(("127.0.0.1", tcp.port())).unwrap().write_all(&message(0, 4)).unwrap();
    if udp.is_ipv6() && UdpSocket::bind("[::1]:0").is_ok() {
        UdpSocket::bind("[::1]:0").unwrap().send_to(&message(0, 5), ("::1", udp.port())).unwrap();
    } else {
        eprintln!("skipped: no IPv6 on this machine");
        socket.send_to(&message(1, 5), to).unwrap();
    }
    let (mut packets, snapshot) = stop(handle);
    packets.sort_unstable();
    assert_eq!(packets, [1, 2, 3, 4, 5]);
    assert!(snapshot.exporters.iter().all(|e| !e.address.unwrap().to_string().contains("ffff")));
    assert_eq!((snapshot.received.datagrams, snapshot.received.stream_messages), (4, 1));
    assert!(snapshot.receive_buffer > 0);
    if cfg!(target_os = "linux") {
        assert_eq!(snapshot.kernel_drops, Some(0));
    }
}

#[test]
fn a_peer_that_sends_nonsense_is_disconnected_and_others_are_not() {
    let (handle, address) = start(tcp_config());
    let mut good = TcpStream::connect(address).unwrap();
    good.write_all(&message(0, 1)).unwrap();
    for nonsense in [&b"GET / HTTP/1.1\r\n"[..], &[0, 9], &[0, 10, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut bad = TcpStream::connect(address).unwrap();
        bad.write_all(nonsense).unwrap();
        assert!(is_closed(bad));
    }
    good.write_all(&message(1, 2)).unwrap();
    drop(good);
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(&[message(0, 3), message(1, 4)[..20].to_vec()].concat()).unwrap();
    drop(half);
    assert!(handle.wait_for(PATIENCE, |s| s.received.ended_within_message == 1));
    let (mut packets, snapshot) = stop(handle);
    packets.sort_unstable();
    assert_eq!(packets, [1, 2, 3]);
    assert_eq!((snapshot.received.disconnected_bad_header, snapshot.received.sessions_closed), (3, 1));
}

#[test]
fn silent_and_slow_sessions_are_closed() {
    let (handle, address) = start(Config { tcp_idle: SHORT, ..tcp_config() });
    assert!(is_closed(TcpStream::connect(address).unwrap()));
    assert!(handle.wait_for(PATIENCE, |s| s.received.disconnected_idle == 1));
    stop(handle);
    let (handle, address) = start(Config { tcp_half_message: SHORT, ..tcp_config() });
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(&message(0, 1)[..17]).unwrap();
    assert!(is_closed(slow));
    assert!(handle.wait_for(PATIENCE, |s| s.received.disconnected_half_message == 1));
    stop(handle);
}

#[test]
fn sessions_are_capped_in_all_and_by_address() {
    let caps =
        [Limits { tcp_sessions: 1, ..Limits::default() }, Limits { tcp_sessions_per_address: 1, ..Limits::default() }];
    for limits in caps {
        let (handle, address) = start(Config { limits, ..tcp_config() });
        let mut first = TcpStream::connect(address).unwrap();
        first.write_all(&message(0, 1)).unwrap();
        assert!(handle.wait_for(PATIENCE, |s| s.decoded.records == 1));
        assert!(is_closed(TcpStream::connect(address).unwrap()));
        first.write_all(&message(1, 2)).unwrap();
        drop(first);
        assert!(handle.wait_for(PATIENCE, |s| s.open_sessions == 0));
        // There is room again.
        TcpStream::connect(address).unwrap().write_all(&message(0, 3)).unwrap();
        let (packets, snapshot) = stop(handle);
        assert_eq!(packets, [1, 2, 3]);
        let received = snapshot.received;
        assert_eq!(received.sessions_refused_by_cap + received.sessions_refused_by_address_cap, 1);
        assert_eq!(received.sessions_accepted, 2);
    }
}

#[test]
fn a_stop_takes_what_an_open_session_has_sent() {
    let (handle, address) = start(tcp_config());
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(&(0..500).flat_map(|i| message(i, i)).collect::<Vec<_>>()).unwrap();
    let (packets, snapshot) = stop(handle);
    assert_eq!(packets.len(), 500);
    assert_eq!(snapshot.received.closed_by_stop, 1);
    assert!(is_closed(open));
}

#[test]
fn a_slow_sink_makes_tcp_wait_and_loses_nothing() {
    let (open_gate, gate) = mpsc::channel::<()>();
    let mut records = 0_u64;
    let stored = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&stored);
    let sink = move |_: &FlowRecord<'_>| {
        if records == 0 {
            gate.recv().unwrap();
        }
        records += 1;
        count.store(records, Ordering::SeqCst);
    };
    let handle = Collector::start(Config { queue: 2, ..tcp_config() }, sink, |_| ()).unwrap();
    let mut socket = TcpStream::connect(handle.listening()[0].address()).unwrap();
    let sender = std::thread::spawn(move || (0..20_000).for_each(|i| socket.write_all(&message(i, i)).unwrap()));
    // One is with the sink, two are in the queue, one waits for room: more are not taken.
    assert!(handle.wait_for(PATIENCE, |s| s.received.stream_messages == 4));
    assert_eq!(stored.load(Ordering::SeqCst), 0);
    open_gate.send(()).unwrap();
    sender.join().unwrap();
    let (_, snapshot) = handle.stop().unwrap();
    assert_eq!((snapshot.decoded.records, stored.load(Ordering::SeqCst)), (20_000, 20_000));
}

#[test]
fn the_sink_is_told_that_time_passes() {
    let ticks = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&ticks);
    let config = Config { tick: Duration::from_millis(1), ..tcp_config() };
    let tick = move |_: &mut Keep| {
        count.fetch_add(1, Ordering::SeqCst);
    };
    let handle = Collector::start(config, Keep::default(), tick).unwrap();
    assert!(handle.wait_for(PATIENCE, |_| ticks.load(Ordering::SeqCst) > 2));
    stop(handle);
}

#[test]
fn a_sink_that_panics_is_reported() {
    let sink = |_: &FlowRecord<'_>| panic!("on purpose");
    let handle = Collector::start(tcp_config(), sink, |_| ()).unwrap();
    let mut socket = TcpStream::connect(handle.listening()[0].address()).unwrap();
    socket.write_all(&message(0, 1)).unwrap();
    while handle.is_running() {
        handle.wait_for(SHORT, |_| false);
    }
    assert_eq!(handle.stop().err(), Some(StopError::Panicked));
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let (handle, address) = start(tcp_config());
    let config = Config { listen: vec![Listen::Tcp(address)], ..Config::default() };
    let Err(StartError::Bind { listen, .. }) = Collector::start(config, Keep::default(), |_| ()) else {
        panic!("bound twice")
    };
    assert_eq!(listen, Listen::Tcp(address));
    stop(handle);
}
