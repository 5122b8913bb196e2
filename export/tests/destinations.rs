// SPDX-License-Identifier: MIT OR Apache-2.0
//! What arrives at destinations, read octet by octet.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::HashMap,
    fs,
    io::Read,
    net::{IpAddr, TcpListener, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use weir_export::{Destination, DestinationReport, Exporter, ExporterConfig, SinkCounters, WhenFull};
use weir_flow::{Counters, EndReason, FlowKey, FlowRecord, RecordSink, Timestamp, app::Dns};
use weir_ipfix::{
    WEIR,
    decode::{Draft, Plan, sets, templates},
    message::{FIRST_DATA_SET, HEADER_LEN, Header, TEMPLATE_SET},
};

/// Record `n` of several shapes; its flow ID is one more.
fn record(n: u64, dns: &Dns) -> FlowRecord<'_> {
    let ip: IpAddr = if n.is_multiple_of(3) { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into() } else { [192, 0, 2, 1].into() };
    let counters = |packets| Counters { packets, octets: 60 * packets, ..Counters::default() };
    FlowRecord {
        key: FlowKey::new(ip, ip, 1024, 53, if n.is_multiple_of(2) { 6 } else { 17 }),
        forward: Counters { first: Timestamp::from_secs(n), last: Timestamp::from_secs(n), ..counters(1) },
        reverse: counters(n % 4),
        flow_id: 1 + n,
        end_reason: EndReason::IDLE,
        app: n.is_multiple_of(5).then_some(dns.into()),
        ..FlowRecord::default()
    }
}

fn dns(octets: usize) -> Dns {
    let mut dns = Dns { response_code: Some(0), ..Dns::default() };
    dns.query_name.set(&vec![b'x'; octets], &mut dns.memory);
    dns
}

/// Exports records 0 to `count` with one worker.
fn export(config: &ExporterConfig, count: u64, dns: &Dns) -> (SinkCounters, Vec<DestinationReport>) {
    let exporter = Exporter::start(config).unwrap();
    let mut sink = exporter.sink();
    (0..count).for_each(|n| sink.record(&record(n, dns)));
    exporter.finish(vec![sink])
}

/// With the shortest queue that there is.
fn to(destinations: &[String]) -> ExporterConfig {
    let destinations = destinations.iter().map(|text| text.parse::<Destination>().unwrap()).collect();
    ExporterConfig { destinations, queue_octets: 0, ..ExporterConfig::default() }
}

/// What one transport session said.
#[derive(Debug, Default)]
struct Session {
    plans: HashMap<u16, Plan>,
    /// Flow ID of each record, and whether it had application fields.
    records: Vec<(u64, bool)>,
}

impl Session {
    /// Reads a message, which must have the sequence number of an unbroken session.
    fn message(&mut self, message: &[u8]) {
        let header = Header::parse(message).unwrap();
        assert_eq!((usize::from(header.length), header.domain), (message.len(), 1));
        assert_eq!(header.sequence_number as usize, self.records.len());
        for set in sets(message, HEADER_LEN) {
            let set = set.unwrap();
            if set.id == TEMPLATE_SET {
                self.plans.extend(templates(set, false).map(|t| t.unwrap()).map(|t| (t.id, Plan::new(&t, WEIR))));
                continue;
            }
            assert!(set.id >= FIRST_DATA_SET);
            let plan = self.plans.get(&set.id).expect("announced before it is used");
            let mut at = 0;
            while at < set.body.len() {
                let mut draft = Draft::default();
                at = plan.decode(set.body, at, &mut draft).unwrap();
                self.records.push((draft.record.flow_id, draft.app.is_some()));
            }
        }
    }

    fn messages(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let (message, rest) = octets.split_at(Header::parse(octets).unwrap().length.into());
            self.message(message);
            octets = rest;
        }
    }
}

fn all(count: u64) -> Vec<(u64, bool)> {
    (0..count).map(|n| (1 + n, n.is_multiple_of(5))).collect()
}

