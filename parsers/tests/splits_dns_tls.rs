// SPDX-License-Identifier: MIT OR Apache-2.0
//! However the streams of a flow are split, the transactions are the same; and no octets end the process.

use proptest::prelude::*;
use weir_flow::{Timestamp, app::AppFields};
use weir_parsers::app::{Direction, Input, Pools, Session, Transport};

type Part = (Direction, Vec<u8>);

/// Transactions, and whether something of them was cut, in an order that does not depend on when they were closed.
fn transactions(ports: [u16; 2], transport: Transport, parts: &[Part]) -> Vec<(AppFields, bool)> {
    transactions_behind_a_gap(ports, transport, parts, &[])
}

/// The same, where octets of both directions are missing between the two.
fn transactions_behind_a_gap(
    ports: [u16; 2],
    transport: Transport,
    parts: &[Part],
    behind: &[Part],
) -> Vec<(AppFields, bool)> {
    let mut session = Session::default();
    let mut pools = Pools::default();
    session.begin(ports);
    let mut found = Vec::new();
    for (index, (direction, bytes)) in parts.iter().chain(behind).enumerate() {
        if index == parts.len() {
            session.gap(Direction::Forward, 1, &mut pools);
            session.gap(Direction::Reverse, 1, &mut pools);
        }
        let input = Input { bytes, direction: *direction, transport, hinted: false, snapped: false };
        session.feed(input, Timestamp::ZERO, &mut pools);
        session.settle(&mut pools, &mut |app, _| found.push((app.to_owned(), app.is_cut())));
    }
    session.finish(&mut pools, &mut |app, _| found.push((app.to_owned(), app.is_cut())));
    found.sort_by_key(|app| format!("{app:?}"));
    found
}

/// Each part cut at the given places, which are taken modulo its length.
fn split(parts: &[Part], cuts: &[usize]) -> Vec<Part> {
    let mut all = Vec::new();
    for (direction, bytes) in parts {
        let mut at: Vec<_> = cuts.iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
        at.sort_unstable();
        at.dedup();
        all.extend(at.windows(2).map(|w| (*direction, bytes[w[0]..w[1]].to_vec())));
    }
    all
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// A message about one of three names, with one of three identifiers.
fn dns(is_response: bool) -> impl Strategy<Value = Vec<u8>> {
    (0_u8..3, 0_u8..3, 0_u8..4, any::<bool>(), any::<bool>()).prop_map(move |(id, name, answers, junk, edns)| {
        if junk && id == 2 && name == 2 {
            return framed(&[0xff; 20]);
        }
        let flags = if is_response { [0x81, 0x80] } else { [1, 0] };
        let answers = if is_response { answers } else { 0 };
        let mut message = vec![0, id, flags[0], flags[1], 0, 1, 0, answers, 0, 0, 0, u8::from(edns)];
        message.extend([1, b'a' + name, 0, 0, 1, 0, 1]);
        for i in 0..answers {
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, i]);
        }
        if edns {
            // With a client's subnet, of 16 bits.
            message.extend([0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 10, 0, 8, 0, 6, 0, 1, 16, 0, 192, 0]);
        }
        framed(&message)
    })
}

fn dns_flow() -> impl Strategy<Value = Vec<Part>> {
    let queries = prop::collection::vec(dns(false), 1..5).prop_map(|m| (Direction::Forward, m.concat()));
    let responses = prop::collection::vec(dns(true), 1..5).prop_map(|m| (Direction::Reverse, m.concat()));
    let parts = prop::collection::vec((queries, responses).prop_map(|(q, r)| [q, r]), 1..4);
    parts.prop_map(|parts| {
        // What the first message is decides which protocol it is; junk comes later.
        let first = (Direction::Forward, framed(b"\0\x09\x01\0\0\x01\0\0\0\0\0\0\x01z\0\0\x01\0\x01"));
        [&[first][..], &parts.concat()].concat()
    })
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |f: &[u8]| [&[22, 3, 1][..], &framed(f)].concat();
    message.chunks(size).flat_map(record).collect()
}

