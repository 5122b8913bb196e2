// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metering of a capture file by one or more workers.
//!
//! Each worker reads the file itself, which is mapped into memory once, and meters its share of the packets. Shares go by
//! addresses, so no flow and no fragment is split, and every worker tells its clock the time of every packet: the records
//! are the same for any number of workers. A stream can be read once only, and so has one worker.

use std::{io, num::NonZeroUsize, panic, thread};

use weir_flow::{Packet, PacketSource, RecordSink, SourceError, SourceState, Timestamp, ledger::Ledger};

use crate::{MeterConfig, Share, Worker};

/// How a run over a file went.
#[derive(Debug)]
pub struct Outcome<S> {
    /// What became of every packet.
    pub ledger: Ledger,
    /// The sinks, one for each worker.
    pub sinks: Vec<S>,
    /// Time of the earliest and the latest packet; `None` if there was none.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Why the file ended early, if it did. All packets before the damage were metered.
    pub damage: Option<SourceError>,
}

/// Meters sources that yield the same packets, each with a worker of its own and its sink: a capture file opened as often
/// as there are to be workers. A stream can be read only once, so it has one worker.
///
/// `progress` is told now and then how many packets the first worker has gone through.
///
/// # Errors
///
/// If the system has not so much memory to give as `config` asks for; nothing was read then.
pub fn meter<S: RecordSink + Send>(
    sources: Vec<Box<dyn PacketSource + Send>>,
    config: &MeterConfig,
    sinks: Vec<S>,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Outcome<S>> {
    let of = NonZeroUsize::new(sinks.len()).unwrap_or(NonZeroUsize::MIN);
    let worker = |(index, sink)| Worker::new(config, Share { index, of }, sink);
    let workers: Vec<_> = sinks.into_iter().enumerate().map(worker).collect::<io::Result<_>>()?;
    let runs: Vec<_> = sources.into_iter().zip(workers).collect();
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = runs
            .into_iter()
            .enumerate()
            .map(|(index, (mut source, worker))| {
                scope.spawn(move || run(&mut *source, worker, if index == 0 { progress } else { &|_| () }))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|cause| panic::resume_unwind(cause))).collect()
    });
    let mut outcome = Outcome { ledger: Ledger::default(), sinks: Vec::new(), span: None, damage: None };
    for (ledger, sink, span, damage) in results {
        outcome.ledger.add(&ledger);
        outcome.sinks.push(sink);
        outcome.span = span;
        outcome.damage = outcome.damage.or(damage);
    }
    Ok(outcome)
}

type Run<S> = (Ledger, S, Option<(Timestamp, Timestamp)>, Option<SourceError>);

fn run<S: RecordSink>(source: &mut dyn PacketSource, mut worker: Worker<S>, progress: &dyn Fn(u64)) -> Run<S> {
    /// Batches between two reports of progress.
    const REPORT: u64 = 64;
    let mut span: Option<(Timestamp, Timestamp)> = None;
    let (mut packets, mut batches) = (0, 0_u64);
    let damage = loop {
        let state = source.poll(&mut |batch: &[Packet<'_>]| {
            for packet in batch {
                let (first, last) = span.unwrap_or((packet.ts, packet.ts));
                span = Some((first.min(packet.ts), last.max(packet.ts)));
            }
            packets += batch.len() as u64;
            worker.packets(batch);
        });
        batches += 1;
        if batches.is_multiple_of(REPORT) {
            progress(packets);
        }
        match state {
            Ok(SourceState::End) => break None,
            Ok(SourceState::More | SourceState::Idle) => {}
            Err(error) => break Some(error),
        }
    };
    progress(packets);
    let (ledger, sink) = worker.finish();
    (ledger, sink, span, damage)
}
