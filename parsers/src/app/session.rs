// SPDX-License-Identifier: MIT OR Apache-2.0
//! One flow's way through the parsers: recognise, feed, collect transactions.

use weir_flow::{Timestamp, app::AppRef};

use super::{AfterGap, Direction, Input, Parser, Probe, Step, Transactions, Transport};

/// Most octets of one direction that are kept while no parser has said yes.
const MAX_PROBED: usize = 512;

/// Beginnings of one direction that are probed before the flow is given up: a capture that starts in the middle of a
/// stream sees a message begin a few segments later.
const MAX_ATTEMPTS: u8 = 8;

/// Most handovers of one flow: a proxy, then a proxy, then STARTTLS. Each costs memory until the next settling, and an
/// attacker can write them back to back.
const MAX_HANDOVERS: usize = 8;

/// What a session wants after it was fed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Feed {
    /// The octets that follow.
    More,
    /// Nothing any more: the session may be ended, after its transactions are closed.
    Done,
}

/// Octets of one direction that were offered but not read.
#[derive(Debug, Default)]
struct Unread {
    bytes: Vec<u8>,
    /// Octets to come that hold nothing of interest.
    skip: u64,
    inspected: u64,
    attempts: u8,
}

impl Unread {
    fn clear(&mut self) {
        self.bytes.clear();
        self.skip = 0;
        self.inspected = 0;
        self.attempts = 0;
    }

    /// Passes over what is to be skipped.
    fn unskipped<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        bytes.get(skipped..).unwrap_or_default()
    }
}

/// A recognised protocol: its state, and its transactions.
#[derive(Debug)]
struct Running<P: Parser> {
    parser: P,
    transactions: Transactions<P::Fields>,
}

impl<P: Parser> Default for Running<P> {
    fn default() -> Self {
        Self { parser: P::default(), transactions: Transactions::new(P::IDENTITY.max_open) }
    }
}

/// How a protocol left off.
enum Left {
    /// At this many octets, and wants more.
    At(usize),
    /// At this many octets; the next protocol begins there.
    Handover(usize),
    Done,
}

impl<P: Parser> Running<P> {
    /// Parses as much as there is.
    fn run(&mut self, input: Input<'_>, unread: &mut Unread) -> Left {
        let mut at = 0;
        loop {
            let Some(bytes) = input.bytes.get(at..) else { return Left::At(input.bytes.len()) };
            if bytes.is_empty() && (at > 0 || input.transport == Transport::Stream) {
                return Left::At(at);
            }
            self.transactions.bound();
            match self.parser.parse(Input { bytes, ..input }, &mut self.transactions) {
                Step::Consumed(read) => {
                    // A parser that reads nothing would be asked for ever.
                    let read = read.max(1).min(bytes.len().max(1));
                    unread.inspected += read as u64;
                    at += read;
                }
                Step::Skip(octets) => {
                    if octets == 0 || input.transport == Transport::Datagram {
                        // Nothing follows in a datagram; a parser that skips nothing would be asked for ever.
                        return if octets == 0 { Left::Done } else { Left::At(input.bytes.len()) };
                    }
                    unread.skip = octets;
                    at = input.bytes.len() - unread.unskipped(bytes).len();
                }
                Step::More => return Left::At(at),
                Step::Handover(read) => return Left::Handover(at + read.min(bytes.len())),
                Step::Done | Step::Reject => return Left::Done,
            }
            if unread.inspected >= P::IDENTITY.max_inspected {
                return Left::Done;
            }
        }
    }
}

