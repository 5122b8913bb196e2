// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine: runs the detectors over a stream of records, on event time, each one fenced off from the others.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{Deserialize, Serialize};
use weir_flow::{FlowRecord, RecordSink, Timestamp, app::AppFields};

use crate::{
    alert::{Alert, AlertState},
    clock::{ClockConfig, EventClock, Verdict},
    detector::{Activity, Detector},
    dns_amplification::{self, DnsAmplification},
    horizontal_scan::{self, HorizontalScan},
    report::AlertSink,
    vertical_scan::{self, VerticalScan},
};

/// Parameters of the analysis; the sections of its part of the configuration file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The event clock.
    pub clock: ClockConfig,
    /// Amplification, of DNS above all.
    pub dns_amplification: dns_amplification::Config,
    /// Horizontal and block scans.
    pub horizontal_scan: horizontal_scan::Config,
    /// Vertical scans.
    pub vertical_scan: vertical_scan::Config,
}

impl Config {
    /// The detectors that are enabled, in the order of their names.
    #[must_use]
    pub fn detectors(&self) -> Vec<Box<dyn Detector>> {
        let mut detectors: Vec<Box<dyn Detector>> = Vec::new();
        if self.dns_amplification.enabled {
            detectors.push(Box::new(DnsAmplification::new(&self.dns_amplification)));
        }
        if self.horizontal_scan.enabled {
            detectors.push(Box::new(HorizontalScan::new(&self.horizontal_scan)));
        }
        if self.vertical_scan.enabled {
            detectors.push(Box::new(VerticalScan::new(&self.vertical_scan)));
        }
        detectors
    }
}

weir_flow::counters! {
    /// What the engine did with records. `records = judged + without_packets + off_wall + off_clock`, and records held back
    /// by the clock are in none but the first.
    pub struct EngineCounters {
        #[doc = "records handed to the engine"]
        pub records,
        #[doc = "records handed to the detectors"]
        pub judged,
        #[doc = "records without packets in either direction: later transactions of packets that were counted before"]
        pub without_packets,
        #[doc = "records ignored because they ended too far from the wall clock"]
        pub off_wall,
        #[doc = "records ignored because they ended too far from event time and no others agreed with them"]
        pub off_clock,
        #[doc = "times that event time was set anew because the stream had moved"]
        pub clock_moves,
        #[doc = "ticks of event time"]
        pub ticks,
        #[doc = "alerts handed to the sink"]
        pub alerts,
    }
}

/// What one detector did, and how it is.
#[derive(Clone, Debug)]
pub struct DetectorStatus {
    /// Its name.
    pub slug: &'static str,
    /// False after a panic.
    pub running: bool,
    /// Entries of state that it holds.
    pub entries: usize,
    /// Its counters.
    pub activity: Activity,
}

struct Seat {
    slug: &'static str,
    /// `None` after a panic.
    detector: Option<Box<dyn Detector>>,
    activity: Activity,
    /// What the detector itself had counted when it panicked.
    last: Activity,
}

/// A record held back by the clock. Elements that no detector reads are left out.
struct Held {
    record: FlowRecord<'static>,
    app: Option<AppFields>,
}

/// Runs the detectors. Records go in through [`RecordSink`], in any order of their times that the clock forgives.
pub struct Engine {
    seats: Vec<Seat>,
    clock: EventClock,
    tick_secs: u64,
    ticked: Timestamp,
    held: VecDeque<Held>,
    sink: Box<dyn AlertSink>,
    alerts: Vec<Alert>,
    counters: EngineCounters,
}

impl Engine {
    /// An engine with the enabled detectors, whose alerts go to `sink`.
    #[must_use]
    pub fn new(config: &Config, sink: Box<dyn AlertSink>) -> Self {
        Self::with_detectors(config.clock, config.detectors(), sink)
    }

    /// An engine with these detectors.
    #[must_use]
    pub fn with_detectors(clock: ClockConfig, detectors: Vec<Box<dyn Detector>>, sink: Box<dyn AlertSink>) -> Self {
        let seats = detectors
            .into_iter()
            .map(|d| Seat {
                slug: d.slug(),
                detector: Some(d),
                activity: Activity::default(),
                last: Activity::default(),
            })
            .collect();
        Self {
            seats,
            clock: EventClock::new(clock),
            tick_secs: u64::from(clock.tick.as_secs()).max(1),
            ticked: Timestamp::ZERO,
            held: VecDeque::new(),
            sink,
            alerts: Vec::new(),
            counters: EngineCounters::default(),
        }
    }

    /// Tells the wall clock, for live input; `None`, the default, for files.
    pub const fn set_wall_clock(&mut self, wall: Option<Timestamp>) {
        self.clock.set_wall(wall);
    }

    /// Advances event time while the stream is silent, so that attacks end. For live input, from a timer.
    ///
    /// Does nothing before the first record.
    pub fn tick(&mut self, now: Timestamp) {
        if self.clock.is_set() {
            self.advance(now);
        }
    }

    /// The input is over: every attack is ended, and the engine is ready for another input.
    pub fn finish(&mut self) {
        self.refute();
        self.end();
        self.clock.reset();
        self.sink.finish();
    }

    /// Event time; the epoch before the first record.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the engine did.
    #[must_use]
    pub const fn counters(&self) -> &EngineCounters {
        &self.counters
    }

