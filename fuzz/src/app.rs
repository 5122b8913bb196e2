// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the application parsers: each by itself, held to the contract in `weir_parsers::app`, and all of them behind
//! a [`Session`].
//!
//! Head: bit 0 datagrams, bit 1 no port is a hint. Control of a piece:
//!
//! | bit | meaning |
//! |---|---|
//! | 0 | from the responder |
//! | 1 | octets are missing before it: 1, or 1,000 times bits 5 to 7 |
//! | 2 | snapped |
//! | 3 | the same packet goes on with the next piece |
//! | 4 | the record is cut by a timeout behind it |

use std::fmt::Debug;

use weir_flow::{
    FlowRecord, Timestamp,
    app::{AppFields, AppRef},
};
use weir_parsers::app::{
    AfterGap, Direction, Feed, IDENTITIES, Input, Parser, Pools, Probe, Session, Step, Transactions, Transport,
};

use crate::{
    input::{Piece, pieces},
    record::Checker,
};

/// Bit of the head: the transport delivers datagrams.
pub const DATAGRAMS: u8 = 1;
/// Bit of the head: no port is a hint.
pub const UNHINTED: u8 = 2;
/// Bit of a control octet: from the responder.
pub const REVERSE: u8 = 1;
const GAP: u8 = 2;
const SNAPPED: u8 = 4;
const GOES_ON: u8 = 8;
const TIMEOUT: u8 = 16;

/// A port that is nobody's hint.
const ANY_PORT: u16 = 40_000;

fn transport(head: u8) -> Transport {
    if head & DATAGRAMS == 0 { Transport::Stream } else { Transport::Datagram }
}

fn direction(piece: &Piece<'_>) -> Direction {
    if piece.control & REVERSE == 0 { Direction::Forward } else { Direction::Reverse }
}

/// Octets that are missing before a piece.
fn missing(piece: &Piece<'_>) -> Option<u64> {
    (piece.control & GAP != 0).then(|| (u64::from(piece.control >> 5) * 1000).max(1))
}

macro_rules! declare {
    ($($name:ident $slug:ident,)*) => {
        $(
            #[doc = concat!("The parser of `", stringify!($slug), "`: alone, then behind a session.")]
            pub fn $slug(data: &[u8]) {
                one::<weir_parsers::app::$slug::Parser>(data);
            }
        )*

        /// The protocols' targets, in the order of their list.
        pub(crate) const TARGETS: &[crate::Target] =
            &[$(crate::Target { name: stringify!($slug), run: $slug }),*];

        /// Whether the protocol with this slug would take these octets.
        pub(crate) fn is_of(slug: &str, bytes: &[u8], transport: Transport) -> bool {
            let input = Input { bytes, direction: Direction::Forward, transport, hinted: true, snapped: false };
            $(if slug == stringify!($slug) {
                use weir_parsers::app::$slug::Parser as P;
                return P::IDENTITY.transports.contains(&transport) && P::probe(input) == Probe::Yes;
            })*
            false
        }
    };
}
weir_flow::app_protocols!(declare);

fn one<P: Parser>(data: &[u8])
where
    P::Fields: Debug,
{
    let (head, pieces) = pieces(data);
    let hinted = head & UNHINTED == 0;
    if P::IDENTITY.transports.contains(&transport(head)) {
        probe::<P>(transport(head), hinted, &pieces);
        let found = drive::<P>(transport(head), hinted, &pieces);
        any_split::<P>(transport(head), hinted, &pieces, &found);
    }
    let hint = P::IDENTITY.port_hints.first().copied().unwrap_or(ANY_PORT);
    run_session(transport(head), [ANY_PORT, if hinted { hint } else { ANY_PORT }], &pieces);
}

/// All parsers behind a session, whatever the ports say: bits 2 to 7 of the head choose the hint.
pub fn session(data: &[u8]) {
    let (head, pieces) = pieces(data);
    let hints = IDENTITIES.get(usize::from(head >> 2)).map_or(&[][..], |identity| identity.port_hints);
    run_session(transport(head), [hints.first().copied().unwrap_or(ANY_PORT), ANY_PORT], &pieces);
}

