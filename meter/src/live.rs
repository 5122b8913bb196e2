// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Metering of interfaces: for each source of packets a thread, with a worker and a sink that are its own.
//!
//! Nothing is shared. A [`Lane`] publishes what it did about every second, in a [`Slot`] that others read; if somebody is just
//! reading, it publishes later rather than wait. Time is that of `present.rs`. A source whose interface is down or away waits
//! for it; one that ends by that is opened again, as often as it takes. The others go on.

use std::{
    io, panic,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_flow::{
    BATCH, Packet, PacketSource, RecordSink, SourceError, SourceState, Timestamp,
    ledger::{Captured, Ledger},
};

use crate::{
    MeterConfig, Share, Worker,
    present::{Present, Timing},
    worker::Held,
};

/// How often a lane publishes what it did.
const PUBLISH: Duration = Duration::from_secs(1);
/// How often a source that has ended is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// For how long an interface must have been refused until it is told.
const REFUSED_AT_LEAST: Duration = Duration::from_millis(1_900);
/// How often a lane without a source looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);
/// Longest time that a lane reads on when it shall end, for packets that wait.
const DRAIN: Duration = Duration::from_secs(1);

/// A sink of live capture.
pub trait LiveSink: RecordSink {
    /// What it counts.
    type Counters: Copy + Default + Send;

    /// Called about every second, and at the end: hands over what should not wait longer, and says what it has counted.
    fn every_second(&mut self) -> Self::Counters;

    /// Nothing more is captured: there is time to wait for room.
    fn capture_has_ended(&mut self);
}

/// A source of packets.
pub type Source = Box<dyn PacketSource + Send>;

/// Opens a source again. Errors of the kinds `NotFound` and `NetworkDown` say that its interface is not there, or not up.
pub type Reopen = Box<dyn FnMut() -> io::Result<Source> + Send>;

/// What happened to a source.
#[derive(Debug)]
pub enum Event {
    /// It ended; it is tried again.
    Ended(SourceError),
    /// Its interface is down or away; it waits for it.
    Gone,
    /// Its interface is there and up, and cannot be taken up again, for this reason. It is tried again.
    Refused(io::Error),
    /// It goes on.
    Back,
    /// The wall clock was set, by so many nanoseconds.
    ClockSet(i64),
}

/// Is told of events.
pub type Tell = Box<dyn FnMut(Event) + Send>;

/// What a lane did so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress<C> {
    /// What became of the packets.
    pub ledger: Ledger,
    /// What the layers below did with them; of all sources, one after the other.
    pub captured: Captured,
    /// Packets that the layers below handed over, each that was merged of several as one.
    pub taken_packets: u64,
    /// What the clocks did.
    pub timing: Timing,
    /// What the sink counted.
    pub sink: C,
    /// Flows in the cache.
    pub flows: u64,
    /// Times that the source ended, or its interface went down or away.
    pub interruptions: u64,
    /// Whether there is a source now, and its interface is up.
    pub is_capturing: bool,
    /// For how long the interface has been up, and could not be taken up again.
    pub refused_for: Option<Duration>,
    /// How often this was published.
    pub published: u64,
}

impl<C> Progress<C> {
    /// Packets that the layers below have taken, and neither handed over nor lost: they wait.
    #[must_use]
    pub fn waiting_packets(&self) -> u64 {
        let gone = self.taken_packets + self.captured.lost_packets();
        self.captured.offered_packets.saturating_sub(gone)
    }

    /// Whether every packet that was offered waits, was lost, or was handed over; and each of these was metered or ignored.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.taken_packets + self.captured.lost_packets() <= self.captured.offered_packets && self.ledger.closes()
    }
}

/// Where a lane's progress can be read, and where it is told of new settings.
#[derive(Debug, Default)]
pub struct Slot<C> {
    progress: Mutex<Progress<C>>,
    settings: Mutex<Option<MeterConfig>>,
}

