// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Metering of a source of packets by one or more workers.
//!
//! A single worker reads for itself. Several have a reader, which walks over the packets once and deals them out by their
//! addresses, so that no flow and no fragment is split. What it hands over are descriptors, in batches that go round:
//!
//! ```text
//!   source ─► reader ─► full batches ─► worker ─► its cache and sink
//!               ▲                          │
//!               └────── empty batches ◄────┘        one pair of queues for each worker
//! ```
//!
//! The queues take no lock; a thread that finds nothing to do spins a little, then sleeps. There are as many batches as fit
//! into a queue, so only two things are waited for: a batch with packets, by a worker, and an empty one, by the reader. So
//! a slow worker slows the reader, and what is on its way is bounded ([`reading_memory`]). After warm-up nothing is allocated.
//!
//! **Results do not depend on the number of workers.** Records expire by the clock, which is that of all packets of the
//! source, whoever's they are (`clock.rs`); so each descriptor says what the clock is at its packet, and each batch, to a
//! worker without packets too, what it was at its end. That holds as long as there is room: each worker has its share of the
//! flow table, of application state and of remembered fragments, and shares are full at different times than the whole would
//! be.

use std::{
    io,
    num::NonZeroUsize,
    panic,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread,
};

use weir_flow::{Packet, PacketSource, RecordSink, SharedOctets, SourceError, SourceState, Timestamp, ledger::Ledger};

use crate::{
    MeterConfig, Share, Worker,
    capture::BUFFER,
    clock::{Clock, Take},
    handover::{Batch, MAX_COPIED, MAX_PACKETS},
    shard::owner,
    worker::Held,
};

/// Batches of a worker: in the hands of the reader, on their way, in the hands of the worker. So many that workers do not
/// run out of packets while the reader waits for its turn on a processor that it shares with them.
const BATCHES: usize = 32;

/// Empty batches that a worker gives back at a time, unless it has nothing else to do: a reader that waits for one is woken
/// for several.
const RETURNED: usize = BATCHES / 2;

/// How a run over a source went.
#[derive(Debug)]
pub struct Outcome<S> {
    /// What became of every packet.
    pub ledger: Ledger,
    /// The sinks, one for each worker.
    pub sinks: Vec<S>,
    /// What the workers held: for whoever ends with this run, and need not give it back.
    pub held: Vec<Held>,
    /// Time of the earliest and the latest packet; `None` if there was none.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why the source ended early, if it did. All packets before the damage were metered.
    pub damage: Option<SourceError>,
}

/// Most octets of memory that it takes to read a capture and to hand its packets to `workers` workers.
///
/// A block of a pcapng file that is larger than a buffer comes on top of it while it is read: at most 32 MiB.
#[must_use]
pub const fn reading_memory(workers: NonZeroUsize) -> usize {
    /// A descriptor, and a time that it may need.
    const PACKET: usize = 32 + 8;
    if workers.get() == 1 {
        return 2 * BUFFER + Clock::OCTETS;
    }
    let batches = workers.get() * BATCHES;
    // A source that shares its memory has a buffer for each batch on its way; of another one, each batch has a copy, as it
    // has of packets that the clock held back.
    let (shared, copied) = ((BATCHES + 2) * BUFFER, batches * MAX_COPIED);
    batches * MAX_PACKETS * PACKET + shared + copied + Clock::OCTETS
}

