// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. Application state beside the flow table: a slab of sessions with their streams, of bounded size.
//!
//! All of it is within one budget: the slab, which is reserved at start, and what its sessions and streams hold. A flow keeps
//! an index into the slab, and notes whether more payload is wanted ([`After`]), so that a flow that has said all that is of
//! interest, or whose payload nobody knows, is not looked at here again. Of a flow whose payload is only passed over, the
//! first cache line of its state is touched.

use weir_flow::{Timestamp, app::AppRef, ledger::Metered};
use weir_parsers::app::{self, Budget, Direction, Feed, Input, Pools, Session, Transport, memory_of};

use crate::{
    heap::Heap,
    memory::{prefetch, prefetch_range},
    stream::{Chunk, Outlet, Piece, Segment, Stream},
    table::NONE,
};

/// The control bit, as wide as [`Payload::tcp`] has them.
const SYN: u32 = weir_flow::tcp_flags::SYN as u32;

/// Mark in place of an index: the flow's payload is of no interest (any more).
pub const UNWANTED: u32 = NONE - 1;

/// What a flow is to do about its application state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// Feed it the payload that comes.
    Wants,
    /// Keep it, for the transactions that are not closed, but feed it no more.
    Over,
    /// Forget its index, and feed no more: there is nothing left but its protocol, as [`Apps::application`] tells it.
    Released {
        /// Zero if none was recognised.
        application: u8,
    },
}

/// What the cache notes of each state: the second of its clock in which transactions were last recorded, and how many in it.
pub type Rate = (u32, u32);

/// Links of the chain of pointers to what a state holds.
pub const DEPTH: usize = 1 + app::DEPTH;

/// Chunks that are kept for later use.
const MAX_SPARE_CHUNKS: usize = 128;

/// Bytes that a chunk takes.
const CHUNK: usize = weir_flow::allocated(size_of::<Chunk>());

/// Part of the budget that the slab may take.
const SLAB_SHARE: usize = 4;

/// Application state of one flow: two cache lines, of which the first is all that is needed to pass over payload.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct App {
    streams: [Stream; 2],
    session: Session,
}

const _: () = assert!(size_of::<App>() == 128);

/// Payload that will come for a state.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The state's index.
    pub app: u32,
    /// Which way it goes.
    pub direction: Direction,
    /// Octets on the wire.
    pub octets: u32,
}

impl Expected {
    /// None.
    pub const NONE: Self = Self { app: NONE, direction: Direction::Forward, octets: 0 };
}

/// One packet's payload on its way to the parsers.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// The captured octets.
    pub bytes: &'a [u8],
    /// Octets on the wire.
    pub octets: u32,
    /// Sequence number and control bits, of TCP.
    pub tcp: Option<(u32, u32)>,
    /// When the packet was observed.
    pub ts: Timestamp,
}

impl<'a> Payload<'a> {
    /// What a parser gets of a datagram.
    #[inline]
    pub fn datagram(&self) -> Input<'a> {
        let &Self { bytes, direction, octets, .. } = self;
        let snapped = octets as usize > bytes.len();
        Input { bytes, direction, transport: Transport::Datagram, hinted: false, snapped }
    }
}

impl App {
    /// Passes over a segment that is the next and holds nothing of interest, or counts a datagram that is no more than one
    /// among many. False if it must be looked at.
    #[inline]
    fn pass_over(&mut self, payload: &Payload<'_>) -> bool {
        let Some((sequence, flags)) = payload.tcp else { return self.session.count(payload.datagram(), payload.ts) };
        let stream = &mut self.streams[payload.direction.index()];
        let passes =
            flags & SYN == 0 && stream.is_next(sequence) && self.session.skip(payload.direction, payload.octets);
        if passes {
            stream.advance(payload.octets);
        }
        passes
    }

    /// Feeds a packet. False if a segment could not be kept for want of memory.
    fn feed(&mut self, payload: Payload<'_>, shared: &mut Shared<'_>) -> bool {
        let Self { session, streams } = self;
        let Payload { direction, bytes, octets, ts, .. } = payload;
        let Some((sequence, flags)) = payload.tcp else {
            session.feed(payload.datagram(), ts, shared.pools);
            return true;
        };
        // SYN takes one sequence number (RFC 9293 section 3.4), and may carry data (RFC 7413).
        let sequence = if flags & SYN == 0 { sequence } else { sequence.wrapping_add(1) };
        let mut feeder = Feeder { session, direction, ts, shared };
        let is_kept = streams[direction.index()].push(Segment { sequence, payload: bytes, octets }, &mut feeder);
        if feeder.session.is_done() {
            streams.iter_mut().for_each(|stream| stream.clear(&mut feeder));
        }
        is_kept
    }

