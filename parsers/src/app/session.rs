// SPDX-License-Identifier: MIT OR Apache-2.0
//! One flow's way through the parsers: recognise, feed, collect transactions.

use std::ops::Range;

use weir_flow::{Timestamp, allocated, app::AppRef};

use super::{
    AfterGap, Budget, Closed, Direction, Input, Parser, Probe, Step, Transactions, Transport,
    transactions::Loan,
    unread::{Chunks, Unread},
};

/// Most octets of one direction that are kept while no parser has said yes.
const MAX_PROBED: usize = 512;

/// Beginnings of one direction that are probed before the flow is given up: a capture that starts in the middle of a
/// stream sees a message begin a few segments later.
const MAX_ATTEMPTS: u8 = 8;

/// The same of datagrams: each is a whole message, so that what is not known at once hardly will be.
pub const MAX_DATAGRAMS: u8 = 2;

/// Most octets of a datagram that only keeps a path open (RFC 5626 section 3.5.1) and says nothing of what it is used for.
pub const KEEP_ALIVE: usize = 4;

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

/// First octets of a flow by which it is told who need not be asked.
const PLACES: usize = 4;

/// A set of protocols, a bit for each.
type Protocols = u32;

/// What happened in sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Noted {
    /// Transactions found.
    pub opened: u64,
    /// Those of them that were dropped without being closed, since one packet completed too many.
    pub dropped: u64,
    /// Given up because the memory for application state was used up: states of parsers and of their transactions: the flow's payload is of no use from then on.
    pub states: u64,
    /// Given up likewise: incomplete messages that would have had to be kept until the rest of them had come.
    pub unread: u64,
}

/// A recognised protocol: its state, and its transactions.
#[derive(Debug)]
#[repr(C)]
struct Running<P: Parser> {
    parser: P,
    /// Bytes with which it is in the budget, without the memory of the transactions' fields: far less than four gigabytes.
    charged: u32,
    transactions: Transactions<P::Fields>,
}

impl<P: Parser> Default for Running<P> {
    fn default() -> Self {
        Self { parser: P::default(), transactions: Transactions::default(), charged: 0 }
    }
}

/// How octets came: an [`Input`] without them. It fits into a register, and octets beside it into two more; an `Input` would be
/// written to memory in parts and read again as one, for which a processor has to wait.
#[derive(Clone, Copy)]
struct Manner {
    direction: Direction,
    transport: Transport,
    hinted: bool,
    snapped: bool,
}

impl Manner {
    const fn of(input: Input<'_>) -> Self {
        let Input { direction, transport, hinted, snapped, .. } = input;
        Self { direction, transport, hinted, snapped }
    }

    /// Of a flow whose port is a hint, or is not.
    const fn hinted(self, hinted: bool) -> Self {
        Self { hinted, ..self }
    }

    const fn with(self, bytes: &[u8]) -> Input<'_> {
        let Self { direction, transport, hinted, snapped } = self;
        Input { bytes, direction, transport, hinted, snapped }
    }
}

/// The protocols that one of these ports is a hint of. Without a branch for each, so that many are compared at once.
fn hints([a, b]: [u16; 2]) -> Protocols {
    let (ports, protocols) = &HINTS;
    let of_one = |(&port, &bit): (&u16, &Protocols)| if (port == a) | (port == b) { bit } else { 0 };
    ports.iter().zip(protocols).map(of_one).fold(0, |all, hinted| all | hinted)
}

/// The protocols that these octets may be of, by the first of them.
#[allow(clippy::indexing_slicing, reason = "an octet is always an index of 256")]
fn beginning_with(bytes: &[u8], transport: Transport) -> Protocols {
    let may_have = bytes.iter().zip(&BEGINNINGS).map(|(&octet, of_place)| of_place[usize::from(octet)]);
    may_have.fold(OF_TRANSPORT[transport as usize], |all, of_place| all & of_place)
}

/// Asks one parser.
#[inline(never)]
fn ask<P: Parser>(bytes: &[u8], manner: Manner) -> Probe {
    P::probe(manner.with(bytes))
}

/// How a protocol left off.
enum Left {
    /// At this many octets, and wants more.
    At(usize),
    /// At this many octets; the next protocol begins there.
    Handover(usize),
    Done,
    /// At this many octets, with more memory charged than is allowed.
    Full(usize),
}

