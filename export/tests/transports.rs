// SPDX-License-Identifier: MIT OR Apache-2.0
//! Datagrams that are lost, files that are finished one after the other, destinations that share the records.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Collector, PATIENCE, Session, dns, record, to, wait_until};
use weir_export::{Clock, Exporter, ExporterConfig, Policy, Refresh, Rotation, SendCounters, WhenFull};
use weir_flow::RecordSink;

fn counters(exporter: &Exporter) -> SendCounters {
    exporter.progress()[0].1
}

/// Exports parts of sixty records, which have all shapes that there are, over UDP to this address, puts the clock forward before one
/// of them if told to, and gives all datagrams, part by part.
fn datagrams(address: &str, refresh: Refresh, parts: u64, pause_before: Option<u64>) -> Vec<Vec<Vec<u8>>> {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let clock = Clock::default();
    let config = to(&[format!("udp://{}", socket.local_addr().unwrap())]);
    let exporter = Exporter::start(&ExporterConfig { refresh, clock: clock.clone(), ..config }).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    let mut heard = Vec::new();
    let mut session = Session::default();
    for part in 0..parts {
        if pause_before == Some(part) {
            clock.put_forward(Duration::from_secs(61));
        }
        (60 * part..60 * part + 60).for_each(|n| sink.record(&record(n, &dns)));
        sink.flush();
        let mut now = Vec::new();
        while session.records.len() as u64 != 60 * part + 60 {
            let mut datagram = vec![0; 65_536];
            let octets = socket.recv(&mut datagram).unwrap();
            datagram.truncate(octets);
            session.message(&datagram);
            now.push(datagram);
        }
        heard.push(now);
    }
    let (_, reports) = exporter.finish(vec![sink]);
    let sent = reports[0].counters;
    assert_eq!((sent.records_sent, sent.lost_records()), (60 * parts, 0));
    heard
}

/// The first datagrams are lost, the templates with them. After the interval, or so many messages, everything is understood; what was
/// lost, and what was not understood, is the gap.
#[test]
fn a_collector_of_datagrams_recovers_within_one_refresh() {
    let by_time = (Refresh { messages: u32::MAX, ..Refresh::default() }, Some(4));
    let by_messages = (Refresh { interval: Duration::MAX, messages: 40 }, None);
    for (refresh, pause_before) in [by_time, by_messages] {
        let mut parts = datagrams("127.0.0.1:0", refresh, 12, pause_before).into_iter();
        let mut lost = Session::default();
        parts.next().unwrap().iter().for_each(|datagram| lost.message(datagram));
        let mut collector = Session::default();
        let mut understands = false;
        let mut messages = 0;
        for (part, datagrams) in (1..).zip(parts) {
            for datagram in datagrams {
                collector.unknown = false;
                collector.message_with_gaps(&datagram);
                messages += 1;
                // Once templates came, nothing is unknown any more.
                assert!(!(understands && collector.unknown));
                understands |= !collector.records.is_empty();
            }
            // At once behind the interval, or when there were enough messages.
            let is_due = pause_before.map_or(messages > 40 + 10, |pause| part >= pause);
            assert!(understands || !is_due, "part {part}, {messages} messages");
            assert!(pause_before.is_none_or(|pause| understands == (part >= pause)));
        }
        assert_eq!(lost.numbers, Some((0, 60)));
        let (first, next) = collector.numbers.unwrap();
        assert_eq!((first, next), (60, 720));
        assert_eq!(first + collector.gap + collector.records.len() as u32, 720);
    }
}

/// Datagrams that a relay drops are just the gap in numbers.
#[test]
fn what_a_relay_drops_is_the_gap() {
    let parts = datagrams("[::1]:0", Refresh::default(), 30, None);
    let (mut all, mut collector) = (Session::default(), Session::default());
    let mut dropped = 0;
    for (datagram, number) in parts.iter().flatten().zip(1..) {
        let before = all.records.len();
        all.message(datagram);
        let records = all.records.len() - before;
        // Not the last: nobody would know.
        if number % 7 == 0 && records > 0 && all.records.len() < 1_800 {
            dropped += records;
        } else {
            collector.message_with_gaps(datagram);
        }
    }
    assert!(dropped > 100);
    assert_eq!((collector.gap as usize, collector.records.len()), (dropped, 1_800 - dropped));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn files_are_finished_at_the_end_of_an_interval() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::default();
    let rotation = Rotation { interval: Some(Duration::from_secs(300)), octets: None };
    let names = [format!("file:{}", folder.path().join("flows.ipfix").display())];
    let config = ExporterConfig { rotation, clock: clock.clone(), ..to(&names) };
    let exporter = Exporter::start(&config).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    for part in 0..3 {
        (10 * part..10 * part + 10).for_each(|n| sink.record(&record(n, &dns)));
        sink.flush();
        wait_until("it was written", || counters(&exporter).records_sent == 10 * (part + 1));
        // What is not finished has another name.
        let (parts, finished): (Vec<_>, Vec<_>) =
            files(folder.path()).into_iter().partition(|path| path.extension().is_some_and(|e| e == "part"));
        assert_eq!((parts.len(), finished.len() as u64), (1, part));
        clock.put_forward(Duration::from_secs(300));
    }
    let (_, reports) = exporter.finish(vec![sink]);
    assert_eq!(reports[0].counters.files_finished, 3);
    let files = files(folder.path());
    assert_eq!(files.len(), 3);
    for (path, part) in files.iter().zip(0..) {
        // Each for itself.
        let mut session = Session::default();
        session.messages(&fs::read(path).unwrap());
        assert_eq!(session.numbers, Some((0, 10)));
        assert!(session.records.iter().map(|r| r.0).eq(10 * part + 1..=10 * part + 10));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("flows-2") && name.ends_with("Z.ipfix"), "{name}");
        let minute: u32 = name[17..19].parse().unwrap();
        assert_eq!((minute % 5, &name[19..21]), (0, "00"), "{name}");
    }
}

