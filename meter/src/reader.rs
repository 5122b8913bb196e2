// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Reading for several workers: whoever has nothing to do reads for all.
//!
//! ```text
//!   source ─► reader, in turn one of the workers ─► blocks ─► all workers, each takes what is its own
//!                 ▲                                               │
//!                 └───────────── blocks that all are done with ◄──┘
//! ```
//!
//! A block goes to every worker through a queue of its own. There are as many blocks as fit into a queue, so what is on its
//! way is bounded, and only two things are waited for: a block, by a worker, and that a block is done with, by the reader.
//! The turn is a lock that nobody waits for, but to end reading when a worker has panicked; if the source waits then, so long.
//! After warm-up nothing is allocated.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{Ordering, fence},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
};

use weir_flow::{Packet, PacketSource, RecordSink, SharedOctets, SourceError, SourceState, Timestamp};

use crate::{
    Worker,
    capture::BUFFER,
    clock::{Clock, Take, later},
    handover::{Block, MAX_COPIED, Owner},
    shard::owner,
};

/// Blocks: so many that workers do not run out of them, so few that their memory stays in the caches.
const BLOCKS: usize = 16;

/// Blocks that a reader reads in its turn, if reading takes no waiting.
const TURN: usize = 4;

/// How often a worker looks for a block before it goes to sleep: about as long as it takes to read one.
const PATIENCE: usize = 100;

/// Most octets of memory that it takes to read for several workers, but for a block of a pcapng file that is larger than a buffer.
pub const OCTETS: usize = {
    // A source that shares its memory has a buffer for each block on its way; of another one, each block has a copy, as it
    // has of packets that the clock held back.
    let (shared, copied) = ((BLOCKS + 2) * BUFFER, BLOCKS * MAX_COPIED);
    BLOCKS * Block::OCTETS + shared + copied + Clock::OCTETS
};

/// The turn to read: the source, and all that goes round.
pub struct Reader<'a> {
    source: &'a mut (dyn PacketSource + Send),
    /// The clock of all packets.
    pub clock: Clock,
    /// What it said at the packet that was handed over last.
    now: Timestamp,
    /// Why the source ended early, if it did.
    pub damage: Option<SourceError>,
    filling: Arc<Block>,
    /// The other blocks, those first that were handed over last: their memory is in the caches. Of those that are free,
    /// nobody else has a share.
    others: Vec<Arc<Block>>,
    /// Empty: nothing is read any more.
    lanes: Vec<SyncSender<Arc<Block>>>,
    done: Receiver<()>,
    workers: Owner,
}

/// A worker's end of the queues.
pub struct Lane {
    // First: what is still in it is let go before the reader is told.
    blocks: Receiver<Arc<Block>>,
    done: Done,
}

/// Tells the reader, if it waits, that a worker is done with a block.
struct Done(SyncSender<()>);

impl Done {
    fn tell(&self) {
        // That the block is free is seen by whoever takes the note that may be there already.
        fence(Ordering::SeqCst);
        // If there is a note already, the reader has not looked since.
        let _ = self.0.try_send(());
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.tell();
    }
}

/// A worker is gone: it has panicked.
#[derive(Clone, Copy)]
struct Gone;

/// Takes what waits for the worker that is the reader; false if nothing does.
type Relieve<'a> = &'a mut dyn FnMut() -> bool;

impl<'a> Reader<'a> {
    /// A reader for so many workers, and their ends of the queues.
    pub fn new(source: &'a mut (dyn PacketSource + Send), workers: Owner) -> (Self, Vec<Lane>) {
        let (done_end, done) = sync_channel(1);
        let (lanes, ends) = (0..workers)
            .map(|_| {
                let (lane, blocks) = sync_channel(BLOCKS);
                (lane, Lane { blocks, done: Done(done_end.clone()) })
            })
            .unzip();
        let mut blocks = (0..BLOCKS).map(|_| Arc::new(Block::default()));
        let (filling, others) = (blocks.next().unwrap_or_default(), blocks.collect());
        let (clock, now) = (Clock::default(), Timestamp::ZERO);
        (Self { source, clock, now, damage: None, filling, others, lanes, done, workers }, ends)
    }

    /// Reads nothing any more: workers end when they have taken what is on its way.
    pub fn end(&mut self) {
        self.lanes.clear();
    }

    /// Reads on, and hands over what there is.
    fn read(&mut self, relieve: Relieve<'_>) {
        let turn = if self.source.may_wait() { 1 } else { TURN };
        for _ in 0..turn {
            if self.lanes.is_empty() {
                return;
            }
            match self.poll(relieve) {
                Ok(SourceState::More | SourceState::Idle) => {}
                // Without one of the workers there is no result: what has ended it is told when it is joined.
                Ok(SourceState::End) | Err(Gone) => self.end(),
            }
        }
    }

    /// Hands over what is at hand, or comes.
    fn poll(&mut self, relieve: Relieve<'_>) -> Result<SourceState, Gone> {
        let Self { source, clock, now, damage, filling, others, lanes, done, workers } = self;
        let mut way = Way { workers: *workers, now, filling, others, lanes, done, relieve };
        let mut is_large = false;
        let mut is_complete = Ok(());
        let state = source.poll_shared(&mut |batch, shared| {
            is_large = shared.is_some_and(|shared| shared.len() > BUFFER);
            if is_complete.is_err() {
                // There will be no result.
            } else if let Some(offset) = clock.go_on_with(batch) {
                is_complete = way.deal(batch, shared, |packet| later(packet.ts, offset));
            } else {
                // All of it as copies: a block is either that or shared, and what was held back is one.
                is_complete = way.deal_by_clock(|take| clock.tell(batch, None, take));
            }
        });
        if !matches!(state, Ok(SourceState::More | SourceState::Idle)) {
            is_complete = is_complete.and_then(|()| way.deal_by_clock(|take| clock.finish(take)));
        }
        is_complete?;
        // The source may take its time now. What it shared is not held on to either, if that is more than was announced.
        way.hand_over()?;
        if is_large {
            way.wait_for_all();
        }
        Ok(state.unwrap_or_else(|error| {
            *damage = Some(error);
            SourceState::End
        }))
    }
}