/// What the sessions of one worker share, for one protocol: their memory.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "the boxes move to and from the sessions")]
struct Store<P: Parser> {
    states: Vec<Box<Running<P>>>,
    /// Away only while a state has it.
    loan: Option<Box<Loan<P::Fields>>>,
    scratch: P::Scratch,
}

impl<P: Parser> Default for Store<P> {
    fn default() -> Self {
        let loan = Some(Box::new(Loan::new(P::IDENTITY.max_open)));
        Self { states: Vec::new(), loan, scratch: P::Scratch::default() }
    }
}

impl<P: Parser> Store<P> {
    /// Bytes of a state that holds nothing yet, with its place in the list of spare ones, which doubles when it grows.
    const STATE: usize = allocated(size_of::<Running<P>>()) + 2 * size_of::<usize>();

    /// A state, if there is memory for one.
    fn state(&mut self, budget: &mut Budget) -> Option<Box<Running<P>>> {
        if let Some(state) = self.states.pop() {
            return Some(state);
        }
        budget.fits(Self::STATE).then(|| {
            budget.charge(Self::STATE);
            Box::new(Running { charged: Self::STATE as u32, ..Running::default() })
        })
    }

    /// Memory of the states that are handed out next: all of the second, and the room for texts of the first.
    fn upcoming(&self) -> [Range<*const u8>; 2] {
        let upcoming = |nth: usize| self.states.iter().nth_back(nth);
        [
            upcoming(1).map_or(NOTHING, |state| memory_of(&**state)),
            upcoming(0).map_or(NOTHING, |state| state.transactions.memory()),
        ]
    }

    /// Takes a state back.
    fn give_back(&mut self, mut state: Box<Running<P>>, budget: &mut Budget) {
        state.transactions.lend(&mut self.loan);
        state.transactions.clear();
        state.transactions.lend(&mut self.loan);
        state.parser.clear();
        state.charge(budget);
        if budget.is_tight() {
            budget.refund(state.charged());
        } else {
            self.states.push(state);
        }
        self.tidy(budget);
    }

    /// Keeps nothing for later use when there is little memory left.
    fn tidy(&mut self, budget: &mut Budget) {
        while budget.is_tight()
            && let Some(kept) = self.loan.as_mut().and_then(|loan| loan.spare.pop())
        {
            budget.refund(kept.charged());
        }
    }

    /// Bytes charged for what is kept for later use.
    fn spare(&self) -> usize {
        let states = self.states.iter().map(|state| state.charged()).sum::<usize>();
        states + self.loan.iter().flat_map(|loan| &loan.spare).map(|kept| kept.charged()).sum::<usize>()
    }

    /// Gives up what is spare, until so many bytes fit.
    fn shrink(&mut self, budget: &mut Budget, bytes: usize) {
        while !budget.fits(bytes)
            && let Some(kept) = self.loan.as_mut().and_then(|loan| loan.spare.pop())
        {
            budget.refund(kept.charged());
        }
        while !budget.fits(bytes)
            && let Some(state) = self.states.pop()
        {
            budget.refund(state.charged());
        }
        self.loan.iter_mut().for_each(|loan| loan.spare.shrink_to(2 * loan.spare.len()));
        self.states.shrink_to(2 * self.states.len());
    }
}

impl<P: Parser> Running<P> {
    /// Bytes with which it is in the budget when it is spare.
    const fn charged(&self) -> usize {
        self.charged as usize + self.transactions.charged()
    }

    /// Brings the budget up to date.
    fn charge(&mut self, budget: &mut Budget) {
        self.transactions.charge(budget);
        let now = Store::<P>::STATE + self.transactions.held() + self.parser.held();
        if now != self.charged as usize {
            budget.change(self.charged as usize, now);
            self.charged = now as u32;
        }
    }

    /// Parses as much as there is.
    #[inline(never)]
    fn run(
        &mut self,
        bytes: &[u8],
        manner: Manner,
        reading: Reading<'_>,
        store: &mut Store<P>,
        budget: &mut Budget,
        noted: &mut Noted,
    ) -> Left {
        self.transactions.lend(&mut store.loan);
        let left = self.steps(bytes, manner, reading, &mut store.scratch, budget);
        self.transactions.lend(&mut store.loan);
        if let Some(loan) = &mut store.loan {
            noted.opened += std::mem::take(&mut loan.opened);
            noted.dropped += std::mem::take(&mut loan.dropped);
        }
        left
    }