#[test]
fn files_are_finished_before_they_are_too_large() {
    for format in ["file", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { interval: None, octets: Some(200_000) };
        let names = [format!("{format}:{}", folder.path().join("f-%Y.x").display())];
        let exporter = Exporter::start(&ExporterConfig { rotation, ..to(&names) }).unwrap();
        let mut sink = exporter.sink();
        let dns = dns(20);
        (0..20_000).for_each(|n| sink.record(&record(n, &dns)));
        let (_, reports) = exporter.finish(vec![sink]);
        let files = files(folder.path());
        assert_eq!(reports[0].counters.files_finished, files.len() as u64);
        assert_eq!(reports[0].counters.records_sent, 20_000);
        assert!(files.len() > 5 && files.iter().all(|path| fs::metadata(path).unwrap().len() <= 205_000), "{files:?}");
        assert!(files.iter().all(|path| path.extension().is_some_and(|e| e == "x")));
        let mut records = 0;
        for path in files {
            let octets = fs::read(path).unwrap();
            if format == "json" {
                records += octets.iter().filter(|octet| **octet == b'\n').count();
            } else {
                let mut session = Session::default();
                session.messages(&octets);
                records += session.records.len();
            }
        }
        assert_eq!(records, 20_000);
    }
}

#[test]
fn destinations_share_the_records() {
    for policy in [Policy::RoundRobin, Policy::Hash] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let names = [format!("file:{}", path("a")), format!("json:{}", path("b")), format!("file:{}", path("c"))];
        let exporter = Exporter::start(&ExporterConfig { policy, ..to(&names) }).unwrap();
        let mut sink = exporter.sink();
        let dns = dns(20);
        for n in 0..60_000 {
            // Of one and the same flow, there would be nothing to share.
            let mut record = record(n, &dns);
            record.key.src_port = (n % 1000) as u16;
            sink.record(&record);
        }
        let (sunk, reports) = exporter.finish(vec![sink]);
        assert_eq!(sunk.records_queued, 60_000);
        let each: Vec<_> = reports.iter().map(|report| report.counters.records_sent).collect();
        assert_eq!(each.iter().sum::<u64>(), 60_000);
        assert!(each.iter().all(|records| *records > 5_000), "{policy}: {each:?}");
        let mut ids = Vec::new();
        for name in ["a", "c"] {
            let mut session = Session::default();
            session.messages(&fs::read(path(name)).unwrap());
            ids.extend(session.records.iter().map(|record| record.0));
        }
        assert_eq!(ids.len() + fs::read_to_string(path("b")).unwrap().lines().count(), 60_000);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len() as u64, each[0] + each[2]);
    }
}

#[test]
fn another_takes_over_and_gives_back() {
    let first = Collector::anywhere();
    let second = Collector::anywhere();
    let (address, heard) = (first.address, [first.heard(), second.heard()]);
    let names = [first.address, second.address].map(|address| format!("tcp://{address}"));
    let config = ExporterConfig { policy: Policy::Failover, when_full: WhenFull::Drop, ..to(&names) };
    let exporter = Exporter::start(&config).unwrap();
    wait_until("both are there", || exporter.are_ready().iter().all(|ready| *ready));
    let mut sink = exporter.sink();
    let dns = dns(20);
    let mut next = 0;
    let mut ten = |sink: &mut weir_export::ExportSink| {
        (next..next + 10).for_each(|n| sink.record(&record(n, &dns)));
        next += 10;
        sink.flush();
    };
    ten(&mut sink);
    wait_until("the first", || heard[0].count() == 10);
    first.kill();
    wait_until("it is missed", || !exporter.are_ready()[0]);
    // Who takes over is chosen message by message.
    sink.flush();
    ten(&mut sink);
    wait_until("the second", || heard[1].count() == 10);
    let first = Collector::listen(address, heard[0].clone());
    wait_until("it is back", || exporter.are_ready()[0]);
    sink.flush();
    ten(&mut sink);
    wait_until("the first again", || heard[0].count() == 20);
    let (_, reports) = exporter.finish(vec![sink]);
    assert_eq!([0, 1].map(|n| reports[n].counters.records_sent), [20, 10]);
    first.kill();
    second.kill();
}
