// SPDX-License-Identifier: MIT OR Apache-2.0
//! Collectors that go away, come back, read slowly, or never: what arrives, and what is counted.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{fs, io::Read, net::TcpListener, sync::Arc, thread, time::Duration};

use common::{Collector, Heard, PATIENCE, Session, dns, read_all, record, to, wait_until};
use weir_export::{Exporter, ExporterConfig, SendCounters, SpoolConfig, WhenFull};
use weir_flow::RecordSink;
use weir_ipfix::message::{HEADER_LEN, Header};

/// As for live capture.
fn live(destinations: &[String]) -> ExporterConfig {
    ExporterConfig { when_full: WhenFull::Drop, queue_octets: 4 << 20, ..to(destinations) }
}

fn counters(exporter: &Exporter) -> SendCounters {
    exporter.progress()[0].1
}

/// An address at which nobody listens.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Somebody exports without a pause; the collector is killed three times with whatever it has not read, is away for a while, and
/// comes back. By the numbers of records, every one arrives; those that come twice come under the number that they had.
#[test]
fn a_collector_that_is_killed_three_times_under_load_misses_nothing() {
    const COUNT: u64 = 600_000;
    let mut collector = Collector::anywhere();
    let (address, heard) = (collector.address, collector.heard());
    let exporter = Exporter::start(&live(&[format!("tcp://{address}")])).unwrap();
    let mut sink = exporter.sink();
    // This worker has time: what there is no room for is waited for, not dropped.
    sink.wait_when_full();
    let worker = thread::spawn(move || {
        let dns = dns(20);
        (0..COUNT).for_each(|n| sink.record(&record(n, &dns)));
        sink
    });
    for quarter in 1..=3 {
        wait_until("a part of the records", || heard.count() >= quarter * COUNT / 8);
        collector.kill();
        let failures = counters(&exporter).connection_failures;
        wait_until("it is missed", || counters(&exporter).connection_failures > failures);
        assert!(exporter.troubles()[0].is_some());
        collector = Collector::listen(address, heard.clone());
    }
    let sink = worker.join().unwrap();
    let (sunk, reports) = exporter.finish(vec![sink]);
    let sent = reports[0].counters;
    assert!(reports[0].error.is_none(), "{reports:?}");
    assert_eq!((sunk.records_queued, sent.records_sent, sent.lost_records()), (COUNT, COUNT, 0));
    wait_until("the rest", || heard.distinct() == COUNT);
    let repeated = heard.is_complete(COUNT);
    assert!(repeated <= sent.records_sent_again, "{repeated} came again, {sent:?}");
    assert_eq!(sent.reconnects, 3);
    collector.kill();
}

/// A collector that has read everything when it ends closes its connections orderly: then nothing comes twice.
#[test]
fn a_collector_that_is_stopped_three_times_gets_every_record_once() {
    const PART: u64 = 20_000;
    let mut collector = Collector::anywhere();
    let (address, heard) = (collector.address, collector.heard());
    let exporter = Exporter::start(&live(&[format!("tcp://{address}")])).unwrap();
    let mut sink = exporter.sink();
    sink.wait_when_full();
    let dns = dns(20);
    for stop in 0..3 {
        (stop * PART..(stop + 1) * PART).for_each(|n| sink.record(&record(n, &dns)));
        sink.flush();
        wait_until("a part", || heard.count() >= (stop + 1) * PART);
        collector.kill();
        let failures = counters(&exporter).connection_failures;
        wait_until("it is missed", || counters(&exporter).connection_failures > failures);
        collector = Collector::listen(address, heard.clone());
    }
    (3 * PART..4 * PART).for_each(|n| sink.record(&record(n, &dns)));
    let (_, reports) = exporter.finish(vec![sink]);
    wait_until("the rest", || heard.count() >= 4 * PART);
    assert_eq!(heard.is_complete(4 * PART), 0);
    let sent = reports[0].counters;
    assert_eq!((sent.records_sent, sent.records_sent_again, sent.lost_records()), (4 * PART, 0, 0));
    collector.kill();
}

#[test]
fn a_collector_that_comes_late_gets_everything_from_memory() {
    let address = nobody();
    let exporter = Exporter::start(&live(&[format!("tcp://{address}")])).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    (0..50_000).for_each(|n| sink.record(&record(n, &dns)));
    sink.flush();
    wait_until("two attempts", || counters(&exporter).connection_failures >= 2);
    let collector = Collector::listen(address, Arc::default());
    let heard = collector.heard();
    wait_until("all of them", || heard.count() == 50_000);
    assert!(exporter.troubles()[0].is_none());
    let (sunk, reports) = exporter.finish(vec![sink]);
    assert_eq!(sunk.records_dropped_queue, 0);
    assert_eq!((heard.is_complete(50_000), reports[0].counters.reconnects), (0, 0));
    collector.kill();
}