    #[inline(always)]
    fn steps(
        &mut self,
        all: &[u8],
        manner: Manner,
        reading: Reading<'_>,
        scratch: &mut P::Scratch,
        budget: &mut Budget,
    ) -> Left {
        let mut at = 0;
        loop {
            let Some(bytes) = all.get(at..) else { return Left::At(all.len()) };
            if bytes.is_empty() && (at > 0 || manner.transport == Transport::Stream) {
                return Left::At(at);
            }
            self.transactions.bound();
            let step = self.parser.parse(manner.with(bytes), &mut self.transactions, scratch);
            self.charge(budget);
            match step {
                Step::Consumed(read) => {
                    // A parser that reads nothing would be asked for ever.
                    let read = read.max(1).min(bytes.len().max(1));
                    *reading.inspected = reading.inspected.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
                    at += read;
                }
                Step::Skip(octets) => {
                    if octets == 0 || manner.transport == Transport::Datagram {
                        // Nothing follows in a datagram; a parser that skips nothing would be asked for ever.
                        return if octets == 0 { Left::Done } else { Left::At(all.len()) };
                    }
                    *reading.skip = octets;
                    at = all.len() - unskipped(reading.skip, bytes).len();
                }
                Step::More => return Left::At(at),
                Step::Handover(read) => return Left::Handover(at + read.min(bytes.len())),
                Step::Done | Step::Reject => return Left::Done,
            }
            if P::IDENTITY.max_inspected < u32::MAX && *reading.inspected >= P::IDENTITY.max_inspected {
                return Left::Done;
            }
            if !budget.fits(0) {
                return Left::Full(at.min(all.len()));
            }
        }
    }