/// A probe is a pure function, and what it has said of the first octets it does not take back when more come.
fn probe<P: Parser>(transport: Transport, hinted: bool, pieces: &[Piece<'_>]) {
    for piece in pieces.iter().filter(|piece| !piece.bytes.is_empty()) {
        let snapped = piece.control & SNAPPED != 0;
        let ask = |bytes| P::probe(Input { bytes, direction: direction(piece), transport, hinted, snapped });
        let whole = ask(piece.bytes);
        assert_eq!(whole, ask(piece.bytes), "not a pure function");
        if transport == Transport::Stream && !snapped {
            let first = ask(piece.bytes.get(..piece.bytes.len().div_ceil(2)).unwrap_or_default());
            assert!(first == Probe::More || whole == first, "first {first:?}, then {whole:?}");
        }
    }
}

/// Octets of one direction on their way into a parser.
#[derive(Default)]
struct Side {
    unread: Vec<u8>,
    skip: u64,
}

/// Drives a parser as [`Session`] does, and holds it to what it promises for every step.
fn drive<P: Parser>(transport: Transport, hinted: bool, pieces: &[Piece<'_>]) -> Transactions<P::Fields> {
    let mut parser = P::default();
    let mut transactions = Transactions::new(P::IDENTITY.max_open);
    let mut scratch = P::Scratch::default();
    let mut sides = [Side::default(), Side::default()];
    for piece in pieces {
        let direction = direction(piece);
        let side = &mut sides[direction.index()];
        let snapped = piece.control & SNAPPED != 0;
        if let Some(missing) = missing(piece) {
            if missing <= side.skip {
                side.skip -= missing;
            } else {
                *side = Side::default();
                if parser.gap(direction) == AfterGap::Done {
                    return transactions;
                }
            }
        }
        let skipped = piece.bytes.len().min(usize::try_from(side.skip).unwrap_or(usize::MAX));
        side.skip -= skipped as u64;
        side.unread.extend(&piece.bytes[skipped..]);
        if skipped > 0 && skipped == piece.bytes.len() {
            continue;
        }
        let mut at = 0;
        loop {
            let bytes = &side.unread[at..];
            if bytes.is_empty() && (at > 0 || transport == Transport::Stream) {
                break;
            }
            let input = Input { bytes, direction, transport, hinted, snapped };
            let opened = transactions.opened();
            match parser.parse(input, &mut transactions, &mut scratch) {
                // An empty datagram was looked at, and that is all.
                Step::Consumed(_) if bytes.is_empty() => break,
                Step::Consumed(read) => {
                    assert!(read > 0, "read nothing");
                    at = side.unread.len().min(at.saturating_add(read));
                }
                Step::Skip(octets) => {
                    assert!(octets > 0 && !bytes.is_empty(), "skipped nothing");
                    let here = bytes.len().min(usize::try_from(octets).unwrap_or(usize::MAX));
                    side.skip = octets - here as u64;
                    at += here;
                }
                Step::More => {
                    assert_eq!(transactions.opened(), opened, "opened a transaction, but read nothing");
                    assert_eq!(
                        parser.parse(input, &mut transactions, &mut scratch),
                        Step::More,
                        "changed, but read nothing"
                    );
                    break;
                }
                Step::Handover(_) | Step::Done | Step::Reject => return transactions,
            }
        }
        side.unread.drain(..at);
        if transport == Transport::Datagram {
            side.unread.clear();
        }
        if side.unread.len() > P::IDENTITY.max_buffered {
            side.unread.clear();
            if parser.gap(direction) == AfterGap::Done {
                return transactions;
            }
        }
    }
    transactions
}

/// However a stream is split, the fields are the same, as long as what is unread stays within the parser's bound.
fn any_split<P: Parser>(transport: Transport, hinted: bool, pieces: &[Piece<'_>], found: &Transactions<P::Fields>)
where
    P::Fields: Debug,
{
    let octets: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    let is_broken = pieces.iter().any(|piece| piece.control & (GAP | SNAPPED) != 0);
    if transport == Transport::Datagram || is_broken || octets > P::IDENTITY.max_buffered {
        return;
    }
    let mut turns: Vec<(u8, Vec<u8>)> = Vec::new();
    for piece in pieces {
        match turns.last_mut() {
            Some((direction, bytes)) if *direction == piece.control & REVERSE => bytes.extend(piece.bytes),
            _ => turns.push((piece.control & REVERSE, piece.bytes.to_vec())),
        }
    }
    let turns: Vec<_> = turns.iter().map(|(control, bytes)| Piece { control: *control, bytes }).collect();
    let whole = drive::<P>(transport, hinted, &turns);
    assert_eq!(format!("{found:?}"), format!("{whole:?}"), "the split shows");
}

/// A new session and a recycled one find the same, every transaction found is closed once, and every record of one can be
/// written and read back.
fn run_session(transport: Transport, ports: [u16; 2], pieces: &[Piece<'_>]) {
    let (mut session, mut pools) = (Session::default(), Pools::default());
    let first = feed(&mut session, &mut pools, transport, ports, pieces);
    let again = feed(&mut session, &mut pools, transport, ports, pieces);
    assert_eq!(first, again, "a recycled session remembers");
    let mut checker = Checker::default();
    for fields in &first {
        checker.check(&FlowRecord { app: Some(fields.borrow()), ..FlowRecord::default() });
    }
}

fn feed(
    session: &mut Session,
    pools: &mut Pools,
    transport: Transport,
    ports: [u16; 2],
    pieces: &[Piece<'_>],
) -> Vec<AppFields> {
    let mut found = Vec::new();
    let mut close = |fields: AppRef<'_>, _| found.push(fields.to_owned());
    let before = pools.noted();
    session.begin(ports);
    for piece in pieces {
        let direction = direction(piece);
        let was_done = session.is_done();
        if let Some(missing) = missing(piece) {
            let noticed = session.gap(direction, missing, pools);
            assert!(!(was_done && noticed), "a session that is done noticed a gap");
        }
        let snapped = piece.control & SNAPPED != 0;
        let input = Input { bytes: piece.bytes, direction, transport, hinted: false, snapped };
        let wants = session.feed(input, Timestamp::ZERO, pools);
        assert_eq!(wants == Feed::Done, session.is_done());
        assert!(session.is_done() || !was_done, "done, then not");
        if piece.control & GOES_ON == 0 {
            session.settle(pools, &mut close);
        }
        if piece.control & TIMEOUT != 0 {
            session.close_current(pools, &mut close);
        }
    }
    session.finish(pools, &mut close);
    let noted = pools.noted();
    let [dropped, opened] = [noted.dropped - before.dropped, noted.opened - before.opened];
    assert_eq!(found.len() as u64 + dropped, opened, "transactions closed or dropped, and opened");
    session.recycle(pools);
    assert!(!session.is_done() && session.is_empty());
    found
}