    /// What the detectors did, in the order in which they run.
    #[must_use]
    pub fn status(&self) -> Vec<DetectorStatus> {
        self.seats
            .iter()
            .map(|seat| {
                let mut activity = seat.activity;
                activity.add(&seat.detector.as_ref().map_or(seat.last, |d| d.activity()));
                DetectorStatus {
                    slug: seat.slug,
                    running: seat.detector.is_some(),
                    entries: seat.detector.as_ref().map_or(0, |d| d.entries()),
                    activity,
                }
            })
            .collect()
    }

    /// Calls each detector that still runs. One that panics is disabled; what it had found so far is reported.
    fn each(&mut self, mut call: impl FnMut(&mut dyn Detector, &mut Activity, &mut Vec<Alert>)) {
        for seat in &mut self.seats {
            let Some(detector) = &mut seat.detector else { continue };
            let from = self.alerts.len();
            let (activity, alerts) = (&mut seat.activity, &mut self.alerts);
            // The detector is not used again after a panic; a vector and counters are whole after every step.
            let outcome = catch_unwind(AssertUnwindSafe(|| call(detector.as_mut(), activity, alerts)));
            for alert in self.alerts.iter().skip(from) {
                match alert.state {
                    AlertState::New => seat.activity.alerts_new += 1,
                    AlertState::Update => seat.activity.alerts_update += 1,
                    AlertState::Ended => seat.activity.alerts_ended += 1,
                }
            }
            if outcome.is_err() {
                seat.activity.panics += 1;
                // Its state may be half changed: asking it or dropping it may panic again.
                let detector = seat.detector.take();
                seat.last = catch_unwind(AssertUnwindSafe(|| {
                    let activity = detector.as_ref().map(|d| d.activity()).unwrap_or_default();
                    drop(detector);
                    activity
                }))
                .unwrap_or_default();
            }
        }
        for alert in self.alerts.drain(..) {
            self.counters.alerts += 1;
            self.sink.alert(&alert);
        }
    }

    /// Moves event time, and ticks if a boundary was crossed.
    fn advance(&mut self, to: Timestamp) {
        self.clock.advance(to);
        let boundary = self.clock.now().as_secs() / self.tick_secs * self.tick_secs;
        let boundary = Timestamp::from_secs(boundary);
        if boundary > self.ticked {
            self.ticked = boundary;
            self.counters.ticks += 1;
            self.each(|detector, _, alerts| detector.tick(boundary, alerts));
        }
    }

    fn judge(&mut self, record: &FlowRecord<'_>, end: Timestamp) {
        self.advance(end);
        self.counters.judged += 1;
        let now = self.clock.now();
        self.each(|detector, activity, alerts| {
            activity.records_seen += 1;
            detector.record(record, now, alerts);
        });
    }

    fn end(&mut self) {
        let now = self.clock.now();
        self.each(|detector, _, alerts| detector.finish(now, alerts));
        self.ticked = Timestamp::ZERO;
    }

    fn refute(&mut self) {
        self.clock.refute();
        self.counters.off_clock += self.held.len() as u64;
        self.held.clear();
    }

    fn hold(&mut self, record: &FlowRecord<'_>) {
        self.held.push_back(Held { record: detached(record), app: record.app.map(|app| app.to_owned()) });
    }
}

/// The record without what it borrows.
fn detached(record: &FlowRecord<'_>) -> FlowRecord<'static> {
    FlowRecord {
        key: record.key,
        forward: record.forward,
        reverse: record.reverse,
        flow_id: record.flow_id,
        end_reason: record.end_reason,
        vlan: record.vlan,
        class_of_service: record.class_of_service,
        ingress_interface: record.ingress_interface,
        egress_interface: record.egress_interface,
        icmp_type_code: record.icmp_type_code,
        app: None,
        statistics: None,
        extra: &[],
        origin: record.origin,
    }
}

/// Time of the latest packet; `None` if there is none.
fn end_of(record: &FlowRecord<'_>) -> Option<Timestamp> {
    match (record.forward.packets, record.reverse.packets) {
        (0, 0) => None,
        (_, 0) => Some(record.forward.last),
        (0, _) => Some(record.reverse.last),
        _ => Some(record.forward.last.max(record.reverse.last)),
    }
}

impl RecordSink for Engine {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self.counters.records += 1;
        let Some(end) = end_of(record) else {
            self.counters.without_packets += 1;
            return;
        };
        match self.clock.judge(end) {
            Verdict::Now => {
                self.refute();
                self.judge(record, end);
            }
            Verdict::OffWall => self.counters.off_wall += 1,
            Verdict::Hold => self.hold(record),
            Verdict::HoldAlone => {
                self.counters.off_clock += self.held.len() as u64;
                self.held.clear();
                self.hold(record);
            }
            Verdict::Moved(to) => {
                self.hold(record);
                self.counters.clock_moves += 1;
                // Forwards, time passes and what is idle ends by itself. Backwards is another input.
                if to < self.clock.now() {
                    self.end();
                }
                self.clock.set(to);
                for held in std::mem::take(&mut self.held) {
                    let record = FlowRecord { app: held.app.as_ref().map(AppFields::borrow), ..held.record };
                    if let Some(end) = end_of(&record) {
                        self.judge(&record, end);
                    }
                }
            }
        }
    }
}