    fn close(
        &mut self,
        which: Which,
        store: &mut Store<P>,
        budget: &mut Budget,
        close: impl FnMut(Closed<'_, P::Fields>),
    ) {
        if matches!(which, Which::Settled) && self.transactions.is_settled() {
            return;
        }
        self.transactions.lend(&mut store.loan);
        match which {
            Which::Settled => self.transactions.settle(close),
            Which::Current => self.transactions.close_current(close),
            Which::All => self.transactions.finish(close),
        }
        self.transactions.lend(&mut store.loan);
        store.tidy(budget);
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

        /// What the sessions of one worker share: their budget, and the memory of ended sessions.
        #[derive(Debug, Default)]
        pub struct Pools {
            budget: Budget,
            noted: Noted,
            chunks: Chunks,
            /// What sessions with handovers need beside the rest.
            #[allow(clippy::vec_box, reason = "the boxes move to and from the sessions")]
            earlier: Vec<Box<Earlier>>,
            $($slug: Store<super::$slug::Parser>,)*
        }

        impl Pools {
            /// Gives up memory that is kept for later use until so many bytes fit. False if they do not even then.
            fn shrink(&mut self, bytes: usize) -> bool {
                let Self { budget, chunks, earlier, $($slug,)* .. } = self;
                chunks.shrink(budget, bytes);
                earlier.drain(..).for_each(|earlier| budget.refund(earlier.held()));
                $($slug.shrink(budget, bytes);)*
                budget.fits(bytes)
            }

            /// Bytes that are charged for what is kept for later use.
            #[must_use]
            pub fn spare(&self) -> usize {
                let earlier = self.earlier.iter().map(|earlier| earlier.held()).sum::<usize>();
                self.chunks.spare() + earlier $(+ self.$slug.spare())*
            }
        }

        // A protocol has a bit.
        const _: () = assert!([$(Place::$name),*].len() <= Protocols::BITS as usize);

        /// Ports of all protocols.
        const PORTS: usize = 0 $(+ <super::$slug::Parser as Parser>::IDENTITY.port_hints.len())*;

        /// Each of these ports, with the protocol that it is a hint of.
        const HINTS: ([u16; PORTS], [Protocols; PORTS]) = {
            let (mut ports, mut protocols, mut filled) = ([0; PORTS], [0; PORTS], 0);
            $({
                let hints = <super::$slug::Parser as Parser>::IDENTITY.port_hints;
                let mut i = 0;
                while i < hints.len() {
                    (ports[filled], protocols[filled]) = (hints[i], Place::$name.bit());
                    (i, filled) = (i + 1, filled + 1);
                }
            })*
            (ports, protocols)
        };

        /// The protocols of a transport.
        const OF_TRANSPORT: [Protocols; 2] = {
            let mut all = [0; 2];
            $({
                let transports = <super::$slug::Parser as Parser>::IDENTITY.transports;
                let mut i = 0;
                while i < transports.len() {
                    all[transports[i] as usize] |= Place::$name.bit();
                    i += 1;
                }
            })*
            all
        };

        /// The protocols that may have each octet at each of the first places.
        static BEGINNINGS: [[Protocols; 256]; PLACES] = {
            let mut may_have = [[0; 256]; PLACES];
            $({
                let begins = <super::$slug::Parser as Parser>::BEGINS;
                let mut i = 0;
                while i < PLACES * 256 {
                    let (place, octet) = (i / 256, i % 256);
                    if place >= begins.len() || begins[place].has(octet as u8) {
                        may_have[place][octet] |= Place::$name.bit();
                    }
                    i += 1;
                }
            })*
            may_have
        };

        /// What the parsers say of the first octets of a flow.
        enum Asked {
            Known(Place),
            /// It cannot be told from so few.
            TooEarly,
            Unknown,
        }

        /// Which bit of [`Protocols`] is whose.
        #[derive(Clone, Copy)]
        enum Place {
            $($name,)*
        }

        impl Place {
            const fn bit(self) -> Protocols {
                1 << self as u32
            }
        }

        impl State {
            /// Asks who knows these octets.
            #[inline(never)]
            fn probe(bytes: &[u8], manner: Manner, hints: Protocols) -> Asked {
                let mut more = false;
                let possible = beginning_with(bytes, manner.transport);
                for (asked, hinted) in [(possible & hints, true), (possible & !hints, false)] {
                    if asked == 0 {
                        continue;
                    }
                    $(if asked & Place::$name.bit() != 0 {
                        match ask::<super::$slug::Parser>(bytes, manner.hinted(hinted)) {
                            Probe::Yes => return Asked::Known(Place::$name),
                            Probe::More => more = true,
                            Probe::No => {}
                        }
                    })*
                }
                if more { Asked::TooEarly } else { Asked::Unknown }
            }

            /// The state of a protocol, as it begins; undecided if there is no memory for one.
            fn begin(place: Place, ports: [u16; 2], pools: &mut Pools) -> Self {
                match place {
                    $(Place::$name => {
                        if !pools.budget.fits(Store::<super::$slug::Parser>::STATE) && pools.$slug.states.is_empty() {
                            pools.shrink(Store::<super::$slug::Parser>::STATE);
                        }
                        let Some(mut state) = pools.$slug.state(&mut pools.budget) else { return Self::Undecided };
                        state.parser.begin(ports);
                        Self::$name(state)
                    })*
                }
            }

            /// Whether nobody knows these octets.
            fn is_unknown(bytes: &[u8], manner: Manner, hints: Protocols) -> bool {
                let possible = beginning_with(bytes, manner.transport);
                $({
                    let bit = Place::$name.bit();
                    if possible & bit != 0
                        && ask::<super::$slug::Parser>(bytes, manner.hinted(hints & bit != 0)) != Probe::No
                    {
                        return false;
                    }
                })*
                true
            }

            #[inline(never)]
            fn run(
                &mut self,
                bytes: &[u8],
                manner: Manner,
                hints: Protocols,
                now: Timestamp,
                reading: Reading<'_>,
                pools: &mut Pools,
            ) -> Left {
                match self {
                    Self::Undecided => Left::Done,
                    $(Self::$name(running) => {
                        let hinted = hints & Place::$name.bit() != 0;
                        let Pools { $slug: store, budget, noted, .. } = pools;
                        store.loan.iter_mut().for_each(|loan| loan.now = now);
                        running.run(bytes, manner.hinted(hinted), reading, store, budget, noted)
                    })*
                }
            }

            #[inline]
            fn count(&mut self, input: Input<'_>, now: Timestamp) -> bool {
                match self {
                    Self::Undecided => false,
                    $(Self::$name(running) => {
                        let Running { parser, transactions, .. } = &mut **running;
                        transactions.current_mut().is_some_and(|current| parser.count(input, now, current))
                    })*
                }
            }

            fn gap(&mut self, direction: Direction) -> AfterGap {
                match self {
                    Self::Undecided => AfterGap::Resume,
                    $(Self::$name(running) => running.parser.gap(direction),)*
                }
            }

            fn application(&self) -> Option<u8> {
                match self {
                    Self::Undecided => None,
                    $(Self::$name(running) => running.parser.is_certain().then_some(Place::$name as u8 + 1),)*
                }
            }

            fn max_buffered(&self) -> usize {
                match self {
                    Self::Undecided => MAX_PROBED,
                    $(Self::$name(_) => <super::$slug::Parser as Parser>::IDENTITY.max_buffered,)*
                }
            }

            fn is_empty(&self) -> bool {
                match self {
                    Self::Undecided => true,
                    $(Self::$name(running) => running.transactions.is_empty(),)*
                }
            }

            fn close(&mut self, which: Which, pools: &mut Pools, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
                match self {
                    Self::Undecided => {}
                    $(Self::$name(running) => {
                        let close = |closed: Closed<'_, weir_flow::app::$name>| close(closed.fields.into(), closed.started);
                        running.close(which, &mut pools.$slug, &mut pools.budget, close);
                    })*
                }
            }

            #[inline(always)]
            fn memory(&self, depth: usize) -> Option<Range<*const u8>> {
                match self {
                    Self::Undecided => None,
                    $(Self::$name(running) if depth == 0 => Some(memory_of(&**running)),)*
                    $(Self::$name(running) => Some(running.transactions.memory()),)*
                }
            }

            fn upcoming(&self, pools: &Pools) -> [Range<*const u8>; 2] {
                match self {
                    Self::Undecided => [NOTHING; 2],
                    $(Self::$name(_) => pools.$slug.upcoming(),)*
                }
            }

            fn recycle(self, pools: &mut Pools) {
                match self {
                    Self::Undecided => {}
                    $(Self::$name(running) => pools.$slug.give_back(running, &mut pools.budget),)*
                }
            }
        }
    };
}
weir_flow::app_protocols!(declare);

impl Pools {
    /// Nothing yet, and this many bytes for all that the sessions of a worker hold, [`super::RESERVE`] among them.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { budget: Budget::new(bytes), ..Self::default() }
    }