#[test]
fn every_destination_gets_every_record_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name).display().to_string();
    let destinations = [("file", "a"), ("json", "b"), ("file", "c"), ("json", "d")];
    let destinations = destinations.map(|(format, name)| format!("{format}:{}", path(name)));
    let (counters, reports) = export(&to(&destinations), 50_000, &dns(20));
    assert_eq!((counters.records, counters.records_queued), (50_000, 200_000));
    for (report, name) in reports.iter().zip(["a", "b", "c", "d"]) {
        let octets = fs::read(path(name)).unwrap();
        assert_eq!((report.counters.records_sent, report.counters.octets_sent), (50_000, octets.len() as u64));
        if ["a", "c"].contains(&name) {
            let mut session = Session::default();
            session.messages(&octets);
            assert!(session.records == all(50_000), "{name}");
        } else {
            let lines: Vec<_> = octets.split_inclusive(|b| *b == b'\n').collect();
            assert_eq!(lines.len(), 50_000);
            let is_of = |line: &[u8], n: u64| {
                let line = String::from_utf8_lossy(line);
                line.contains(&format!("\"flowId\":{},", 1 + n)) || line.contains(&format!("\"flowId\":{}}}", 1 + n))
            };
            assert!(lines.iter().zip(0..).all(|(line, n)| is_of(line, n)), "{name}");
        }
    }
}

#[test]
fn a_record_that_fits_into_no_datagram_goes_without_its_fields() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let config = ExporterConfig { max_datagram: 512, ..to(&[format!("udp://{}", socket.local_addr().unwrap())]) };
    let (counters, reports) = export(&config, 20, &dns(600));
    assert_eq!((counters.records_without_fields, counters.records_dropped_size), (4, 0));
    let mut session = Session::default();
    let mut datagram = [0; 65_536];
    while session.records.len() < 20 {
        let octets = socket.recv(&mut datagram).unwrap();
        assert!(octets <= 512);
        session.message(&datagram[..octets]);
    }
    assert_eq!(session.records, all(20).iter().map(|r| (r.0, false)).collect::<Vec<_>>());
    assert_eq!(reports[0].counters.records_sent, 20);
}

/// What the first connection swallowed is lost; the second begins anew with templates and numbers.
#[test]
fn a_connection_that_breaks_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let collector = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        // Several messages; the connection breaks because others are not read.
        first.read_exact(&mut vec![0; 1 << 20]).unwrap();
        drop(first);
        let mut octets = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut octets).unwrap();
        octets
    });
    // More than the system takes before it says that nobody is there.
    let (_, reports) = export(&to(&[format!("tcp://{address}")]), 400_000, &dns(20));
    assert!(reports[0].error.is_none(), "{reports:?}");
    let mut session = Session::default();
    session.messages(&collector.join().unwrap());
    let counters = reports[0].counters;
    assert_eq!((counters.reconnects, counters.records_sent, counters.records_not_sent), (1, 400_000, 0));
    let first = 400_000 - session.records.len();
    assert!(first > 0 && session.records == all(400_000)[first..], "from record {first}");
}

/// What was sent before a collector went away may have arrived; nothing is given to a connection that it has closed since.
#[test]
fn what_comes_after_a_collector_was_restarted_arrives_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = Exporter::start(&to(&[format!("tcp://{}", listener.local_addr().unwrap())])).unwrap();
    let mut first = listener.accept().unwrap().0;
    let mut sink = exporter.sink();
    let dns = dns(20);
    (0..10).for_each(|n| sink.record(&record(n, &dns)));
    sink.flush();
    let mut header = [0; HEADER_LEN];
    first.read_exact(&mut header).unwrap();
    // It closes with a FIN only if it has read everything.
    first.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = first.read_to_end(&mut Vec::new());
    drop(first);
    let collector = thread::spawn(move || {
        let mut octets = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut octets).unwrap();
        octets
    });
    (0..10).for_each(|n| sink.record(&record(n, &dns)));
    let reports = exporter.finish(vec![sink]).1;
    let mut session = Session::default();
    session.messages(&collector.join().unwrap());
    assert_eq!(session.records, all(10));
    assert_eq!((reports[0].counters.records_sent, reports[0].counters.reconnects), (20, 1));
}

#[test]
fn what_a_full_device_does_not_take_is_counted() {
    for when_full in [WhenFull::Wait, WhenFull::Drop] {
        let config = ExporterConfig { when_full, ..to(&["file:/dev/full".to_owned()]) };
        let (counters, reports) = export(&config, 100_000, &dns(20));
        let sent = reports[0].counters;
        assert!(reports[0].error.is_some());
        assert_eq!(sent.records_sent, 0);
        assert_eq!(counters.records_queued, sent.records_not_sent);
        assert_eq!(counters.records_queued + counters.records_dropped_queue, 100_000, "{when_full:?}");
    }
}