/// The way of blocks from the reader to the workers and back.
struct Way<'a, 'b> {
    workers: Owner,
    now: &'a mut Timestamp,
    filling: &'a mut Arc<Block>,
    others: &'a mut Vec<Arc<Block>>,
    lanes: &'a [SyncSender<Arc<Block>>],
    done: &'a Receiver<()>,
    relieve: Relieve<'b>,
}

impl Way<'_, '_> {
    /// Takes packets; hands over whenever a block is full. `clock_at` says what the clock is at each, in their order, or was
    /// before one that is out of order.
    fn deal(
        &mut self,
        mut packets: &[Packet<'_>],
        shared: Option<&SharedOctets>,
        mut clock_at: impl FnMut(&Packet<'_>) -> Timestamp,
    ) -> Result<(), Gone> {
        loop {
            let (now, workers) = (&mut *self.now, self.workers);
            let told = |packet: &Packet<'_>| {
                *now = (*now).max(clock_at(packet));
                (owner(packet, workers), *now)
            };
            let taken = Arc::get_mut(self.filling).map_or(0, |block| block.fill(packets, shared, told));
            packets = packets.get(taken..).unwrap_or_default();
            if packets.is_empty() {
                return Ok(());
            }
            self.hand_over()?;
        }
    }

    /// Takes what the clock gives.
    #[cold]
    fn deal_by_clock(&mut self, give: impl FnOnce(&mut Take<'_>)) -> Result<(), Gone> {
        let mut is_complete = Ok(());
        give(&mut |packets, shared, clocks| {
            let mut clocks = clocks.iter();
            let clock_at = |_: &Packet<'_>| clocks.next().copied().unwrap_or_default();
            is_complete = is_complete.and_then(|()| self.deal(packets, shared, clock_at));
        });
        is_complete
    }

    /// Hands over to all, also to those for which there is nothing but the time; goes on with an empty block.
    fn hand_over(&mut self) -> Result<(), Gone> {
        if let Some(block) = Arc::get_mut(self.filling) {
            block.end(*self.now);
        }
        for lane in self.lanes {
            // There is room: a queue holds all blocks.
            lane.try_send(Arc::clone(self.filling)).map_err(|_| Gone)?;
        }
        loop {
            if let Some(free) = self.others.iter_mut().position(|other| Arc::get_mut(other).is_some()) {
                let mut next = self.others.remove(free);
                Arc::get_mut(&mut next).map(Block::clear);
                self.others.insert(0, mem::replace(self.filling, next));
                return Ok(());
            }
            self.wait();
        }
    }

    /// Waits until a worker is done with a block, unless it is the reader's own turn to be.
    fn wait(&mut self) {
        if !(self.relieve)() {
            // It does not fail: the reader is a worker, and has an end of it.
            let _ = self.done.recv();
            fence(Ordering::SeqCst);
        }
    }

    /// Waits until all workers are done with all blocks, and lets go of what these hold.
    fn wait_for_all(&mut self) {
        while !self.others.iter_mut().all(|other| Arc::get_mut(other).map(Block::clear).is_some()) {
            self.wait();
        }
    }
}

/// Takes the turn, waiting for it, also from a worker that has panicked in it.
pub fn lock<'a, 'b>(turn: &'a Mutex<Reader<'b>>) -> MutexGuard<'a, Reader<'b>> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Meters what is a worker's own until there is no more, and reads in turn.
pub fn work<S: RecordSink>(worker: &mut Worker<S>, owner: Owner, lane: Lane, turn: &Mutex<Reader<'_>>) {
    /// Ends reading when a worker leaves: if it has panicked, others would wait for what it was to read.
    struct Leaving<'a, 'b>(&'a Mutex<Reader<'b>>);
    impl Drop for Leaving<'_, '_> {
        fn drop(&mut self) {
            lock(self.0).end();
        }
    }
    let _leaving = Leaving(turn);
    // Its lane is gone before that: whoever reads may wait for what is in it.
    lane.work(worker, owner, turn);
}

impl Lane {
    fn work<S: RecordSink>(self, worker: &mut Worker<S>, owner: Owner, turn: &Mutex<Reader<'_>>) {
        let mut play = |block: Arc<Block>| {
            block.play(owner, worker);
            drop(block);
            self.done.tell();
        };
        while let Some(next) = self.next(turn, &mut play) {
            play(next);
        }
    }

    /// The next block. As long as there is none, reads on, unless another worker does.
    fn next(&self, turn: &Mutex<Reader<'_>>, play: &mut dyn FnMut(Arc<Block>)) -> Option<Arc<Block>> {
        loop {
            let at_hand = || match self.blocks.try_recv() {
                Err(TryRecvError::Empty) => None,
                next => Some(next.ok()),
            };
            if let Some(next) = at_hand() {
                return next;
            }
            let Ok(mut reader) = turn.try_lock() else {
                // Whoever reads hands something over, or ends: soon, unless the source waits.
                for _ in 0..PATIENCE {
                    thread::yield_now();
                    if let Some(next) = at_hand() {
                        return next;
                    }
                }
                return self.blocks.recv().ok();
            };
            // Another one may just have read.
            if let Some(next) = at_hand() {
                return next;
            }
            reader.read(&mut || self.blocks.try_recv().map(&mut *play).is_ok());
        }
    }
}
