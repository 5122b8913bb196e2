// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several workers on one source: the same records whatever their number, and no end but one.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

use std::{
    fs, panic,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use weir_flow::{
    BATCH, FlowRecord, LinkType, Merged, Packet, PacketSource, RecordSink, SharedOctets, SourceError, SourceState,
    Timestamp,
};
use weir_metering::{MeterConfig, Outcome, capture, meter};

/// Records as text.
#[derive(Default)]
struct Lines(Vec<String>);

impl RecordSink for Lines {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.0.push(format!("{record:?}"));
    }
}

/// What does not depend on the number of workers: records in the order of their text, and all else as text.
fn told(source: &mut (dyn PacketSource + Send), workers: usize) -> (Vec<String>, String) {
    let sinks = (0..workers).map(|_| Lines::default()).collect();
    let Outcome { ledger, sinks, span, damage, .. } = meter(source, &MeterConfig::default(), sinks).unwrap();
    assert!(ledger.closes(), "{ledger:?}");
    assert_eq!(sinks.len(), workers);
    let mut lines: Vec<_> = sinks.into_iter().flat_map(|sink| sink.0).collect();
    lines.sort();
    assert_eq!(lines.len() as u64, ledger.metered.records_created);
    (lines, format!("{ledger:?} {span:?} {damage:?}"))
}

/// All captures in a folder and the folders in it.
fn captures(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            captures(&path, found);
        } else if [".pcap", ".pcapng", ".gz"].iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
}

fn bundled() -> Vec<PathBuf> {
    let mut found = Vec::new();
    captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps"), &mut found);
    found.sort();
    assert!(found.len() >= 10, "captures are missing");
    found
}

#[test]
fn captures_give_the_same_records_with_any_number_of_workers() {
    let mut records = 0;
    for path in bundled() {
        let of = |workers| told(&mut *capture::open(path.to_str().unwrap()).unwrap(), workers);
        let one = of(1);
        for workers in [2, 3, 8] {
            assert_eq!(of(workers), one, "{}, {workers} workers", path.display());
        }
        records += one.0.len();
    }
    assert!(records > 100, "{records}");
}

#[test]
fn damage_is_told_and_what_was_before_it_is_metered() {
    let path = bundled().into_iter().find(|path| path.ends_with("dns.pcap")).unwrap_or_else(|| bundled()[0].clone());
    let whole = fs::read(path).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &whole[..whole.len() - 1]).unwrap();
    let of = |workers| told(&mut *capture::open(file.path().to_str().unwrap()).unwrap(), workers);
    let one = of(1);
    assert!(one.1.contains("Damaged") && !one.0.is_empty(), "{one:?}");
    assert_eq!(of(3), one);
}

/// A UDP datagram without payload from a host to one of its own.
fn frame(host: u16) -> Vec<u8> {
    let [high, low] = host.to_be_bytes();
    let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, high, low, 10, 1, high, low];
    [&[2; 12][..], &[0x08, 0x00], &ip, &[0x10, 0, 0x20, 0, 0, 8, 0, 0]].concat()
}

fn packet(frame: &[u8], ts: u64) -> Packet<'_> {
    let wire_octets = frame.len() as u32;
    Packet {
        data: frame,
        wire_octets,
        ts: Timestamp::from_nanos(ts),
        interface: 0,
        link: LinkType::ETHERNET,
        merged: Merged::NOT,
    }
}

/// A source of what a closure gives: host and time of the packets of a poll, `None` at the end.
struct Polls<F>(F);

impl<F: FnMut() -> Option<Vec<(u16, u64)>>> PacketSource for Polls<F> {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        let Some(sent) = (self.0)() else { return Ok(SourceState::End) };
        let frames: Vec<_> = sent.iter().map(|(host, ts)| (frame(*host), *ts)).collect();
        let packets: Vec<_> = frames.iter().map(|(frame, ts)| packet(frame, *ts)).collect();
        packets.chunks(BATCH).for_each(visit);
        Ok(SourceState::More)
    }
}

const SECOND: u64 = 1_000_000_000;

/// Time goes on by three seconds in the mean, and back by as much as a minute for some packets: flows of seven hosts become
/// idle at times that only the clock of all packets gives.
#[test]
fn packets_that_come_late_do_not_make_workers_differ() {
    let of = |workers| {
        let (mut state, mut polls) = (7_u64, 0_u64);
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let source = move || {
            polls += 1;
            let mut sent = || {
                let (host, late) = ((next() % 7) as u16, [0, 0, 0, next() % (60 * SECOND)][(next() % 4) as usize]);
                (host, (100 * SECOND + polls * 9 * SECOND + next() % (18 * SECOND)).saturating_sub(late))
            };
            (polls < 400).then(|| vec![sent(), sent(), sent()])
        };
        told(&mut Polls(source), workers)
    };
    let one = of(1);
    assert!(one.0.len() > 200, "{}", one.0.len());
    for workers in [2, 3, 8] {
        assert_eq!(of(workers), one, "{workers} workers");
    }
}

/// Timestamps of the year after, one by one and some in a row; clocks that are set back; silence; and a beginning that is
/// wrong, for half of them.
#[test]
fn wrong_timestamps_do_not_make_workers_differ() {
    const YEAR: u64 = 365 * 86_400;
    for first in [0, YEAR] {
        let of = |workers| {
            let mut at = (0..600_u64).map(move |i| {
                let wrong = match i {
                    0 => first,
                    _ if i % 17 == 5 || (200..210).contains(&i) => YEAR,
                    _ if i % 31 == 7 => 40,
                    _ => 0,
                };
                let silence = if i > 400 { 5_000 } else { 0 };
                ((i * i % 7) as u16, (2 * YEAR + i * 2 + silence + wrong) * SECOND)
            });
            told(
                &mut Polls(move || Some(at.by_ref().take(5).collect()).filter(|sent: &Vec<_>| !sent.is_empty())),
                workers,
            )
        };
        let one = of(1);
        assert!(one.1.contains(&format!("clock_steps_back: {}", 1 + first / YEAR)), "{}", one.1);
        for workers in [2, 3, 8] {
            assert_eq!(of(workers), one, "{workers} workers");
        }
    }
}