impl<C: Copy> Slot<C> {
    /// As it was published last.
    pub fn read(&self) -> Progress<C> {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the lane take timeouts, `max_transactions` and `uniflow` of a configuration, within about a second.
    pub fn adopt(&self, config: MeterConfig) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    fn take_settings(&self) -> Option<MeterConfig> {
        self.settings.try_lock().ok()?.take()
    }

    /// False if somebody is just reading.
    fn publish(&self, progress: Progress<C>) -> bool {
        match self.progress.try_lock() {
            Ok(mut place) => *place = progress,
            Err(TryLockError::Poisoned(place)) => *place.into_inner() = progress,
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }

    fn publish_last(&self, progress: Progress<C>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// Whether an interface that is up cannot be taken up again.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    since: Option<Instant>,
    is_told: bool,
}

impl Refused {
    /// Takes notice of an answer: `None` if it was not refused. Gives what there is to tell.
    fn notice(&mut self, refusal: Option<io::Error>) -> Option<Event> {
        let Some(error) = refusal else {
            *self = Self::default();
            return None;
        };
        let since = self.since.get_or_insert_with(Instant::now);
        // What passes in a moment, while an interface is being made, is not worth a word.
        if self.is_told || since.elapsed() < REFUSED_AT_LEAST {
            return None;
        }
        self.is_told = true;
        Some(Event::Refused(error))
    }
}

/// A source with what meters it.
pub struct Lane<S: LiveSink> {
    worker: Worker<S>,
    source: Option<Source>,
    reopen: Reopen,
    tell: Tell,
    present: Present,
    begin: Instant,
    slot: Arc<Slot<S::Counters>>,
    /// Of sources that have ended.
    captured: Captured,
    taken_packets: u64,
    interruptions: u64,
    /// Whether the interface was down or away when it was looked at last.
    was_interrupted: bool,
    refused: Refused,
    published: u64,
}

impl<S: LiveSink> Lane<S> {
    /// A lane of `share`; `config` is that of the whole meter.
    ///
    /// # Errors
    ///
    /// If the system has not so much memory to give.
    pub fn new(
        config: &MeterConfig,
        share: Share,
        sink: S,
        source: Source,
        reopen: Reopen,
        tell: Tell,
    ) -> io::Result<Self> {
        Ok(Self {
            worker: Worker::new(config, share, sink)?,
            source: Some(source),
            reopen,
            tell,
            present: Present::new(wall_clock()),
            begin: Instant::now(),
            slot: Arc::default(),
            captured: Captured::default(),
            taken_packets: 0,
            interruptions: 0,
            was_interrupted: false,
            refused: Refused::default(),
            published: 0,
        })
    }

    /// Where its progress can be read, also when it has ended.
    #[must_use]
    pub fn slot(&self) -> Arc<Slot<S::Counters>> {
        self.slot.clone()
    }
}

impl<S: LiveSink + Send + 'static> Lane<S> {
    /// Starts a thread, on a core of that number if the system allows it. It meters until `stop`, then takes what waits in the
    /// source, a second long at most, and closes all records.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(self, name: String, core: Option<usize>, stop: Arc<AtomicBool>) -> io::Result<Running<S>> {
        let thread = thread::Builder::new().name(name).spawn(move || {
            if let Some(id) = core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            self.run(&stop)
        })?;
        Ok(Running(thread))
    }

    fn run(mut self, stop: &AtomicBool) -> (S, Held) {
        let mut published = self.begin;
        let mut tried = self.begin;
        self.publish();
        while !stop.load(Ordering::Relaxed) {
            if self.source.is_none() {
                thread::park_timeout(LOOK);
                self.tell_time();
                if tried.elapsed() >= RETRY {
                    tried = Instant::now();
                    self.try_again();
                }
            } else if !self.poll() {
                tried = Instant::now();
            }
            if published.elapsed() >= PUBLISH && self.publish() {
                published = Instant::now();
            }
        }
        self.drain();
        self.end()
    }

    /// Takes what is there. False if the source has ended.
    fn poll(&mut self) -> bool {
        let Self { worker, source: Some(source), present, begin, taken_packets, .. } = self else { return false };
        let polled = source.poll(&mut |packets| {
            present.goes_on(begin.elapsed());
            *taken_packets += packets.len() as u64;
            for batch in packets.chunks(BATCH) {
                let mut clocks = [Timestamp::ZERO; BATCH];
                clocks
                    .iter_mut()
                    .zip(batch)
                    .for_each(|(clock, packet): (_, &Packet<'_>)| *clock = present.of(packet.ts));
                worker.packets_at(batch, &clocks);
            }
        });
        match polled {
            Ok(SourceState::More) => return true,
            Ok(SourceState::Idle) => {
                self.tell_time();
                return true;
            }
            Ok(SourceState::End) => self.is_gone(SourceError::Io(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => self.is_gone(error),
        }
        false
    }

    #[cold]
    fn is_gone(&mut self, error: SourceError) {
        if let Some(mut source) = self.source.take() {
            self.captured.add(&source.captured());
            // One that was down when it went away is counted.
            self.interruptions += source.interruptions() + u64::from(!source.is_interrupted());
        }
        (self.tell)(Event::Ended(error));
    }

    fn try_again(&mut self) {
        let refusal = match (self.reopen)() {
            Ok(source) => {
                self.source = Some(source);
                self.was_interrupted = false;
                self.refused = Refused::default();
                return (self.tell)(Event::Back);
            }
            Err(error) => Some(error)
                .filter(|error| !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NetworkDown)),
        };
        if let Some(event) = self.refused.notice(refusal) {
            (self.tell)(event);
        }
    }

    /// What is due without packets.
    fn tell_time(&mut self) {
        self.present.goes_on(self.begin.elapsed());
        self.worker.tell(self.present.now());
    }

    /// Publishes what was done. False if somebody is just reading.
    fn publish(&mut self) -> bool {
        // Read one right after the other: between the first two there may be a pause, which is none of the wall clock's.
        self.present.goes_on(self.begin.elapsed());
        if let Some(set_by) = self.look_at_wall_clock() {
            (self.tell)(Event::ClockSet(set_by));
        }
        self.look_at_interface();
        if let Some(config) = self.slot.take_settings() {
            self.worker.adopt(&config);
        }
        let progress = self.progress();
        self.slot.publish(progress)
    }

    fn look_at_interface(&mut self) {
        let Some(source) = &self.source else { return };
        let is_interrupted = source.is_interrupted();
        if is_interrupted != self.was_interrupted {
            self.was_interrupted = is_interrupted;
            (self.tell)(if is_interrupted { Event::Gone } else { Event::Back });
        }
        if let Some(event) = self.refused.notice(source.refusal()) {
            (self.tell)(event);
        }
    }

    fn look_at_wall_clock(&mut self) -> Option<i64> {
        for _ in 0..3 {
            let before = self.begin.elapsed();
            let wall = wall_clock();
            let after = self.begin.elapsed();
            if after - before < Duration::from_millis(1) {
                self.present.goes_on(after);
                return self.present.look_at(wall);
            }
        }
        // Next time, on a machine that is less busy.
        None
    }

    fn progress(&mut self) -> Progress<S::Counters> {
        let captured = self.all_captured();
        let (more, is_up) = match &self.source {
            Some(source) => (source.interruptions(), !source.is_interrupted()),
            None => (0, false),
        };
        self.published += 1;
        Progress {
            ledger: self.worker.ledger(),
            captured,
            taken_packets: self.taken_packets,
            timing: self.present.timing,
            sink: self.worker.sink_mut().every_second(),
            flows: self.worker.flows() as u64,
            interruptions: self.interruptions + more,
            is_capturing: is_up,
            refused_for: self.refused.since.map(|since| since.elapsed()),
            published: self.published,
        }
    }

    /// Takes what waits in the source.
    fn drain(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < DRAIN && self.source.is_some() {
            // Where nothing waits, nothing need be waited for.
            let captured = self.all_captured();
            if captured.offered_packets <= self.taken_packets + captured.lost_packets() {
                break;
            }
            self.poll();
        }
    }

    /// What the layers below did, of all sources.
    fn all_captured(&mut self) -> Captured {
        let mut captured = self.captured;
        if let Some(source) = &mut self.source {
            captured.add(&source.captured());
        }
        captured
    }

    fn end(mut self) -> (S, Held) {
        self.worker.sink_mut().capture_has_ended();
        let mut progress = self.progress();
        // What came since stays in the kernel.
        drop(self.source);
        let (ledger, mut sink, held) = self.worker.end();
        progress = Progress { ledger, flows: 0, is_capturing: false, sink: sink.every_second(), ..progress };
        self.slot.publish_last(progress);
        (sink, held)
    }
}

/// A lane on its thread.
#[derive(Debug)]
pub struct Running<S>(JoinHandle<(S, Held)>);

impl<S> Running<S> {
    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it did.
    #[must_use]
    pub fn join(self) -> (S, Held) {
        self.0.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::ZERO.after(since)
}