    /// Feeds what was kept for want of the octets before it: the flow has ended.
    fn finish(&mut self, ts: Timestamp, shared: &mut Shared<'_>) {
        let Self { session, streams } = self;
        for (stream, direction) in streams.iter_mut().zip([Direction::Forward, Direction::Reverse]) {
            stream.finish(&mut Feeder { session, direction, ts, shared });
        }
    }
}

/// Chunks of nobody, kept for their memory.
#[allow(clippy::vec_box, reason = "the boxes move to and from the streams")]
type Chunks = Vec<Box<Chunk>>;

/// What feeding needs beside the flow's own state; all flows share it.
struct Shared<'a> {
    pools: &'a mut Pools,
    chunks: &'a mut Chunks,
    gaps: &'a mut u64,
}

/// Feeds a session with what its stream puts in order.
struct Feeder<'a, 'b> {
    session: &'a mut Session,
    direction: Direction,
    ts: Timestamp,
    shared: &'a mut Shared<'b>,
}

impl Outlet for Feeder<'_, '_> {
    fn pass(&mut self, piece: Piece<'_>) {
        let direction = self.direction;
        match piece {
            Piece::Bytes(bytes) => {
                let input = Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false };
                let _: Feed = self.session.feed(input, self.ts, self.shared.pools);
            }
            Piece::Gap(missing) => {
                *self.shared.gaps += u64::from(self.session.gap(direction, missing, self.shared.pools))
            }
        }
    }

    fn chunk(&mut self) -> Option<Box<Chunk>> {
        let Shared { pools, chunks, .. } = &mut *self.shared;
        chunks.pop().or_else(|| {
            pools.make_room(CHUNK).then(|| {
                pools.budget_mut().charge(CHUNK);
                Box::default()
            })
        })
    }

    fn give_back(&mut self, chunk: Box<Chunk>) {
        let Shared { pools, chunks, .. } = &mut *self.shared;
        if chunks.len() < MAX_SPARE_CHUNKS && !pools.budget().is_tight() {
            chunks.push(chunk);
        } else {
            pools.budget_mut().refund(CHUNK);
        }
    }
}

/// The application states of one worker.
#[derive(Debug)]
pub struct Apps {
    slab: Vec<App>,
    free: Vec<u32>,
    chunks: Chunks,
    pools: Pools,
    heap: Heap,
    capacity: usize,
    /// Missing octets that a parser noticed, and segments that found no memory, since the beginning.
    gaps: u64,
    segments_refused: u64,
}

impl Apps {
    /// Octets of memory for each state, with what the cache notes of it.
    const EACH: usize = size_of::<App>() + size_of::<u32>() + size_of::<Rate>();

    /// Room for `flows` states at a time, which take no more than `octets` of memory with all they hold. Less than
    /// [`weir_parsers::app::RESERVE`] octets are too few for any. What that makes of the heap is bounded, too.
    #[must_use]
    pub fn new(flows: usize, octets: usize, heap: Heap) -> Self {
        let mut pools = Pools::new(octets);
        let reserved = Self::reserved(flows, octets);
        pools.budget_mut().charge(reserved);
        let capacity = reserved / Self::EACH;
        Self {
            slab: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            // It is small, and within the reserve.
            chunks: Vec::with_capacity(MAX_SPARE_CHUNKS),
            pools,
            heap,
            capacity,
            gaps: 0,
            segments_refused: 0,
        }
    }

    /// Adds what was found and what was lost to the counters.
    pub fn count(&self, counters: &mut Metered) {
        let noted = self.pools.noted();
        counters.stream_gaps += self.gaps;
        counters.transactions += noted.opened;
        counters.transactions_not_recorded += noted.dropped;
        counters.application_states_refused += noted.states;
        counters.application_unread_refused += noted.unread;
        counters.application_segments_refused += self.segments_refused;
    }

    /// Octets of memory that are reserved for all states at start.
    pub fn reserved(flows: usize, octets: usize) -> usize {
        flows.min(Budget::new(octets).limit() / SLAB_SHARE / Self::EACH).min(UNWANTED as usize) * Self::EACH
    }

    /// States that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Asks for the memory of a state that is to be fed or closed soon. It is behind a chain of pointers: `depth`, below
    /// [`DEPTH`], says which of its links is asked for, and those before it were asked for some time ago. The first is all that
    /// is needed to pass over payload.
    #[inline]
    pub fn prefetch(&self, index: u32, depth: usize) {
        let Some(app) = self.slab.get(index as usize) else { return };
        let Some(behind) = depth.checked_sub(1) else { return prefetch(app) };
        if behind == 0 {
            prefetch_range(&memory_of(app));
        }
        app.session.memory(behind).iter().for_each(prefetch_range);
    }

    /// Whether payload that comes for a state is most likely to be read, not passed over.
    #[inline]
    pub fn is_to_be_read(&self, expected: Expected) -> bool {
        self.slab.get(expected.app as usize).is_some_and(|app| !app.session.skips(expected.direction, expected.octets))
    }

