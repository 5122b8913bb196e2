// SPDX-License-Identifier: MIT OR Apache-2.0
//! Application protocols, recognised by content.
//!
//! A protocol is a folder with a [`Parser`]. It gets the octets of each direction in order, and writes what it finds into
//! the fields of open [`Transactions`]. It keeps no unread octets: a message that is not complete yet is left unread, and
//! is offered again, longer, when more has come. So however a stream is split, the fields are the same.
//!
//! ```text
//!   octets of one direction ─► Session ─► probe, until one says yes ─► Parser::parse ─► Transactions ─► one record each
//!                                └─ keeps what was left unread, up to the parser's bound
//! ```
//!
//! The list of protocols is [`weir_flow::app_protocols`].

mod ber;
mod budget;
#[cfg(test)]
mod conversation;
mod line;
mod octets;
mod session;
#[cfg(test)]
mod testing;
mod transactions;
mod unread;

use std::fmt::Debug;

use weir_flow::{Timestamp, app::Fields};

pub use budget::{Budget, RESERVE};
pub use octets::Octets;
pub use session::{DEPTH, Feed, KEEP_ALIVE, MAX_DATAGRAMS, Noted, Pools, Session, is_unknown_datagram, memory_of};
pub use transactions::{Closed, Transactions};

/// Direction of octets within a flow: from its initiator, or towards it.
///
/// Who began is a guess where a capture starts in the middle; a parser tells client from server by what they say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the initiator.
    Forward,
    /// From the responder.
    Reverse,
}

impl Direction {
    /// The opposite direction.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }

    /// 0 for forward, 1 for reverse: for arrays of two.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How a transport delivers octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// One message after another in a stream, cut anywhere: TCP.
    Stream,
    /// Whole messages: UDP.
    Datagram,
}

/// What a protocol says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The slug, as in `weir_flow::app`.
    pub slug: &'static str,
    /// Transports it is looked for on.
    pub transports: &'static [Transport],
    /// Ports that make it be asked first. Never proof.
    pub port_hints: &'static [u16],
    /// Most octets of an incomplete message that are kept for it, for each direction.
    pub max_buffered: usize,
    /// Most octets for each direction that it looks at before it is done; what it skips does not count. `u32::MAX` is no bound.
    pub max_inspected: u32,
    /// Most transactions that may be open at once, such as pipelined requests.
    pub max_open: u32,
}

/// Octets of one direction, beginning where the last step ended.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// At least one octet of a stream, or one datagram, which may be empty.
    pub bytes: &'a [u8],
    /// Which way they went.
    pub direction: Direction,
    /// How they were delivered.
    pub transport: Transport,
    /// Whether a port of the flow is among the protocol's hints.
    pub hinted: bool,
    /// Octets after these were on the wire but were not captured: what looks incomplete will stay so.
    pub snapped: bool,
}

/// Answer of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// This is it.
    Yes,
    /// This is not it.
    No,
    /// Cannot be told from so few octets.
    More,
}

/// Answer of one parsing step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// This many octets are read, at least one; the rest is offered at once. More than there are: all.
    Consumed(usize),
    /// The next message is not complete; nothing was read, and nothing was changed.
    More,
    /// This many octets from here on hold nothing of interest. They may be more than there are: those to come are
    /// passed over as well.
    Skip(u64),
    /// This many octets are read, and what follows is another protocol: it is to be recognised anew.
    Handover(usize),
    /// Everything of interest is known. From now on the flow costs nothing.
    Done,
    /// This is not the protocol after all, or is broken beyond use.
    Reject,
}

/// How a parser goes on after octets that are missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AfterGap {
    /// It finds the start of the next message by itself; the octets after the gap are offered to it.
    Resume,
    /// It cannot go on.
    Done,
}

/// A parser of one application protocol; its value is the state of one flow.
///
/// `probe` and `parse` are to be `#[inline(always)]`: each is called in one place, and only there the parts of an [`Input`] are in
/// registers. Handed on as a whole it is written in parts and read as one, for which a processor waits until all stores before have
/// reached its cache.
pub trait Parser: Default {
    /// The fields that it fills.
    type Fields: Fields;

    /// Memory that it needs only while it reads: one for each worker.
    type Scratch: Debug + Default;

    /// What it says of itself.
    const IDENTITY: Identity;

    /// What it may begin with, place by place, as far as that is said: [`Parser::probe`] says no to all else, and is not asked.
    /// The first four places are looked at, for all parsers at once.
    const BEGINS: &[Octets] = &[];