macro_rules! declare {
    ($($name:ident $slug:ident,)*) => {
        #[derive(Debug, Default)]
        enum State {
            #[default]
            Undecided,
            $($name(Box<Running<super::$slug::Parser>>),)*
        }

        /// States of ended sessions, kept for their memory: one store for each worker.
        #[derive(Debug, Default)]
        #[allow(clippy::vec_box, reason = "the boxes move to and from the sessions")]
        pub struct Pools {
            $($slug: Vec<Box<Running<super::$slug::Parser>>>,)*
        }

        impl State {
            fn probe(input: Input<'_>, ports: [u16; 2], pools: &mut Pools) -> (Probe, Self) {
                let mut more = false;
                for asked_for_hinted in [true, false] {
                    $({
                        let identity = <super::$slug::Parser as Parser>::IDENTITY;
                        let hinted = ports.iter().any(|p| identity.port_hints.contains(p));
                        if hinted == asked_for_hinted && identity.transports.contains(&input.transport) {
                            match super::$slug::Parser::probe(Input { hinted, ..input }) {
                                Probe::Yes => {
                                    let running = pools.$slug.pop().unwrap_or_default();
                                    return (Probe::Yes, Self::$name(running));
                                }
                                Probe::More => more = true,
                                Probe::No => {}
                            }
                        }
                    })*
                }
                (if more { Probe::More } else { Probe::No }, Self::Undecided)
            }

            fn run(&mut self, input: Input<'_>, ports: [u16; 2], now: Timestamp, unread: &mut Unread) -> Left {
                match self {
                    Self::Undecided => Left::Done,
                    $(Self::$name(running) => {
                        let identity = <super::$slug::Parser as Parser>::IDENTITY;
                        let hinted = ports.iter().any(|p| identity.port_hints.contains(p));
                        running.transactions.set_now(now);
                        running.run(Input { hinted, ..input }, unread)
                    })*
                }
            }

            fn gap(&mut self, direction: Direction) -> AfterGap {
                match self {
                    Self::Undecided => AfterGap::Resume,
                    $(Self::$name(running) => running.parser.gap(direction),)*
                }
            }

            fn max_buffered(&self) -> usize {
                match self {
                    Self::Undecided => MAX_PROBED,
                    $(Self::$name(_) => <super::$slug::Parser as Parser>::IDENTITY.max_buffered,)*
                }
            }

            fn opened(&self) -> u64 {
                match self {
                    Self::Undecided => 0,
                    $(Self::$name(running) => running.transactions.opened(),)*
                }
            }

            fn dropped(&self) -> u64 {
                match self {
                    Self::Undecided => 0,
                    $(Self::$name(running) => running.transactions.dropped(),)*
                }
            }

            fn close(&mut self, which: Which, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
                match self {
                    Self::Undecided => {}
                    $(Self::$name(running) => {
                        let close = |closed: super::Closed<'_, weir_flow::app::$name>| close(closed.fields.into(), closed.started);
                        match which {
                            Which::Settled => running.transactions.settle(close),
                            Which::Current => running.transactions.close_current(close),
                            Which::All => running.transactions.finish(close),
                        }
                    })*
                }
            }

            fn recycle(self, pools: &mut Pools) {
                match self {
                    Self::Undecided => {}
                    $(Self::$name(mut running) => {
                        running.parser.clear();
                        running.transactions.clear();
                        pools.$slug.push(running);
                    })*
                }
            }
        }
    };
}
weir_flow::app_protocols!(declare);

#[derive(Clone, Copy)]
enum Which {
    Settled,
    Current,
    All,
}

/// The application state of one flow.
///
/// Feed it the octets of both directions in order ([`Session::feed`]), tell it what is missing ([`Session::gap`]), close
/// transactions after each packet ([`Session::settle`]) and at the end ([`Session::finish`]), and give it back
/// ([`Session::recycle`]).
#[derive(Debug, Default)]
pub struct Session {
    state: State,
    /// No more octets are wanted; the transactions wait to be closed.
    done: bool,
    /// Protocols before a handover: their transactions are closed with the next settling.
    before: Vec<State>,
    unread: [Unread; 2],
    /// Ports of the flow, source and destination.
    ports: [u16; 2],
    opened_before: u64,
    dropped_before: u64,
    handovers: usize,
}

/// What came of probing.
enum Recognised {
    Yes,
    /// Too early to tell: the octets are to be kept.
    TooEarly,
    /// By nobody: the octets are of no use.
    No,
}

impl Session {
    /// Prepares a session, new or recycled, for a flow with these ports.
    pub fn begin(&mut self, ports: [u16; 2]) {
        self.ports = ports;
    }

