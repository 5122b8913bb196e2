// SPDX-License-Identifier: MIT OR Apache-2.0
//! Application state beside the flow table: a slab of sessions with their streams, of bounded size.

use weir_flow::Timestamp;
use weir_parsers::app::{Direction, Feed, Input, Pools, Session, Transport};

use crate::{
    stream::{Piece, Segment, Stream},
    table::NONE,
};

/// Mark in place of an index: the flow's payload is of no interest (any more).
pub const UNWANTED: u32 = NONE - 1;

/// Application state of one flow.
#[derive(Debug, Default)]
pub struct App {
    /// The parsers' view.
    pub session: Session,
    streams: [Stream; 2],
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
    pub tcp: Option<(u32, u16)>,
    /// When the packet was observed.
    pub ts: Timestamp,
}

impl App {
    /// Feeds a packet; gives the number of gaps that a parser noticed.
    pub fn feed(&mut self, payload: Payload<'_>, pools: &mut Pools) -> u64 {
        let Self { session, streams } = self;
        let Payload { direction, bytes, octets, ts, .. } = payload;
        let input = |bytes, transport, snapped| Input { bytes, direction, transport, hinted: false, snapped };
        let Some((sequence, flags)) = payload.tcp else {
            let snapped = (octets as usize) > bytes.len();
            session.feed(input(bytes, Transport::Datagram, snapped), ts, pools);
            return 0;
        };
        let stream = &mut streams[direction.index()];
        // SYN takes one sequence number (RFC 9293 section 3.4), and may carry data (RFC 7413).
        let sequence = if flags & weir_flow::tcp_flags::SYN == 0 { sequence } else { sequence.wrapping_add(1) };
        let mut gaps = 0;
        stream.push(Segment { sequence, payload: bytes, octets }, &mut |piece| {
            gaps += pass(session, piece, direction, ts, pools);
        });
        if session.is_done() {
            streams.iter_mut().for_each(Stream::clear);
        }
        gaps
    }

    /// A direction begins anew at this sequence number; gives the number of gaps that a parser noticed.
    pub fn begin_again(&mut self, direction: Direction, sequence: u32) -> u64 {
        let stream = &mut self.streams[direction.index()];
        stream.clear();
        stream.begin(sequence);
        u64::from(self.session.gap(direction, u64::MAX))
    }

    /// Feeds what was kept for want of the octets before it: the flow has ended.
    pub fn finish(&mut self, ts: Timestamp, pools: &mut Pools) -> u64 {
        let Self { session, streams } = self;
        let mut gaps = 0;
        for (stream, direction) in streams.iter_mut().zip([Direction::Forward, Direction::Reverse]) {
            stream.finish(&mut |piece| gaps += pass(session, piece, direction, ts, pools));
        }
        gaps
    }
}

fn pass(session: &mut Session, piece: Piece<'_>, direction: Direction, ts: Timestamp, pools: &mut Pools) -> u64 {
    match piece {
        Piece::Bytes(bytes) => {
            let input = Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false };
            let _: Feed = session.feed(input, ts, pools);
            0
        }
        Piece::Gap(missing) => u64::from(session.gap(direction, missing)),
    }
}

/// The application states of one worker.
#[derive(Debug)]
pub struct Apps {
    slab: Vec<App>,
    free: Vec<u32>,
    capacity: usize,
}

impl Apps {
    /// Room for `capacity` states.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { slab: Vec::new(), free: Vec::new(), capacity: capacity.min(UNWANTED as usize) }
    }

    /// State for a flow with these ports, and with these sequence numbers of the first octets; [`UNWANTED`] if there is no
    /// room.
    pub fn acquire(&mut self, ports: [u16; 2], first_sequence: [Option<u32>; 2]) -> u32 {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slab.len() < self.capacity => {
                self.slab.push(App::default());
                // Nothing is free now; later all may be.
                self.free.reserve(self.slab.capacity());
                u32::try_from(self.slab.len() - 1).unwrap_or(UNWANTED)
            }
            None => return UNWANTED,
        };
        if let Some(app) = self.slab.get_mut(index as usize) {
            app.session.begin(ports);
            for (stream, sequence) in app.streams.iter_mut().zip(first_sequence) {
                sequence.into_iter().for_each(|sequence| stream.begin(sequence));
            }
        }
        index
    }

    /// The state at an index; `None` for [`NONE`] and [`UNWANTED`].
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut App> {
        self.slab.get_mut(index as usize)
    }

    /// Takes a state back, its transactions closed.
    pub fn release(&mut self, index: u32, pools: &mut Pools) {
        if let Some(app) = self.slab.get_mut(index as usize) {
            app.session.recycle(pools);
            app.streams.iter_mut().for_each(Stream::clear);
            self.free.push(index);
        }
    }
}