    /// State for a flow with these ports, and with these sequence numbers of the first octets; [`UNWANTED`] if there is no
    /// room.
    pub fn acquire(&mut self, ports: [u16; 2], first_sequence: [Option<u32>; 2]) -> u32 {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slab.len() < self.capacity => {
                self.slab.push(App::default());
                u32::try_from(self.slab.len() - 1).unwrap_or(UNWANTED)
            }
            None => return UNWANTED,
        };
        // The one that the next flow gets has not been touched for a while.
        if let Some(next) = self.free.last().and_then(|&next| self.slab.get(next as usize)) {
            prefetch_range(&memory_of(next));
        }
        if let Some(app) = self.slab.get_mut(index as usize) {
            app.session.begin(ports);
            for (stream, sequence) in app.streams.iter_mut().zip(first_sequence) {
                sequence.into_iter().for_each(|sequence| stream.begin(sequence));
            }
        }
        index
    }

    /// Feeds a packet of the flow with this index. True if [`Apps::settle`] must follow.
    #[inline]
    pub fn feed(&mut self, index: u32, payload: Payload<'_>) -> bool {
        let Some(app) = self.slab.get_mut(index as usize) else { return false };
        if app.pass_over(&payload) {
            return false;
        }
        self.read(index, |app, shared| app.feed(payload, shared));
        true
    }

    /// The protocol that was recognised last in the flow with this index, as [`Session::application`] tells it.
    pub fn application(&self, index: u32) -> Option<u8> {
        self.slab.get(index as usize)?.session.application()
    }

    /// Closes what is over now that a packet has been fed.
    pub fn settle(&mut self, index: u32, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) -> After {
        let Some(app) = self.slab.get_mut(index as usize) else { return After::Wants };
        app.session.settle(&mut self.pools, close);
        self.after(index)
    }

    fn after(&mut self, index: u32) -> After {
        match self.slab.get(index as usize) {
            Some(app) if !app.session.is_done() => After::Wants,
            Some(app) if !app.session.is_empty() => After::Over,
            Some(app) => {
                let application = app.session.application().unwrap_or(0);
                self.release(index);
                After::Released { application }
            }
            None => After::Wants,
        }
    }

    /// A direction begins anew at this sequence number.
    pub fn begin_again(&mut self, index: u32, direction: Direction, sequence: u32) {
        // Of a flow that is over, nothing is put in order any more.
        if self.slab.get(index as usize).is_none_or(|app| app.session.is_done()) {
            return;
        }
        self.read(index, |app, shared| {
            let stream = &mut app.streams[direction.index()];
            stream.clear(&mut Feeder { session: &mut app.session, direction, ts: Timestamp::ZERO, shared });
            stream.begin(sequence);
            *shared.gaps += u64::from(app.session.gap(direction, u64::MAX, shared.pools));
            true
        });
    }

    /// Closes the complete transaction that packets now belong to, if there is one.
    pub fn close_current(&mut self, index: u32, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) -> After {
        let Some(app) = self.slab.get_mut(index as usize) else { return After::Wants };
        app.session.close_current(&mut self.pools, close);
        self.after(index)
    }

    /// Feeds what was kept for want of the octets before it, since the flow has ended; [`Apps::finish`] must follow.
    pub fn feed_rest(&mut self, index: u32, ts: Timestamp) {
        let Some(app) = self.slab.get(index as usize) else { return };
        if !app.streams.iter().all(Stream::is_in_order) {
            self.read(index, |app, shared| {
                app.finish(ts, shared);
                true
            });
        }
    }

    /// Closes all transactions of a flow that has ended, and takes its state back.
    pub fn finish(&mut self, index: u32, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        if let Some(app) = self.slab.get_mut(index as usize) {
            app.session.finish(&mut self.pools, close);
            self.release(index);
        }
    }

    /// Lets the parsers of a flow read. `read` says whether a segment was kept that had to be.
    fn read(&mut self, index: u32, read: impl FnOnce(&mut App, &mut Shared<'_>) -> bool) {
        let Self { slab, chunks, pools, heap, gaps, segments_refused, .. } = self;
        let Some(app) = slab.get_mut(index as usize) else { return };
        let was_recognised = app.session.is_recognised();
        *segments_refused += u64::from(!read(app, &mut Shared { pools, chunks, gaps }));
        if pools.budget_mut().has_grown() {
            heap.bound(pools.budget_mut());
        }
        if !was_recognised {
            app.session.upcoming(pools).iter().for_each(prefetch_range);
        }
        if pools.budget().is_tight() {
            // Who needs memory elsewhere cannot ask for these.
            pools.budget_mut().refund(chunks.len() * CHUNK);
            chunks.clear();
        }
    }

    /// Takes a state back, its transactions closed.
    fn release(&mut self, index: u32) {
        let Self { slab, chunks, pools, free, gaps, .. } = self;
        let Some(app) = slab.get_mut(index as usize) else { return };
        let App { session, streams } = app;
        session.recycle(pools);
        let mut shared = Shared { pools, chunks, gaps };
        for stream in streams {
            stream.clear(&mut Feeder {
                session,
                direction: Direction::Forward,
                ts: Timestamp::ZERO,
                shared: &mut shared,
            });
        }
        free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOWS: usize = 3000;
    const OCTETS: usize = 4 << 20;

    fn payload(bytes: &[u8], tcp: Option<(u32, u32)>) -> Payload<'_> {
        let octets = bytes.len() as u32;
        Payload { direction: Direction::Forward, bytes, octets, tcp, ts: Timestamp::ZERO }
    }

    /// Feeds a packet as the cache does, and gives the index that the flow has then.
    fn feed(apps: &mut Apps, index: u32, payload: Payload<'_>) -> u32 {
        if !apps.feed(index, payload) {
            return index;
        }
        match apps.settle(index, &mut |_, _| ()) {
            After::Wants | After::Over => index,
            After::Released { .. } => UNWANTED,
        }
    }

    #[derive(Clone, Copy)]
    enum Kind {
        /// Queries without answers.
        Dns,
        /// Segments that come too early.
        Early,
        /// A request whose head does not end.
        Http,
    }

    /// Lets flows begin that keep all they can, and gives the indices of those that have state.
    fn fill(apps: &mut Apps, kinds: &[Kind]) -> Vec<u32> {
        let mut query = [&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63][..], &[b'x'; 63], &[0, 0, 1, 0, 1]].concat();
        let mut indices = Vec::new();
        for (flow, &kind) in (0..FLOWS).zip(kinds.iter().cycle()) {
            let mut index = apps.acquire([40_000, 53], [Some(1), None]);
            for step in 0..10_u32 {
                let piece = match kind {
                    Kind::Dns => {
                        query[1] = step as u8;
                        payload(&query, None)
                    }
                    Kind::Early => payload(&[b'x'; 1400], Some((2 + 1400 * step, 0))),
                    Kind::Http if step == 0 => payload(b"GET / HTTP/1.1\r\nHost: ", Some((1, 0))),
                    Kind::Http => payload(&[b'x'; 1000], Some((23 + (step - 1) * 1000, 0))),
                };
                index = feed(apps, index, piece);
                let budget = apps.pools.budget();
                assert!(budget.charged() <= budget.limit(), "flow {flow}: {budget:?}");
            }
            indices.extend((index != UNWANTED).then_some(index));
        }
        indices
    }

    fn finish(apps: &mut Apps, indices: Vec<u32>) {
        for index in indices {
            apps.feed_rest(index, Timestamp::ZERO);
            apps.finish(index, &mut |_, _| ());
        }
    }

    #[test]
    fn what_flows_held_is_charged_to_the_pools_alone_when_all_are_over() {
        let mut apps = Apps::new(FLOWS, OCTETS, Heap::new(None));
        let at_start = apps.pools.budget().charged();
        for _ in 0..3 {
            let indices = fill(&mut apps, &[Kind::Dns, Kind::Early, Kind::Http]);
            assert!(!indices.is_empty());
            finish(&mut apps, indices);
            let spare = apps.pools.spare() + apps.chunks.len() * CHUNK;
            assert_eq!(apps.pools.budget().charged(), at_start + spare);
            assert_eq!(apps.free.len(), apps.slab.len());
        }
        let mut counters = Metered::default();
        apps.count(&mut counters);
        assert!(counters.application_states_refused > 0);
        assert!(counters.application_unread_refused > 0);
        assert!(counters.application_segments_refused > 0);
    }

    #[test]
    fn pools_give_way_to_who_needs_the_room() {
        let fresh = fill(&mut Apps::new(FLOWS, OCTETS, Heap::new(None)), &[Kind::Dns]).len();
        assert!((100..FLOWS).contains(&fresh), "{fresh}");
        let mut apps = Apps::new(FLOWS, OCTETS, Heap::new(None));
        for kind in [Kind::Http, Kind::Early] {
            let indices = fill(&mut apps, &[kind]);
            finish(&mut apps, indices);
        }
        let later = fill(&mut apps, &[Kind::Dns]).len();
        assert!(later * 20 >= fresh * 19, "{later} of {fresh}");
    }

    #[test]
    fn a_budget_too_small_for_anything_has_room_for_no_flow() {
        for octets in [0, app::RESERVE] {
            assert_eq!(Apps::new(FLOWS, octets, Heap::new(None)).acquire([1, 2], [None; 2]), UNWANTED);
        }
    }
}