/// Nobody takes anything until the end: what was not dropped arrives, the oldest first.
#[test]
fn a_live_run_drops_what_its_queue_does_not_hold() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = ExporterConfig { when_full: WhenFull::Drop, ..to(&[format!("tcp://{address}")]) };
    let exporter = Exporter::start(&config).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    // More than the buffers of both sockets hold.
    (0..1_000_000).for_each(|n| sink.record(&record(n, &dns)));
    let collector = thread::spawn(move || {
        let mut octets = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut octets).unwrap();
        octets
    });
    let (counters, reports) = exporter.finish(vec![sink]);
    assert!(counters.records_dropped_queue > 0 && counters.records_queued > 0, "{counters:?}");
    assert_eq!(counters.records_queued + counters.records_dropped_queue, 1_000_000);
    assert_eq!(reports[0].counters.records_sent, counters.records_queued);
    let mut session = Session::default();
    session.messages(&collector.join().unwrap());
    assert_eq!(session.records.len() as u64, counters.records_queued);
    assert_eq!(session.records[..100], all(100));
}

#[test]
fn destinations_change_while_records_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let first = to(&[format!("json:{}", path("a")), format!("file:{}", path("stays"))]);
    let second = to(&[format!("json:{}", path("b")), format!("file:{}", path("stays"))]);
    let mut exporter = Exporter::start(&first).unwrap();
    let dns = dns(10);
    let mut sink = exporter.sink();
    (0..100).for_each(|n| sink.record(&record(n, &dns)));
    exporter.change(&second).unwrap();
    // The former sink is still used for a while.
    (100..150).for_each(|n| sink.record(&record(n, &dns)));
    let mut next = exporter.sink();
    let mut counters = sink.finish();
    let reports = exporter.end_retired(Instant::now() + Duration::from_secs(60));
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].counters.records_sent, exporter.former().records_sent), (150, 150));
    (150..200).for_each(|n| next.record(&record(n, &dns)));
    // What cannot be opened changes nothing.
    assert!(exporter.change(&to(&["json:/no such folder/x".to_owned()])).is_err());
    counters.add(&next.finish());
    let reports = exporter.finish_by(None);
    let sent: u64 = reports.iter().map(|report| report.counters.records_sent).sum();
    assert_eq!(counters.records_queued, 400);
    assert_eq!(sent + 150, 400);
    let lines = |name: &str| fs::read_to_string(path(name)).unwrap().lines().count();
    assert_eq!((lines("a"), lines("b")), (150, 50));
}

#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = to(&[format!("file:{}", path("now").display())]);
    let mut exporter = Exporter::start(&config).unwrap();
    let dns = dns(10);
    let mut sink = exporter.sink();
    (0..10).for_each(|n| sink.record(&record(n, &dns)));
    let _ = sink.finish();
    // It is where it was: it goes on.
    exporter.change(&config).unwrap();
    while exporter.progress()[0].1.records_sent < 10 {
        thread::yield_now();
    }
    fs::rename(path("now"), path("before")).unwrap();
    exporter.change(&config).unwrap();
    while !path("now").exists() {
        thread::yield_now();
    }
    let mut sink = exporter.sink();
    (10..15).for_each(|n| sink.record(&record(n, &dns)));
    let (_, reports) = exporter.finish(vec![sink]);
    assert_eq!((reports[0].counters.records_sent, reports[0].counters.reconnects), (15, 1));
    // Each is a session of its own, with its templates.
    for (name, records) in [("before", 10), ("now", 5)] {
        let octets = fs::read(path(name)).unwrap();
        let mut session = Session::default();
        session.messages(&octets);
        assert_eq!(session.records.len(), records, "{name}");
    }
}

#[test]
fn who_takes_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = format!("json:tcp://{}", listener.local_addr().unwrap());
    let config = ExporterConfig { when_full: WhenFull::Drop, ..to(&[destination]) };
    let exporter = Exporter::start(&config).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(100);
    // More than the system keeps for a connection.
    while sink.counters().records_dropped_queue == 0 {
        (0..100).for_each(|n| sink.record(&record(n, &dns)));
    }
    let counters = sink.finish();
    let reports = exporter.finish_by(Some(Instant::now()));
    assert_eq!(reports[0].error.as_ref().unwrap().kind(), std::io::ErrorKind::TimedOut);
    let sent = reports[0].counters;
    assert_eq!(sent.records_sent + sent.records_not_sent, counters.records_queued);
    assert!(sent.records_not_sent > 0);
    drop(listener);
}
