// SPDX-License-Identifier: MIT OR Apache-2.0
//! What arrives at destinations, read octet by octet.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use common::{Session, dns, record, to};
use weir_export::{DestinationReport, Exporter, ExporterConfig, SinkCounters, WhenFull};
use weir_flow::{RecordSink, app::Dns};

/// Exports records 0 to `count` with one worker.
fn export(config: &ExporterConfig, count: u64, dns: &Dns) -> (SinkCounters, Vec<DestinationReport>) {
    let exporter = Exporter::start(config).unwrap();
    let mut sink = exporter.sink();
    (0..count).for_each(|n| sink.record(&record(n, dns)));
    exporter.finish(vec![sink])
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
    // More than the system and the spool keep for a connection.
    while exporter.progress()[0].1.records_dropped_spool == 0 {
        (0..100).for_each(|n| sink.record(&record(n, &dns)));
    }
    let counters = sink.finish();
    let reports = exporter.finish_by(Some(Instant::now()));
    assert_eq!(reports[0].error.as_ref().unwrap().kind(), std::io::ErrorKind::TimedOut);
    let sent = reports[0].counters;
    assert_eq!(sent.settled_records(), counters.records_queued);
    assert!(sent.records_not_sent > 0);
    drop(listener);
}