/// What a spool that was made too small does not hold is counted, and is a gap of just that many numbers.
#[test]
fn what_has_no_room_is_counted_and_is_the_gap() {
    let address = nobody();
    let spool = SpoolConfig { memory: 1 << 20, ..SpoolConfig::default() };
    let exporter = Exporter::start(&ExporterConfig { spool, ..live(&[format!("tcp://{address}")]) }).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    (0..200_000).for_each(|n| sink.record(&record(n, &dns)));
    sink.flush();
    let taken = sink.counters().records_queued;
    wait_until("the queue is empty", || counters(&exporter).records_dropped_spool + 40_000 > taken);
    let collector = Collector::listen(address, Arc::default());
    let heard = collector.heard();
    wait_until("there is room", || exporter.troubles()[0].is_none() && heard.count() > 0);
    wait_until("what was kept", || counters(&exporter).settled_records() == taken);
    // One more, from which the gap is seen.
    sink.record(&record(200_000, &dns));
    let (sunk, reports) = exporter.finish(vec![sink]);
    let sent = reports[0].counters;
    assert!(sent.records_dropped_spool > 0, "{sent:?}");
    let lost = sunk.records_dropped_queue + sent.records_dropped_spool;
    assert_eq!(sent.records_sent + lost, 200_001, "{sunk:?} {sent:?}");
    wait_until("the rest", || heard.count() == sent.records_sent);
    let records = heard.records.lock().unwrap();
    assert_eq!(records.len() as u64, sent.records_sent);
    // Its number tells how many are missing.
    assert_eq!(records.last_key_value().map(|(number, record)| (*number, record.0)), Some((200_000, 200_001)));
    drop(records);
    collector.kill();
}

#[test]
fn what_has_no_room_in_memory_goes_to_disk_and_comes_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let address = nobody();
    let spool = SpoolConfig { memory: 1 << 20, folder: Some(folder.path().to_owned()), ..SpoolConfig::default() };
    let exporter = Exporter::start(&ExporterConfig { spool, ..live(&[format!("tcp://{address}")]) }).unwrap();
    let mut sink = exporter.sink();
    sink.wait_when_full();
    let dns = dns(20);
    let files = || fs::read_dir(folder.path()).unwrap().count();
    (0..400_000).for_each(|n| sink.record(&record(n, &dns)));
    sink.flush();
    // Nobody waited for the collector: there is none.
    assert!(files() > 0);
    let collector = Collector::listen(address, Arc::default());
    let heard = collector.heard();
    wait_until("all of them", || heard.count() == 400_000);
    assert_eq!(heard.is_complete(400_000), 0);
    let (_, reports) = exporter.finish(vec![sink]);
    assert_eq!((reports[0].counters.records_sent, reports[0].counters.lost_records()), (400_000, 0));
    assert_eq!(files(), 0);
    collector.kill();
}

/// Of a destination that is not there when the export ends, the files are left, and are IPFIX files.
#[test]
fn what_is_left_at_the_end_is_in_files_that_anybody_reads() {
    for count in [1_000, 300_000] {
        let folder = tempfile::tempdir().unwrap();
        let spool = SpoolConfig { memory: 1 << 20, folder: Some(folder.path().to_owned()), ..SpoolConfig::default() };
        let exporter = Exporter::start(&ExporterConfig { spool, ..live(&[format!("tcp://{}", nobody())]) }).unwrap();
        let mut sink = exporter.sink();
        sink.wait_when_full();
        let dns = dns(20);
        (0..count).for_each(|n| sink.record(&record(n, &dns)));
        let (_, reports) = exporter.finish(vec![sink]);
        let sent = reports[0].counters;
        assert_eq!((sent.records_left_in_spool, sent.lost_records()), (count, 0));
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let mut session = Session::default();
        for name in names {
            // Each can be read for itself; together they are one sequence.
            let octets = fs::read(name).unwrap();
            Session::default().messages(&octets);
            session.messages(&octets);
        }
        assert!(session.records.iter().map(|record| record.0).eq(1..=count), "{count}");
    }
}

/// Nobody reads, for as long as it takes: capture goes on, memory is bounded, and others get everything.
#[test]
fn one_who_never_reads_harms_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = Collector::anywhere();
    let heard = collector.heard();
    let destinations = [listener.local_addr().unwrap(), nobody(), collector.address];
    let spool = SpoolConfig { memory: 4 << 20, ..SpoolConfig::default() };
    let destinations = destinations.map(|address| format!("tcp://{address}"));
    let exporter = Exporter::start(&ExporterConfig { spool, ..live(&destinations) }).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    let mut handed = 0;
    // In steps, so that the one who reads keeps up.
    while exporter.progress()[0].1.records_dropped_spool == 0 || exporter.progress()[1].1.records_dropped_spool == 0 {
        (handed..handed + 10_000).for_each(|n| sink.record(&record(n, &dns)));
        sink.flush();
        handed += 10_000;
        wait_until("the one who reads", || heard.count() == handed);
    }
    assert_eq!(heard.is_complete(handed), 0);
    let sunk = sink.finish();
    assert_eq!(sunk.records_dropped_queue, 0);
    let reports = exporter.finish_by(Some(std::time::Instant::now() + Duration::from_millis(500)));
    for report in &reports[..2] {
        let counters = report.counters;
        assert!(report.error.is_some() && counters.records_dropped_spool > 0, "{report:?}");
        assert_eq!(counters.settled_records(), handed, "{report:?}");
    }
    assert_eq!((reports[2].counters.records_sent, reports[2].counters.lost_records()), (handed, 0));
    collector.kill();
}

