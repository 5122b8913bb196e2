// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lanes of live capture, on sources that do as they are told.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use weir_flow::{
    EndReason, FlowRecord, LinkType, Merged, Packet, PacketSource, RecordSink, SourceError, SourceState, Timestamp,
    ledger::Captured,
};
use weir_metering::{
    MeterConfig, Share,
    live::{Event, Lane, LiveSink, Progress, Running, Slot, Source},
};

/// Hands over so many packets, one with each poll; then ends, or has nothing.
struct Packets {
    count: u64,
    handed_over: u64,
    ends: bool,
}

impl Packets {
    fn source(count: u64, ends: bool) -> Source {
        Box::new(Self { count, handed_over: 0, ends })
    }
}

impl PacketSource for Packets {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        if self.handed_over == self.count {
            thread::park_timeout(Duration::from_millis(5));
            return if self.ends { Err(io::Error::other("gone").into()) } else { Ok(SourceState::Idle) };
        }
        self.handed_over += 1;
        // IPv4 and UDP, from 10.0.0.1 port 7 to 10.0.0.2 port 9; its time is wrong by some decades.
        let mut data = vec![0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        data.extend([0, 7, 0, 9, 0, 8, 0, 0]);
        let ts = Timestamp::from_secs(self.handed_over);
        visit(&[Packet { data: &data, wire_octets: 28, ts, interface: 1, link: LinkType::RAW, merged: Merged::NOT }]);
        Ok(SourceState::More)
    }

    fn captured(&mut self) -> Captured {
        Captured { offered_packets: self.count + 2, lost_ring_full: 2, ..Captured::default() }
    }
}

/// Keeps packets and end reason of records.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(u64, EndReason)>>>);

impl RecordSink for Kept {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.0.lock().unwrap().push((record.forward.packets, record.end_reason));
    }
}

impl LiveSink for Kept {
    type Counters = u64;

    fn every_second(&mut self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn capture_has_ended(&mut self) {}
}

/// A lane that runs, and what can be seen of it.
struct Seen {
    running: Running<Kept>,
    kept: Kept,
    slot: Arc<Slot<u64>>,
    stop: Arc<AtomicBool>,
    events: Arc<Mutex<Vec<String>>>,
}

/// Starts a lane; `again` are the sources that come after the first one.
fn start(first: Source, mut again: Vec<Source>, idle: Duration, stop: bool) -> Seen {
    let config = MeterConfig { flows: 64, app_flows: 0, idle_timeout: idle, ..MeterConfig::default() };
    let (kept, events) = (Kept::default(), Arc::<Mutex<Vec<String>>>::default());
    let reopen = Box::new(move || again.pop().ok_or_else(|| io::ErrorKind::NotFound.into()));
    let told = events.clone();
    let tell = Box::new(move |event: Event| told.lock().unwrap().push(format!("{event:?}")));
    let lane = Lane::new(&config, Share::ALL, kept.clone(), first, reopen, tell).unwrap();
    let (slot, stop) = (lane.slot(), Arc::new(AtomicBool::new(stop)));
    let running = lane.start("lane".to_owned(), None, stop.clone()).unwrap();
    Seen { running, kept, slot, stop, events }
}

impl Seen {
    fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < end, "{:?}", self.slot.read());
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn end(self) -> (Vec<(u64, EndReason)>, Progress<u64>) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.running.join();
        let kept = self.kept.0.lock().unwrap().clone();
        (kept, self.slot.read())
    }
}

#[test]
fn a_flow_ends_by_the_time_that_passes() {
    let seen = start(Packets::source(3, false), Vec::new(), Duration::from_millis(50), false);
    // Nothing comes any more, and timestamps are of 1970.
    seen.wait_until(|seen| !seen.kept.0.lock().unwrap().is_empty());
    let (kept, progress) = seen.end();
    assert_eq!(kept, [(3, EndReason::IDLE)]);
    assert_eq!((progress.taken_packets, progress.waiting_packets(), progress.closes()), (3, 0, true));
    assert_eq!((progress.sink, progress.flows, progress.is_capturing), (1, 0, false));
}

#[test]
fn a_source_that_ends_is_opened_again() {
    let again = vec![Packets::source(4, false)];
    let seen = start(Packets::source(3, true), again, Duration::from_secs(3600), false);
    seen.wait_until(|seen| seen.slot.read().taken_packets == 7);
    let events = seen.events.lock().unwrap().clone();
    assert!(events.len() == 2 && events[0].starts_with("Ended") && events[1] == "Back", "{events:?}");
    let (kept, progress) = seen.end();
    // It is one flow: the cache has stayed.
    assert_eq!(kept, [(7, EndReason::FORCED)]);
    assert_eq!((progress.interruptions, progress.captured.lost_packets(), progress.closes()), (1, 4, true));
}

#[test]
fn what_waits_is_taken_before_the_end() {
    let seen = start(Packets::source(1000, false), Vec::new(), Duration::from_secs(3600), true);
    let (kept, progress) = seen.end();
    assert_eq!(kept, [(1000, EndReason::FORCED)]);
    assert_eq!(
        (progress.captured.offered_packets, progress.taken_packets, progress.waiting_packets()),
        (1002, 1000, 0)
    );
}

#[test]
fn new_timeouts_hold_for_flows_that_are_there() {
    // Its timestamp makes the packet two seconds old, and there has to be time to adopt.
    let seen = start(Packets::source(1, false), Vec::new(), Duration::from_secs(6), false);
    seen.wait_until(|seen| seen.slot.read().flows == 1);
    seen.slot.adopt(MeterConfig { idle_timeout: Duration::from_secs(3600), ..MeterConfig::default() });
    // Longer than the flow would have lasted.
    let begin = Instant::now();
    seen.wait_until(|_| begin.elapsed() > Duration::from_secs(7));
    let (kept, _) = seen.end();
    assert_eq!(kept, [(1, EndReason::FORCED)]);
}