    /// Whether no more octets are wanted.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Transactions found in this flow so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened_before + self.state.opened()
    }

    /// Transactions found that were dropped without being closed, since one packet completed too many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_before + self.state.dropped()
    }

    /// Takes the next octets of one direction, observed at `now`.
    ///
    /// `input.hinted` is set here. A stream's octets must follow those fed before without a gap.
    pub fn feed(&mut self, input: Input<'_>, now: Timestamp, pools: &mut Pools) -> Feed {
        let side = input.direction.index();
        let bytes = self.unread[side].unskipped(input.bytes);
        if self.done || (bytes.is_empty() && !input.bytes.is_empty()) {
            return self.wants();
        }
        // What was left unread goes in front of what has come. Its memory is put back below.
        let mut kept = std::mem::take(&mut self.unread[side].bytes);
        let joined = !kept.is_empty();
        if joined {
            kept.extend_from_slice(bytes);
        }
        let read = self.step(Input { bytes: if joined { &kept } else { bytes }, ..input }, now, pools);
        if self.done || input.transport == Transport::Datagram {
            kept.clear();
        } else if joined {
            kept.drain(..read.min(kept.len()));
        } else {
            kept.extend_from_slice(bytes.get(read..).unwrap_or_default());
        }
        let too_long = kept.len() > self.state.max_buffered();
        if too_long {
            kept.clear();
        }
        self.unread[side].bytes = kept;
        if too_long {
            self.resume_or_end(input.direction);
        }
        self.wants()
    }

    /// Octets of one direction are missing; what is fed next comes after them. Says whether a parser noticed.
    pub fn gap(&mut self, direction: Direction, missing: u64) -> bool {
        let unread = &mut self.unread[direction.index()];
        if missing <= unread.skip {
            unread.skip -= missing;
            return false;
        }
        unread.skip = 0;
        unread.bytes.clear();
        if self.done {
            return false;
        }
        self.resume_or_end(direction);
        !matches!(self.state, State::Undecided)
    }

    /// Closes the transactions that are over now that a packet has been fed; see [`Transactions`].
    pub fn settle(&mut self, pools: &mut Pools, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        for mut before in self.before.drain(..) {
            before.close(Which::All, close);
            before.recycle(pools);
        }
        self.state.close(Which::Settled, close);
    }

    /// Closes the complete transaction that packets now belong to, if there is one.
    pub fn close_current(&mut self, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        self.state.close(Which::Current, close);
    }

    /// Closes all transactions: the flow has ended.
    pub fn finish(&mut self, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        for before in &mut self.before {
            before.close(Which::All, close);
        }
        self.state.close(Which::All, close);
    }

    /// Makes the session as new; what it held goes to the pools.
    pub fn recycle(&mut self, pools: &mut Pools) {
        for before in self.before.drain(..) {
            before.recycle(pools);
        }
        std::mem::take(&mut self.state).recycle(pools);
        self.unread.iter_mut().for_each(Unread::clear);
        self.opened_before = 0;
        self.dropped_before = 0;
        self.handovers = 0;
        self.done = false;
    }

    fn wants(&self) -> Feed {
        if self.done { Feed::Done } else { Feed::More }
    }

    /// Recognises, then parses. Gives the number of octets read.
    fn step(&mut self, input: Input<'_>, now: Timestamp, pools: &mut Pools) -> usize {
        let side = input.direction.index();
        let mut at = 0;
        loop {
            let rest = Input { bytes: input.bytes.get(at..).unwrap_or_default(), ..input };
            if matches!(self.state, State::Undecided) {
                match self.recognise(rest, pools) {
                    Recognised::Yes => {}
                    Recognised::TooEarly => return at,
                    Recognised::No => return input.bytes.len(),
                }
            }
            match self.state.run(rest, self.ports, now, &mut self.unread[side]) {
                Left::At(read) => return at + read,
                Left::Done => {
                    self.done = true;
                    return input.bytes.len();
                }
                Left::Handover(_) if self.handovers >= MAX_HANDOVERS => {
                    self.done = true;
                    return input.bytes.len();
                }
                Left::Handover(read) => {
                    self.handovers += 1;
                    at += read;
                    self.opened_before += self.state.opened();
                    self.dropped_before += self.state.dropped();
                    self.before.push(std::mem::take(&mut self.state));
                    // What the other direction left unread may be the first octets of the next protocol: it is kept.
                    for unread in &mut self.unread {
                        unread.skip = 0;
                        unread.inspected = 0;
                        unread.attempts = 0;
                    }
                    if at >= input.bytes.len() {
                        return at;
                    }
                }
            }
        }
    }

    fn recognise(&mut self, input: Input<'_>, pools: &mut Pools) -> Recognised {
        if input.bytes.is_empty() {
            return Recognised::No;
        }
        let (answer, state) = State::probe(input, self.ports, pools);
        self.state = state;
        let unread = &mut self.unread[input.direction.index()];
        match answer {
            Probe::Yes => return Recognised::Yes,
            Probe::More if input.bytes.len() <= MAX_PROBED => return Recognised::TooEarly,
            Probe::More | Probe::No => unread.attempts += 1,
        }
        self.done = self.unread.iter().any(|u| u.attempts >= MAX_ATTEMPTS);
        Recognised::No
    }

    fn resume_or_end(&mut self, direction: Direction) {
        self.done |= self.state.gap(direction) == AfterGap::Done;
    }
}