    /// The budget, to see how much is charged.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The budget, for what is held beside the sessions.
    pub const fn budget_mut(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// Whether so many more bytes can be charged; memory that is kept for later use is given up for them.
    pub fn make_room(&mut self, bytes: usize) -> bool {
        self.budget.fits(bytes) || self.shrink(bytes)
    }

    /// What happened since the beginning.
    #[must_use]
    pub const fn noted(&self) -> Noted {
        self.noted
    }

    /// Appends to what is unread, if there is memory for that. False if there is none.
    fn append(&mut self, unread: &mut Unread, bytes: &[u8]) -> bool {
        if !self.make_room(unread.needed(bytes.len(), &self.chunks)) {
            return false;
        }
        unread.append(bytes, &mut self.chunks, &mut self.budget);
        true
    }

    /// What a session needs for its first handover, charged already.
    fn earlier(&mut self) -> Box<Earlier> {
        self.earlier.pop().unwrap_or_else(|| {
            let earlier = Box::<Earlier>::default();
            self.budget.charge(earlier.held());
            earlier
        })
    }

    /// Takes it back.
    fn give_back(&mut self, mut earlier: Box<Earlier>) {
        let held = earlier.held();
        earlier.handovers = 0;
        if self.budget.is_tight() {
            self.budget.refund(held);
        } else {
            self.earlier.push(earlier);
        }
    }

    /// Forgets octets that are unread no more.
    fn advance(&mut self, unread: &mut Unread, octets: usize) {
        unread.advance(octets, &mut self.chunks, &mut self.budget);
    }
}

#[derive(Clone, Copy)]
enum Which {
    Settled,
    Current,
    All,
}

/// How far one direction is read.
struct Reading<'a> {
    /// Octets to come that hold nothing of interest.
    skip: &'a mut u64,
    /// Octets that a parser has looked at.
    inspected: &'a mut u32,
}

/// Passes over what is to be skipped.
fn unskipped<'a>(skip: &mut u64, bytes: &'a [u8]) -> &'a [u8] {
    let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len());
    *skip -= skipped as u64;
    bytes.get(skipped..).unwrap_or_default()
}