/// Tells somebody of each record.
struct Telling(Sender<()>);

impl RecordSink for Telling {
    fn record(&mut self, _: &FlowRecord<'_>) {
        let _ = self.0.send(());
    }
}

/// One flow is silent while another one, which is with another worker for most numbers of workers, goes on.
#[test]
fn an_idle_worker_closes_its_records_while_others_work() {
    let (tell, told): (_, Receiver<()>) = channel();
    let mut polls = 0;
    let source = move || {
        polls += 1;
        match polls {
            1 => Some((0..64).map(|host| (host, SECOND)).collect()),
            // As many as it takes to believe them.
            2 => Some(vec![(0, 100 * SECOND); 4]),
            3 => {
                // Those of the first poll, while the source goes on: nobody was told that it ends.
                let came = (0..64).take_while(|_| told.recv_timeout(Duration::from_secs(60)).is_ok()).count();
                assert_eq!(came, 64);
                Some(vec![(0, 101 * SECOND)])
            }
            _ => None,
        }
    };
    let sinks = (0..4).map(|_| Telling(tell.clone())).collect();
    let outcome = meter(&mut Polls(source), &MeterConfig::default(), sinks).unwrap();
    assert_eq!(outcome.ledger.metered.records_created, 65);
}

/// Panics at the first record, if it is to.
struct Failing(bool);

impl RecordSink for Failing {
    fn record(&mut self, _: &FlowRecord<'_>) {
        assert!(!self.0, "this sink fails");
    }
}

#[test]
fn a_worker_that_panics_ends_the_run() {
    for failing in [0, 2] {
        let mut second = 0;
        // Without end, unless the run is ended.
        let source = || {
            second += 40;
            Some((0..64).map(|host| (host, second * SECOND)).collect())
        };
        let sinks = (0..3).map(|index| Failing(index == failing)).collect();
        let run = panic::AssertUnwindSafe(|| meter(&mut Polls(source), &MeterConfig::default(), sinks));
        let cause = panic::catch_unwind(run).map(|_| ()).unwrap_err();
        assert_eq!(cause.downcast_ref(), Some(&"this sink fails"));
    }
}

/// A source that shares its memory and never waits: frames of hosts, in buffers of its own.
struct Buffers<F>(F);

impl<F: FnMut() -> Option<Vec<(Vec<u8>, u64)>>> PacketSource for Buffers<F> {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        self.poll_shared(&mut |batch, _| visit(batch))
    }

    fn poll_shared(
        &mut self,
        visit: &mut dyn FnMut(&[Packet<'_>], Option<&SharedOctets>),
    ) -> Result<SourceState, SourceError> {
        let Some(sent) = (self.0)() else { return Ok(SourceState::End) };
        let buffer: SharedOctets = sent.iter().flat_map(|(frame, _)| frame.iter().copied()).collect();
        let mut rest = &*buffer;
        let mut packets = Vec::new();
        for (frame, ts) in &sent {
            let (octets, behind) = rest.split_at(frame.len());
            packets.push(packet(octets, *ts));
            rest = behind;
        }
        packets.chunks(BATCH).for_each(|batch| visit(batch, Some(&buffer)));
        Ok(SourceState::More)
    }

    fn may_wait(&self) -> bool {
        false
    }
}

/// So many buffers that blocks go round, with packets of few and of many octets, more of them than a block takes, and some
/// dated ahead between the others.
#[test]
fn blocks_go_round_whatever_is_in_them() {
    let of = |workers| {
        let mut round = 0_u64;
        let source = move || {
            round += 1;
            let count = if round % 50 == 7 { 10_000 } else { 100 };
            let sent = |index: u64| {
                let mut frame = frame((index * 7 % 61) as u16);
                frame.resize(if round % 40 == 3 { 60_000 } else { 60 }, 0);
                let ahead = if round % 10 == 5 && index.is_multiple_of(3) { 3_600 * SECOND } else { 0 };
                (frame, 1_000 * SECOND + round * SECOND / 4 + index + ahead)
            };
            (round < 200).then(|| (0..count).map(sent).collect())
        };
        told(&mut Buffers(source), workers)
    };
    let one = of(1);
    assert!(one.0.len() >= 61, "{}", one.0.len());
    for workers in [2, 3, 8] {
        assert_eq!(of(workers), one, "{workers} workers");
    }
}

#[test]
fn a_source_or_a_worker_that_panics_ends_a_run_that_does_not_wait() {
    for (failing, source_fails) in [(0, false), (2, false), (9, true)] {
        let mut round = 0;
        // Without end, unless the run is ended.
        let source = move || {
            round += 1;
            assert!(!(source_fails && round == 100), "this source fails");
            Some((0..500).map(|host| (frame(host), (1_000 + round * 3) * SECOND)).collect())
        };
        let sinks = (0..3).map(|index| Failing(index == failing)).collect();
        let run = panic::AssertUnwindSafe(|| meter(&mut Buffers(source), &MeterConfig::default(), sinks));
        let cause = panic::catch_unwind(run).map(|_| ()).unwrap_err();
        let expected = if source_fails { "this source fails" } else { "this sink fails" };
        assert_eq!(cause.downcast_ref(), Some(&expected));
    }
}