    /// Whether these first octets of one direction are of this protocol. Looks at nothing but `input`.
    fn probe(input: Input<'_>) -> Probe;

    /// Reads one message, or one part of a message that stands by itself.
    ///
    /// Must not change anything when it answers [`Step::More`]. A datagram is offered once; what is left of it after
    /// [`Step::More`] is dropped.
    /// Whatever is in `scratch`, the answer is the same.
    fn parse(
        &mut self,
        input: Input<'_>,
        transactions: &mut Transactions<Self::Fields>,
        scratch: &mut Self::Scratch,
    ) -> Step;

    /// Reads a datagram that changes nothing but numbers of the transaction that packets now belong to: for protocols in which
    /// every packet counts, and most of them only in that way. False, and nothing is changed, if it takes [`Parser::parse`].
    ///
    /// Must not change texts or lists, nor what is told by [`Parser::held`]: no budget is asked.
    #[inline(always)]
    fn count(&mut self, _input: Input<'_>, _now: Timestamp, _current: &mut Self::Fields) -> bool {
        false
    }

    /// Whether the flow is of this protocol beyond doubt. One that is not has no `applicationName`.
    fn is_certain(&self) -> bool {
        true
    }

    /// The flow that it was recognised in has these ports: for what only they tell. Comes before the first octets.
    fn begin(&mut self, ports: [u16; 2]) {
        let _ = ports;
    }

    /// Octets of one direction are missing.
    fn gap(&mut self, direction: Direction) -> AfterGap;

    /// Makes the state as new, keeps the memory.
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes of memory that the state holds beside itself, as [`weir_flow::allocated`] counts them.
    fn held(&self) -> usize {
        0
    }
}

macro_rules! declare {
    ($($name:ident $slug:ident,)*) => {
        $(pub mod $slug;)*

        /// What each protocol says of itself, in the order of the list.
        pub const IDENTITIES: &[Identity] = &[$(<$slug::Parser as Parser>::IDENTITY),*];
    };
}
weir_flow::app_protocols!(declare);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a parser says no to octets that it does not begin with.
    fn refuses<P: Parser>(input: Input<'_>) -> bool {
        let may_begin = input.bytes.iter().zip(P::BEGINS).all(|(&octet, begins)| begins.has(octet));
        may_begin || !P::IDENTITY.transports.contains(&input.transport) || P::probe(input) == Probe::No
    }

    macro_rules! declare {
        ($($name:ident $slug:ident,)*) => {
            const REFUSALS: &[fn(Input<'_>) -> bool] = &[$(refuses::<$slug::Parser>),*];
        };
    }
    weir_flow::app_protocols!(declare);

    /// Beginnings of messages, of which the first octets are replaced.
    const BEGINNINGS: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS rtsp://a/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"REGISTER sip:a SIP/2.0\r\nCall-ID: a\r\n\r\n",
        b"220 a ESMTP FTP ready\r\nEHLO a\r\n",
        b"* OK a POP3 <1@a>\r\na1 CAPABILITY\r\n",
        b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01",
        // The hello of DTLS as it was before it had a version of its own.
        b"\x16\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0f\x01\x00\x00\x30\x00\x00\x00\x00\x00\x00\x00\x03\x01\x00\x00",
        b"\r\n\r\n",
    ];

    proptest! {
        #[test]
        fn a_parser_begins_with_nothing_but_what_it_says(
            first in prop_oneof![prop::collection::vec(any::<u8>(), 1..5), Just(Vec::new())],
            odd in any::<(u8, prop::sample::Index)>(),
            rest in prop_oneof![prop::sample::select(BEGINNINGS).prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 0..80)],
            replaced in 0..5_usize,
            is_stream in any::<bool>(),
            hinted in any::<bool>(),
            snapped in any::<bool>(),
        ) {
            let mut bytes = [&first[..], rest.get(replaced..).unwrap_or_default()].concat();
            let place = odd.1.index(4);
            bytes.get_mut(place).into_iter().for_each(|octet| *octet = odd.0);
            let transport = if is_stream { Transport::Stream } else { Transport::Datagram };
            let input = Input { bytes: &bytes, direction: Direction::Forward, transport, hinted, snapped };
            for (slug, refuses) in weir_flow::app::SLUGS.iter().zip(REFUSALS) {
                prop_assert!(refuses(input), "{slug} did not refuse {bytes:?}");
            }
        }
    }
}