/// The application state of one flow.
///
/// Feed it the octets of both directions in order ([`Session::feed`]), tell it what is missing ([`Session::gap`]), close
/// transactions after each packet ([`Session::settle`]) and at the end ([`Session::finish`]), and give it back
/// ([`Session::recycle`]). All that it holds is charged to the budget of the [`Pools`] that it is fed with, which must always be
/// the same.
///
/// What passing over octets needs comes first, so that it is in one cache line with what comes before the session, and what
/// few sessions need comes last.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Session {
    /// Octets of each direction to come that hold nothing of interest.
    skip: [u64; 2],
    state: State,
    /// No more octets are wanted; the transactions wait to be closed.
    done: bool,
    /// There is no memory for what is held: all transactions are to be closed with the next settling.
    given_up: bool,
    /// Beginnings of each direction that nobody knew.
    attempts: [u8; 2],
    /// Protocols that the ports hint at.
    hints: Protocols,
    ports: [u16; 2],
    /// Octets of each direction that a parser has looked at.
    inspected: [u32; 2],
    /// Octets of each direction that were offered but not read.
    unread: [Unread; 2],
    earlier: Option<Box<Earlier>>,
}

/// What is left of the protocols before a handover.
#[derive(Debug, Default)]
struct Earlier {
    /// Those whose transactions are closed with the next settling.
    states: Vec<State>,
    handovers: usize,
}

impl Earlier {
    /// Bytes that it takes, with its place in the list of spare ones, which doubles when it grows.
    const fn held(&self) -> usize {
        let states = allocated(self.states.capacity() * size_of::<State>());
        allocated(size_of::<Self>()) + states + 2 * size_of::<usize>()
    }

    /// Closes and forgets everything.
    fn close(&mut self, pools: &mut Pools, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        for mut state in self.states.drain(..) {
            state.close(Which::All, pools, close);
            state.recycle(pools);
        }
    }
}

/// Depths of [`Session::memory`].
pub const DEPTH: usize = 2;

/// No memory.
const NOTHING: Range<*const u8> = std::ptr::null()..std::ptr::null();

/// The memory of a value.
pub fn memory_of<T>(value: &T) -> Range<*const u8> {
    let start = std::ptr::from_ref(value).cast::<u8>();
    start..start.wrapping_add(size_of::<T>())
}

/// What came of probing.
enum Recognised {
    Yes,
    /// Too early to tell: the octets are to be kept.
    TooEarly,
    /// By nobody: the octets are of no use.
    No,
}

/// Whether no parser knows a datagram between these ports, so that no [`Session`] is needed for it. After
/// [`MAX_DATAGRAMS`] of one direction the flow may be given up.
#[must_use]
pub fn is_unknown_datagram(input: Input<'_>, ports: [u16; 2]) -> bool {
    State::is_unknown(input.bytes, Manner::of(input), hints(ports))
}

impl Session {
    /// Prepares a session, new or recycled, for a flow with these ports.
    pub fn begin(&mut self, ports: [u16; 2]) {
        self.hints = hints(ports);
        self.ports = ports;
    }

    /// Memory that this session points to, for whoever wants to ask for it before it is needed: at depth 0 the parser
    /// and the oldest transaction, at 1 its texts, or the room for them.
    #[inline(always)]
    #[must_use]
    pub fn memory(&self, depth: usize) -> Option<Range<*const u8>> {
        self.state.memory(depth)
    }

    /// Whether a protocol was recognised.
    #[must_use]
    pub const fn is_recognised(&self) -> bool {
        !matches!(self.state, State::Undecided)
    }

    /// The protocol that was recognised last: one more than its index among [`weir_flow::app::SLUGS`].
    #[must_use]
    pub fn application(&self) -> Option<u8> {
        self.state.application().or_else(|| self.earlier.as_ref()?.states.last()?.application())
    }

    /// Memory that the next sessions of this protocol will need, for whoever wants to ask for it before.
    #[must_use]
    pub fn upcoming(&self, pools: &Pools) -> [Range<*const u8>; 2] {
        self.state.upcoming(pools)
    }