/// Lines are known one by one: those that arrived do not come again.
#[test]
fn lines_go_on_where_they_were_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = Exporter::start(&live(&[format!("json:tcp://{}", listener.local_addr().unwrap())])).unwrap();
    let mut sink = exporter.sink();
    sink.wait_when_full();
    let collector = thread::spawn(move || {
        let mut first = listener.accept().unwrap().0;
        let mut octets = vec![0; 100_000];
        first.read_exact(&mut octets).unwrap();
        // It says that it reads no more, and reads until then.
        first.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = first.read_to_end(&mut octets);
        (octets, read_all(listener.accept().unwrap().0))
    });
    let dns = dns(20);
    (0..50_000).for_each(|n| sink.record(&record(n, &dns)));
    let (_, reports) = exporter.finish(vec![sink]);
    let (first, second) = collector.join().unwrap();
    let whole = first.iter().rposition(|octet| *octet == b'\n').unwrap() + 1;
    let lines = [&first[..whole], &second].concat();
    let lines: Vec<&str> = std::str::from_utf8(&lines).unwrap().lines().collect();
    assert_eq!(lines.len(), 50_000);
    let is_of = |line: &str, n: u64| [',', '}'].iter().any(|end| line.contains(&format!("\"flowId\":{n}{end}")));
    assert!(lines.iter().zip(1..).all(|(line, n)| is_of(line, n)));
    assert_eq!(reports[0].counters.records_sent, 50_000);
}

/// A run that has time waits for a while, then says that it gave up, and loses nothing of what others get.
#[test]
fn a_run_of_files_gives_up_after_a_while() {
    let collector = Collector::anywhere();
    let heard = collector.heard();
    let config = to(&[format!("tcp://{}", nobody()), format!("tcp://{}", collector.address)]);
    let exporter = Exporter::start(&config).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    (0..1_000).for_each(|n| sink.record(&record(n, &dns)));
    let (_, reports) = exporter.finish(vec![sink]);
    assert!(reports[0].error.is_some() && reports[1].error.is_none(), "{reports:?}");
    assert_eq!((reports[0].counters.records_not_sent, reports[0].counters.connection_failures), (1_000, 6));
    wait_until("the other", || heard.count() == 1_000);
    collector.kill();
}

/// The collector gets what is new with each connection: templates first.
#[test]
fn each_connection_begins_with_templates() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = Exporter::start(&live(&[format!("tcp://{}", listener.local_addr().unwrap())])).unwrap();
    let mut sink = exporter.sink();
    let dns = dns(20);
    let mut numbers = Vec::new();
    for part in 0..3 {
        (10 * part..10 * part + 10).for_each(|n| sink.record(&record(n, &dns)));
        sink.flush();
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = Session::default();
        while session.records.len() < 10 {
            let mut message = vec![0; HEADER_LEN];
            stream.read_exact(&mut message).unwrap();
            let header = Header::parse_claim(&message).unwrap();
            message.resize(header.length.into(), 0);
            stream.read_exact(&mut message[HEADER_LEN..]).unwrap();
            session.message(&message);
        }
        numbers.push(session.numbers.unwrap());
        wait_until("it is known to have arrived", || counters(&exporter).records_sent == 10 * (part + 1));
    }
    // They go on from connection to connection.
    assert_eq!(numbers, [(0, 10), (10, 20), (20, 30)]);
    drop(exporter);
}

#[test]
fn who_was_there_and_asks_anew_loses_nothing() {
    let collector = Collector::anywhere();
    let heard: Arc<Heard> = collector.heard();
    let config = live(&[format!("tcp://{}", collector.address)]);
    let mut exporter = Exporter::start(&config).unwrap();
    let dns = dns(20);
    let mut sink = exporter.sink();
    sink.wait_when_full();
    for part in 0..5 {
        (part * 5_000..(part + 1) * 5_000).for_each(|n| sink.record(&record(n, &dns)));
        exporter.change(&config).unwrap();
    }
    let (_, reports) = exporter.finish(vec![sink]);
    wait_until("all of them", || heard.count() >= 25_000);
    assert_eq!(heard.is_complete(25_000), 0);
    assert_eq!(reports[0].counters.records_sent_again, 0);
    collector.kill();
}