/// Meters a source with one worker for each sink.
///
/// `progress` is told now and then how many packets were read.
///
/// # Errors
///
/// If the system has not so much memory to give as `config` asks for, or no thread; nothing was read then.
pub fn meter<S: RecordSink + Send>(
    source: &mut dyn PacketSource,
    config: &MeterConfig,
    sinks: Vec<S>,
    progress: &dyn Fn(u64),
) -> io::Result<Outcome<S>> {
    let of = NonZeroUsize::new(sinks.len()).unwrap_or(NonZeroUsize::MIN);
    let mut workers: Vec<_> =
        sinks.into_iter().map(|sink| Worker::new(config, Share { of }, sink)).collect::<io::Result<_>>()?;
    let mut seen = Seen { packets: 0, progress };
    let mut ledger = Ledger::default();
    let (damage, span, results) = match workers.as_mut_slice() {
        [worker] => {
            let damage = drain(&mut seen, |seen| {
                source.poll(&mut |batch| {
                    seen.packets += batch.len() as u64;
                    worker.packets(batch);
                })
            });
            (damage, worker.span(), workers.into_iter().map(Worker::end).collect())
        }
        _ => {
            let (damage, clock, results) = deal(source, workers, &mut seen)?;
            clock.count(&mut ledger.metered);
            (damage, clock.span(), results)
        }
    };
    let mut outcome = Outcome { ledger, sinks: Vec::new(), held: Vec::new(), span, damage };
    for (ledger, sink, held) in results {
        outcome.ledger.add(&ledger);
        outcome.sinks.push(sink);
        outcome.held.push(held);
    }
    Ok(outcome)
}

/// What was seen of a source.
struct Seen<'a> {
    packets: u64,
    progress: &'a dyn Fn(u64),
}

/// Polls until the source ends; gives why it ended early, if it did.
fn drain<'a>(
    seen: &mut Seen<'a>,
    mut poll: impl FnMut(&mut Seen<'a>) -> Result<SourceState, SourceError>,
) -> Option<SourceError> {
    loop {
        let state = poll(seen);
        (seen.progress)(seen.packets);
        match state {
            Ok(SourceState::End) => return None,
            Ok(SourceState::More | SourceState::Idle) => {}
            Err(error) => return Some(error),
        }
    }
}

/// What a worker leaves.
type Metered<S> = (Ledger, S, Held);

/// Reads on this thread and meters on one for each worker.
fn deal<S: RecordSink + Send>(
    source: &mut dyn PacketSource,
    workers: Vec<Worker<S>>,
    seen: &mut Seen<'_>,
) -> io::Result<(Option<SourceError>, Clock, Vec<Metered<S>>)> {
    thread::scope(|scope| {
        let (lanes, threads): (Vec<_>, Vec<_>) = workers
            .into_iter()
            .enumerate()
            .map(|(index, worker)| {
                let (lane, end) = lane();
                let builder = thread::Builder::new().name(format!("worker {index}"));
                Ok((lane, builder.spawn_scoped(scope, move || work(worker, &end))?))
            })
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let (damage, clock) = Dealer { lanes, clock: Clock::default(), now: Timestamp::ZERO }.read(source, seen);
        let results = threads.into_iter().map(|t| t.join().unwrap_or_else(|cause| panic::resume_unwind(cause)));
        Ok((damage, clock, results.collect()))
    })
}

/// The reader's end of the queues to and from a worker.
struct Lane {
    filling: Batch,
    /// Empty batches at hand.
    spare: Vec<Batch>,
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
}

/// The worker's end.
struct LaneEnd {
    full: Receiver<Batch>,
    empty: SyncSender<Batch>,
}

fn lane() -> (Lane, LaneEnd) {
    let ((full, full_end), (empty_end, empty)) = (sync_channel(BATCHES), sync_channel(BATCHES));
    let spare = (1..BATCHES).map(|_| Batch::new()).collect();
    (Lane { filling: Batch::new(), spare, full, empty }, LaneEnd { full: full_end, empty: empty_end })
}

/// The worker is gone: it has panicked.
#[derive(Clone, Copy)]
struct Gone;

impl Lane {
    /// Hands over what there is, and waits for an empty batch.
    fn hand_over(&mut self, clock: Timestamp) -> Result<(), Gone> {
        self.filling.end(clock);
        let empty = match self.spare.pop() {
            Some(empty) => empty,
            None => self.empty.recv().map_err(|_| Gone)?,
        };
        self.full.send(std::mem::replace(&mut self.filling, empty)).map_err(|_| Gone)
    }

    /// Waits until the worker has nothing to do.
    fn wait(&mut self) -> Result<(), Gone> {
        while self.spare.len() < BATCHES - 1 {
            self.spare.push(self.empty.recv().map_err(|_| Gone)?);
        }
        Ok(())
    }
}