/// A handshake: a ClientHello of some length in records of some size, alerts and retries of the server, a ServerHello.
fn tls_flow() -> impl Strategy<Value = Vec<Part>> {
    (1_usize..400, 1_usize..600, any::<bool>(), any::<bool>(), any::<Option<[u8; 2]>>()).prop_map(
        |(padding, size, warned, more, junk)| {
            let hello = |kind: u8, suites: &[u8], extensions: &[u8]| {
                let mut body = [&[3, 3][..], &[7; 32], &[0], suites].concat();
                body.extend(framed(extensions));
                [&[kind, 0][..], &framed(&body)].concat()
            };
            let name = b"\0\0\0\x09\0\x07\0\0\x04a.bc";
            let pad = [&[0, 21][..], &framed(&vec![0; padding])].concat();
            let client = hello(1, &[0, 4, 0x13, 1, 0xc0, 0x2f, 1, 0], &[&name[..], &pad].concat());
            let server = hello(2, &[0xc0, 0x2f, 0], &[0xff, 1, 0, 1, 0]);
            let mut reverse = Vec::new();
            if warned {
                reverse.extend([21, 3, 1, 0, 2, 1, 112]);
            }
            reverse.extend(records(&[&server[..], if more { &[11, 0, 0, 2, 0, 0] } else { &[] }].concat(), size));
            let mut forward = records(&client, size);
            if let Some([at, bits]) = junk {
                let at = usize::from(at) % forward.len();
                // The start of the stream decides which protocol it is; probing has a bound of its own.
                if at >= 5 * 12 {
                    forward[at] ^= bits;
                }
            }
            vec![
                (Direction::Forward, forward),
                (Direction::Reverse, reverse),
                (Direction::Forward, vec![23, 3, 3, 0, 1, 0]),
            ]
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dns_is_the_same_in_any_split(flow in dns_flow(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let whole = transactions([40_000, 53], Transport::Stream, &flow);
        prop_assert_eq!(transactions([40_000, 53], Transport::Stream, &split(&flow, &cuts)), whole);
    }

    #[test]
    fn dns_is_the_same_in_any_split_behind_missing_octets(
        before in dns_flow(),
        mut behind in dns_flow(),
        missing in prop::collection::vec(any::<prop::sample::Index>(), 2),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        for (part, missing) in behind.iter_mut().zip(missing) {
            part.1.drain(..missing.index(part.1.len()));
        }
        let of = |behind: &[Part]| transactions_behind_a_gap([40_000, 53], Transport::Stream, &before, behind);
        prop_assert_eq!(of(&split(&behind, &cuts)), of(&behind));
    }

    #[test]
    fn tls_is_the_same_in_any_split(flow in tls_flow(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let whole = transactions([40_000, 443], Transport::Stream, &flow);
        prop_assert_eq!(transactions([40_000, 443], Transport::Stream, &split(&flow, &cuts)), whole);
    }

    #[test]
    fn octets_at_random_do_no_harm(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..6),
        port in prop::sample::select(vec![53_u16, 443, 4000]),
        start in prop::sample::select(vec![&[][..], &[22, 3, 1, 0, 90, 1, 0, 0, 86, 3, 3], &[0, 40, 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]]),
        transport in prop::sample::select(vec![Transport::Stream, Transport::Datagram]),
    ) {
        let parts: Vec<_> = parts.into_iter().map(|(reverse, bytes)| {
            let direction = if reverse { Direction::Reverse } else { Direction::Forward };
            (direction, [start, &bytes].concat())
        }).collect();
        transactions([40_000, port], transport, &parts);
    }
}

#[test]
fn octet_by_octet() {
    let query = framed(b"\0\x09\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
    for port in [53, 4000] {
        let parts: Vec<_> = query.iter().map(|&octet| (Direction::Forward, vec![octet])).collect();
        assert_eq!(transactions([40_000, port], Transport::Stream, &parts).len(), 1);
    }
}
