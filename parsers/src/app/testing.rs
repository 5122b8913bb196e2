// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of several protocols share: flows that are fed by hand, in pieces and with damage.

use proptest::prelude::*;
use weir_flow::{
    Timestamp,
    app::{AppFields, AppRef},
};

use super::{Direction, Feed, Input, Parser, Pools, Probe, Session, Transport};

/// Octets of one direction.
pub type Part = (Direction, Vec<u8>);

/// A flow with its session.
pub struct Flow {
    session: Session,
    pools: Pools,
    transport: Transport,
    closed: Vec<(AppFields, bool)>,
}

impl Flow {
    pub fn new(transport: Transport, ports: [u16; 2]) -> Self {
        let mut session = Session::default();
        session.begin(ports);
        Self { session, pools: Pools::default(), transport, closed: Vec::new() }
    }

    pub fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Feed {
        let feed = self.session.feed(input(bytes, direction, self.transport), Timestamp::ZERO, &mut self.pools);
        let mut close = |app: AppRef<'_>, _| self.closed.push((app.to_owned(), app.is_cut()));
        self.session.settle(&mut self.pools, &mut close);
        feed
    }

    /// Name of the protocol, if it is certain.
    pub fn application(&self) -> Option<&'static str> {
        let number = self.session.application()?;
        weir_flow::app::SLUGS.get(usize::from(number) - 1).copied()
    }

    /// All transactions, and whether something of them was cut.
    pub fn finish(mut self) -> Vec<(AppFields, bool)> {
        let mut close = |app: AppRef<'_>, _| self.closed.push((app.to_owned(), app.is_cut()));
        self.session.finish(&mut self.pools, &mut close);
        self.closed
    }
}

fn input(bytes: &[u8], direction: Direction, transport: Transport) -> Input<'_> {
    Input { bytes, direction, transport, hinted: false, snapped: false }
}

/// What a protocol says of the first octets of a flow.
pub fn probe<P: Parser>(transport: Transport, hinted: bool, bytes: &[u8]) -> Probe {
    P::probe(Input { hinted, ..input(bytes, Direction::Forward, transport) })
}

/// The transactions of a flow.
pub fn read(transport: Transport, ports: [u16; 2], parts: &[Part]) -> Vec<(AppFields, bool)> {
    let mut flow = Flow::new(transport, ports);
    for (direction, bytes) in parts {
        flow.feed(*direction, bytes);
    }
    flow.finish()
}

/// The protocols that say yes to the first octets of a flow whose ports are nobody's hints.
pub fn claimed_by(transport: Transport, bytes: &[u8]) -> Vec<&'static str> {
    let mut slugs = Vec::new();
    macro_rules! ask {
        ($($name:ident $slug:ident,)*) => {
            $(if <super::$slug::Parser as Parser>::IDENTITY.transports.contains(&transport)
                && probe::<super::$slug::Parser>(transport, false, bytes) == Probe::Yes
            {
                slugs.push(stringify!($slug));
            })*
        };
    }
    weir_flow::app_protocols!(ask);
    slugs
}

/// Cut at every single place, into pieces of every small size, and octet by octet: always the same transactions.
pub fn assert_the_same_in_any_pieces(ports: [u16; 2], parts: &[Part]) {
    let whole = read(Transport::Stream, ports, parts);
    assert!(!whole.is_empty());
    let longest = parts.iter().map(|part| part.1.len()).max().unwrap_or(0);
    let sizes = (1..20).chain([64, 100, 500]);
    for size in sizes {
        let pieces: Vec<Part> =
            parts.iter().flat_map(|(d, bytes)| bytes.chunks(size).map(|piece| (*d, piece.to_vec()))).collect();
        assert_eq!(read(Transport::Stream, ports, &pieces), whole, "pieces of {size}");
    }
    for at in 1..longest {
        let cut = |(d, bytes): &Part| {
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            [(*d, a.to_vec()), (*d, b.to_vec())]
        };
        let pieces: Vec<Part> = parts.iter().flat_map(cut).filter(|part| !part.1.is_empty()).collect();
        assert_eq!(read(Transport::Stream, ports, &pieces), whole, "cut at {at}");
    }
}

/// Parts of a flow with octets changed, left out and put in, but for the first ones of each, which say what it is.
pub fn damaged(parts: Vec<Part>, spared: usize) -> impl Strategy<Value = Vec<Part>> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..4, any::<u8>());
    prop::collection::vec(change, 0..6).prop_map(move |changes| {
        let mut parts = parts.clone();
        for (part, at, what, octet) in changes {
            let part = part.index(parts.len());
            let bytes = &mut parts[part].1;
            if bytes.len() <= spared {
                continue;
            }
            let at = spared + at.index(bytes.len() - spared);
            match what {
                0 => bytes[at] = octet,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, octet),
                _ => _ = bytes.remove(at),
            }
        }
        parts.retain(|part| !part.1.is_empty());
        parts
    })
}

/// The parts in pieces of one size.
pub fn in_pieces(parts: &[Part], size: usize) -> Vec<Part> {
    parts.iter().flat_map(|(d, bytes)| bytes.chunks(size.max(1)).map(|piece| (*d, piece.to_vec()))).collect()
}

/// Any octets in both directions.
pub fn anything() -> impl Strategy<Value = Vec<Part>> {
    let direction = any::<bool>().prop_map(|b| if b { Direction::Forward } else { Direction::Reverse });
    prop::collection::vec((direction, prop::collection::vec(any::<u8>(), 1..200)), 0..12)
}