    /// Whether no more octets are wanted.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Whether there is no transaction to be closed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && self.earlier.as_ref().is_none_or(|earlier| earlier.states.is_empty())
    }

    /// Whether the next octets of one direction are to be skipped, all of them.
    #[inline]
    #[must_use]
    pub const fn skips(&self, direction: Direction, octets: u32) -> bool {
        self.skip[direction.index()] >= octets as u64
    }

    /// Passes over the next octets of one direction without a look at them, if all of them are to be skipped. False, and
    /// nothing is done, if not.
    #[inline]
    pub fn skip(&mut self, direction: Direction, octets: u32) -> bool {
        let skips = self.skips(direction, octets);
        if skips {
            self.skip[direction.index()] -= u64::from(octets);
        }
        skips
    }

    /// Counts a datagram that changes nothing but numbers of the transaction that packets now belong to; see
    /// [`Parser::count`]. False, and nothing is done, if it must be fed.
    #[inline]
    pub fn count(&mut self, input: Input<'_>, now: Timestamp) -> bool {
        !self.done && self.state.count(input, now)
    }

    /// Takes the next octets of one direction, observed at `now`.
    ///
    /// `input.hinted` is set here. A stream's octets must follow those fed before without a gap.
    #[inline(always)]
    pub fn feed(&mut self, input: Input<'_>, now: Timestamp, pools: &mut Pools) -> Feed {
        self.take(input.bytes, Manner::of(input), now, pools)
    }

    #[inline(never)]
    fn take(&mut self, all: &[u8], manner: Manner, now: Timestamp, pools: &mut Pools) -> Feed {
        let side = manner.direction.index();
        let bytes = unskipped(&mut self.skip[side], all);
        if self.done || (bytes.is_empty() && !all.is_empty()) {
            return self.wants();
        }
        let is_kept = if self.unread[side].is_empty() {
            let read = self.step(bytes, manner, now, pools);
            let rest = bytes.get(read..).unwrap_or_default();
            self.done || rest.is_empty() || manner.transport == Transport::Datagram || self.keep(side, rest, pools)
        } else {
            self.take_joined(bytes, manner, now, pools)
        };
        if !is_kept {
            self.drop_unread(side, pools);
            self.resume_or_end(manner.direction);
        }
        if self.done {
            self.leave(pools);
        }
        self.wants()
    }

    /// Puts what was left unread in front of what has come. False if what is left now cannot be kept.
    fn take_joined(&mut self, bytes: &[u8], manner: Manner, now: Timestamp, pools: &mut Pools) -> bool {
        let side = manner.direction.index();
        let mut joined = std::mem::take(&mut pools.chunks.joined);
        joined.clear();
        self.unread[side].copy_to(&mut joined);
        let kept = joined.len();
        joined.extend_from_slice(bytes);
        let read = self.step(&joined, manner, now, pools);
        pools.chunks.joined = joined;
        let read = if self.done || manner.transport == Transport::Datagram { usize::MAX } else { read };
        pools.advance(&mut self.unread[side], read);
        let rest = bytes.get(read.saturating_sub(kept)..).unwrap_or_default();
        rest.is_empty() || self.keep(side, rest, pools)
    }

    /// Keeps octets that were not read. False if they are too many, or there is no memory for them.
    fn keep(&mut self, side: usize, rest: &[u8], pools: &mut Pools) -> bool {
        let unread = &mut self.unread[side];
        if unread.len() + rest.len() > self.state.max_buffered() {
            return false;
        }
        let fits = pools.append(unread, rest);
        pools.noted.unread += u64::from(!fits);
        fits
    }

    fn drop_unread(&mut self, side: usize, pools: &mut Pools) {
        pools.advance(&mut self.unread[side], usize::MAX);
    }

    /// No more octets are wanted: gives back what is of no use any more.
    fn leave(&mut self, pools: &mut Pools) {
        for side in [0, 1] {
            self.drop_unread(side, pools);
        }
        if !pools.make_room(0) && !self.given_up {
            pools.noted.states += 1;
            self.given_up = true;
        }
    }

    /// Octets of one direction are missing; what is fed next comes after them. Says whether a parser noticed.
    pub fn gap(&mut self, direction: Direction, missing: u64, pools: &mut Pools) -> bool {
        let skip = &mut self.skip[direction.index()];
        if missing <= *skip {
            *skip -= missing;
            return false;
        }
        *skip = 0;
        self.drop_unread(direction.index(), pools);
        if self.done {
            return false;
        }
        self.resume_or_end(direction);
        !matches!(self.state, State::Undecided)
    }

    /// Closes the transactions that are over now that a packet has been fed; see [`Transactions`].
    pub fn settle(&mut self, pools: &mut Pools, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        if let Some(earlier) = &mut self.earlier {
            earlier.close(pools, close);
        }
        self.state.close(if self.given_up { Which::All } else { Which::Settled }, pools, close);
    }

    /// Closes the complete transaction that packets now belong to, if there is one.
    pub fn close_current(&mut self, pools: &mut Pools, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        self.state.close(Which::Current, pools, close);
    }

    /// Closes all transactions: the flow has ended.
    pub fn finish(&mut self, pools: &mut Pools, close: &mut dyn FnMut(AppRef<'_>, Timestamp)) {
        if let Some(earlier) = &mut self.earlier {
            earlier.close(pools, close);
        }
        self.state.close(Which::All, pools, close);
    }

    /// Makes the session as new; what it held goes to the pools.
    pub fn recycle(&mut self, pools: &mut Pools) {
        if let Some(mut earlier) = self.earlier.take() {
            earlier.close(pools, &mut |_, _| ());
            pools.give_back(earlier);
        }
        for side in [0, 1] {
            self.drop_unread(side, pools);
        }
        std::mem::take(&mut self.state).recycle(pools);
        self.skip = [0; 2];
        self.done = false;
        self.given_up = false;
        self.attempts = [0; 2];
        self.inspected = [0; 2];
    }

    const fn wants(&self) -> Feed {
        if self.done { Feed::Done } else { Feed::More }
    }

    /// Recognises, then parses. Gives the number of octets read.
    fn step(&mut self, bytes: &[u8], manner: Manner, now: Timestamp, pools: &mut Pools) -> usize {
        let side = manner.direction.index();
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if matches!(self.state, State::Undecided) {
                match self.recognise(rest, manner, pools) {
                    Recognised::Yes => {}
                    Recognised::TooEarly => return at,
                    Recognised::No => return bytes.len(),
                }
            }
            let reading = Reading { skip: &mut self.skip[side], inspected: &mut self.inspected[side] };
            match self.state.run(rest, manner, self.hints, now, reading, pools) {
                Left::At(read) => return at + read,
                Left::Full(read) => {
                    at += read;
                    if !pools.make_room(0) {
                        self.give_up(pools);
                        return bytes.len();
                    }
                    if at >= bytes.len() {
                        return at;
                    }
                }
                Left::Handover(read) if self.hand_over(pools) => {
                    at += read;
                    if at >= bytes.len() {
                        return at;
                    }
                }
                Left::Done | Left::Handover(_) => {
                    self.done = true;
                    return bytes.len();
                }
            }
        }
    }

    /// Puts the protocol aside that is over now. False if there were too many.
    fn hand_over(&mut self, pools: &mut Pools) -> bool {
        let earlier = self.earlier.get_or_insert_with(|| pools.earlier());
        if earlier.handovers >= MAX_HANDOVERS {
            return false;
        }
        let held = earlier.held();
        earlier.handovers += 1;
        earlier.states.push(std::mem::take(&mut self.state));
        pools.budget.change(held, earlier.held());
        // What the other direction left unread may be the first octets of the next protocol: it is kept.
        self.skip = [0; 2];
        self.inspected = [0; 2];
        self.attempts = [0; 2];
        true
    }

    #[inline(never)]
    fn recognise(&mut self, bytes: &[u8], manner: Manner, pools: &mut Pools) -> Recognised {
        if bytes.is_empty() {
            return Recognised::No;
        }
        match State::probe(bytes, manner, self.hints) {
            Asked::Known(place) => {
                self.state = State::begin(place, self.ports, pools);
                if matches!(self.state, State::Undecided) {
                    self.give_up(pools);
                    return Recognised::No;
                }
                return Recognised::Yes;
            }
            Asked::TooEarly if bytes.len() <= MAX_PROBED => return Recognised::TooEarly,
            _ if manner.transport == Transport::Datagram && bytes.len() <= KEEP_ALIVE => {}
            Asked::TooEarly | Asked::Unknown => self.attempts[manner.direction.index()] += 1,
        }
        let most = if manner.transport == Transport::Datagram { MAX_DATAGRAMS } else { MAX_ATTEMPTS };
        self.done = self.attempts.iter().any(|&attempts| attempts >= most);
        Recognised::No
    }

    /// There is no memory for this flow.
    fn give_up(&mut self, pools: &mut Pools) {
        pools.noted.states += 1;
        self.done = true;
        self.given_up = true;
    }

    fn resume_or_end(&mut self, direction: Direction) {
        self.done |= self.state.gap(direction) == AfterGap::Done;
    }
}