/// The reader.
struct Dealer {
    lanes: Vec<Lane>,
    clock: Clock,
    /// What the clock said at the packet that was dealt out last.
    now: Timestamp,
}

impl Dealer {
    /// Deals out all packets of `source`. When this returns, the queues are closed.
    fn read(mut self, source: &mut dyn PacketSource, seen: &mut Seen<'_>) -> (Option<SourceError>, Clock) {
        let mut is_complete = Ok(());
        let damage = drain(seen, |seen| {
            let mut is_large = false;
            let state = source.poll_shared(&mut |batch, shared| {
                seen.packets += batch.len() as u64;
                is_large = shared.is_some_and(|shared| shared.len() > BUFFER);
                if is_complete.is_ok() {
                    is_complete = self.batch(batch, shared);
                }
            });
            if !matches!(state, Ok(SourceState::More | SourceState::Idle)) {
                is_complete = is_complete.and_then(|()| self.by_clock(Clock::finish));
            }
            // The source may take its time now. What it shared is not held on to either.
            is_complete = is_complete.and_then(|()| self.hand_over());
            if is_large {
                is_complete = is_complete.and_then(|()| self.lanes.iter_mut().try_for_each(Lane::wait));
            }
            // Without one of the workers there is no result: what has ended it is told when it is joined.
            if is_complete.is_ok() { state } else { Ok(SourceState::End) }
        });
        (damage, self.clock)
    }

    fn batch(&mut self, batch: &[Packet<'_>], shared: Option<&SharedOctets>) -> Result<(), Gone> {
        if self.clock.is_usual(batch) {
            return self.deal(batch, shared, |_, packet| packet.ts);
        }
        self.by_clock(|clock, take| clock.tell(batch, shared, take))
    }

    /// Deals out what the clock gives.
    #[cold]
    fn by_clock(&mut self, give: impl FnOnce(&mut Clock, &mut Take<'_>)) -> Result<(), Gone> {
        let mut clock = std::mem::take(&mut self.clock);
        let mut is_complete = Ok(());
        give(&mut clock, &mut |batch, shared, clocks| {
            let clock_at = |index: usize, _: &Packet<'_>| clocks.get(index).copied().unwrap_or_default();
            is_complete = is_complete.and_then(|()| self.deal(batch, shared, clock_at));
        });
        self.clock = clock;
        is_complete
    }

    /// Deals out packets. `clock_at` says what the clock is at each, or was before one that is out of order.
    fn deal(
        &mut self,
        batch: &[Packet<'_>],
        shared: Option<&SharedOctets>,
        clock_at: impl Fn(usize, &Packet<'_>) -> Timestamp,
    ) -> Result<(), Gone> {
        let workers = self.lanes.len();
        for (index, packet) in batch.iter().enumerate() {
            self.now = self.now.max(clock_at(index, packet));
            let Some(lane) = self.lanes.get_mut(owner(packet, workers)) else { continue };
            if !lane.filling.takes(packet, shared) {
                lane.hand_over(self.now)?;
            }
            lane.filling.add(packet, shared, self.now);
        }
        Ok(())
    }

    /// Hands over to all, also to those for which there is nothing but the time.
    fn hand_over(&mut self) -> Result<(), Gone> {
        let now = self.now;
        self.lanes.iter_mut().try_for_each(|lane| lane.hand_over(now))
    }
}

/// Meters what comes until the reader has no more.
fn work<S: RecordSink>(mut worker: Worker<S>, lane: &LaneEnd) -> Metered<S> {
    let mut empty = Vec::with_capacity(RETURNED);
    // If nobody takes them back, nobody reads any more, which the other queue says too.
    let give_back = |empty: &mut Vec<Batch>| empty.drain(..).for_each(|batch| drop(lane.empty.send(batch)));
    loop {
        let next = match lane.full.try_recv() {
            Err(TryRecvError::Empty) => {
                give_back(&mut empty);
                lane.full.recv().ok()
            }
            next => next.ok(),
        };
        let Some(mut batch) = next else { break };
        batch.play(&mut worker);
        empty.push(batch);
        if empty.len() >= RETURNED {
            give_back(&mut empty);
        }
    }
    worker.end()
}
