// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Metering of a source of packets by one or more workers.
//!
//! A single worker reads for itself. Of several, whoever has nothing to do reads for all ([`crate::reader`]): it walks over
//! the packets once, and notes of each whose it is by its addresses, so that no flow and no fragment is split.
//!
//! **Results do not depend on the number of workers.** Records expire by the clock, which is that of all packets of the
//! source, whoever's they are (`clock.rs`); so each packet comes with what the clock is at it, and a worker without packets is
//! told the time too. That holds as long as there is room: each worker has its share of the flow table, of application state
//! and of remembered fragments, and shares are full at different times than the whole would be.

use std::{io, num::NonZeroUsize, panic, sync::Mutex, thread};

use weir_flow::{PacketSource, RecordSink, SourceError, SourceState, Timestamp, ledger::Ledger};

use crate::{
    MeterConfig, Share, Worker,
    capture::BUFFER,
    clock::Clock,
    handover::Owner,
    reader::{self, Reader, lock, work},
    worker::Held,
};

/// How a run over a source went.
#[derive(Debug)]
pub struct Outcome<S> {
    /// What became of every packet.
    pub ledger: Ledger,
    /// The sinks, one for each worker.
    pub sinks: Vec<S>,
    /// What the workers held: for whoever ends with this run, and need not give it back.
    pub held: Vec<Held>,
    /// The earliest and the latest timestamp, those left out that are far from the times around them; `None` if there was no
    /// packet.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why the source ended early, if it did. All packets before the damage were metered.
    pub damage: Option<SourceError>,
}

/// Most octets of memory that it takes to read a capture and to hand its packets to `workers` workers.
///
/// A block of a pcapng file that is larger than a buffer comes on top of it while it is read: at most 32 MiB.
#[must_use]
pub const fn reading_memory(workers: NonZeroUsize) -> usize {
    if workers.get() == 1 { 2 * BUFFER + Clock::OCTETS } else { reader::OCTETS }
}

/// Meters a source with one worker for each sink.
///
/// # Errors
///
/// If the system has not so much memory to give as `config` asks for, or no thread; nothing was read then.
pub fn meter<S: RecordSink + Send>(
    source: &mut (dyn PacketSource + Send),
    config: &MeterConfig,
    sinks: Vec<S>,
) -> io::Result<Outcome<S>> {
    let of = NonZeroUsize::new(sinks.len()).unwrap_or(NonZeroUsize::MIN);
    let workers: Vec<_> =
        sinks.into_iter().map(|sink| Worker::new(config, Share { of }, sink)).collect::<io::Result<_>>()?;
    if of.get() == 1 { Ok(meter_alone(source, workers)) } else { share(source, workers) }
}

impl<S> Outcome<S> {
    fn new(workers: Vec<(Ledger, S, Held)>, span: Option<(Timestamp, Timestamp)>, damage: Option<SourceError>) -> Self {
        let mut outcome = Self { ledger: Ledger::default(), sinks: Vec::new(), held: Vec::new(), span, damage };
        for (ledger, sink, held) in workers {
            outcome.ledger.add(&ledger);
            outcome.sinks.push(sink);
            outcome.held.push(held);
        }
        outcome
    }
}

/// Reads and meters on this thread.
fn meter_alone<S: RecordSink>(source: &mut dyn PacketSource, mut workers: Vec<Worker<S>>) -> Outcome<S> {
    let damage = loop {
        match source.poll(&mut |batch| workers.iter_mut().for_each(|worker| worker.packets(batch))) {
            Ok(SourceState::End) => break None,
            Ok(SourceState::More | SourceState::Idle) => {}
            Err(error) => break Some(error),
        }
    };
    let span = workers.first().and_then(Worker::span);
    Outcome::new(workers.into_iter().map(Worker::end).collect(), span, damage)
}

/// Meters on one thread for each worker, which read in turn.
fn share<S: RecordSink + Send>(
    source: &mut (dyn PacketSource + Send),
    workers: Vec<Worker<S>>,
) -> io::Result<Outcome<S>> {
    let number = Owner::try_from(workers.len()).map_err(|_| io::Error::other("too many workers"))?;
    let (reader, lanes) = Reader::new(source, number);
    let (turn, gate) = (Mutex::new(reader), Mutex::new(()));
    let workers = thread::scope(|scope| {
        // Nobody reads before all are there.
        let closed = gate.lock();
        let threads = workers.into_iter().zip(lanes).zip(0..).map(|((mut worker, lane), owner): (_, Owner)| {
            let (turn, gate) = (&turn, &gate);
            let work = move || {
                drop(gate.lock());
                work(&mut worker, owner, lane, turn);
                worker.end()
            };
            thread::Builder::new().name(format!("worker {owner}")).spawn_scoped(scope, work)
        });
        let threads: io::Result<Vec<_>> = threads.collect();
        if threads.is_err() {
            lock(&turn).end();
        }
        drop(closed);
        let join =
            |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
        threads.map(|threads| threads.into_iter().map(join).collect())
    })?;
    let Reader { clock, damage, .. } = &mut *lock(&turn);
    let mut outcome = Outcome::new(workers, clock.span(), damage.take());
    clock.count(&mut outcome.ledger.metered);
    Ok(outcome)
}
