// SPDX-License-Identifier: MIT OR Apache-2.0
//! However the streams of a TLS handshake are split, however its records are cut, and however often datagrams of DTLS come, the
//! fields are the same; and no octets end the process.

use proptest::prelude::*;
use weir_flow::{Timestamp, app::AppFields};
use weir_parsers::app::{Direction, Input, Pools, Session, Transport};

type Part = (Direction, Vec<u8>);

use Direction::{Forward, Reverse};

fn transactions(transport: Transport, parts: &[Part]) -> Vec<(AppFields, bool)> {
    let mut session = Session::default();
    let mut pools = Pools::default();
    session.begin([40_000, 4000]);
    let mut found = Vec::new();
    for (direction, bytes) in parts {
        let input = Input { bytes, direction: *direction, transport, hinted: false, snapped: false };
        session.feed(input, Timestamp::ZERO, &mut pools);
        session.settle(&mut pools, &mut |app, _| found.push((app.to_owned(), app.is_cut())));
    }
    session.finish(&mut pools, &mut |app, _| found.push((app.to_owned(), app.is_cut())));
    session.recycle(&mut pools);
    assert_eq!(pools.budget().charged(), pools.spare(), "all that was charged is spare");
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

fn vector<const LENGTH: usize>(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[4 - LENGTH..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector::<2>(data)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector::<3>(body)].concat()
}

fn records(messages: &[u8], size: usize) -> Vec<u8> {
    messages.chunks(size).flat_map(|fragment| [&[22, 3, 3][..], &vector::<2>(fragment)].concat()).collect()
}

fn client(padding: usize, early: bool) -> Vec<u8> {
    let early = if early { extension(42, &[]) } else { Vec::new() };
    let list =
        [extension(0, b"\0\x07\0\0\x04a.bc"), extension(35, &[7; 9]), early, extension(21, &vec![0; padding])].concat();
    let body = [&[3, 3][..], &[7; 32], &vector::<1>(&[9; 32]), &vector::<2>(&[0x13, 1, 0xc0, 0x2f]), &[1, 0]].concat();
    message(1, &[body, vector::<2>(&list)].concat())
}

/// The random of a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

fn server(random: [u8; 32], is_tls13: bool) -> Vec<u8> {
    let version = if is_tls13 { extension(43, &[3, 4]) } else { extension(16, b"\0\x03\x02h2") };
    let body = [&[3, 3][..], &random, &vector::<1>(&[]), &[0xc0, 0x2f, 0], &vector::<2>(&version)].concat();
    message(2, &body)
}

/// Part of a certificate: serial, algorithm, names, times, as far as they fit.
fn certificate(len: usize) -> Vec<u8> {
    let name = b"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a";
    let times = b"\x30\x1e\x17\x0d240101000000Z\x17\x0d250101000000Z";
    let signed = [&b"\x02\x01\x07\x30\x00"[..], name, times, name, &vec![0x30; len]].concat();
    let signed = [&[0x30, 0x82][..], &vector::<2>(&signed)].concat();
    let whole = [&signed[..], b"\x30\x03\x06\x01\x2a\x03\x01\x00"].concat();
    let leaf = [&[0x30, 0x82][..], &vector::<2>(&whole)].concat();
    message(11, &vector::<3>(&[vector::<3>(&leaf), vector::<3>(&vec![0; len])].concat()))
}

/// What each side sends, and what else comes between: alerts, early data, another hello, certificates, junk.
fn flow() -> impl Strategy<Value = Vec<Part>> {
    let sizes = (1_usize..600, 1_usize..900, 1_usize..2000);
    (sizes, any::<[bool; 6]>(), any::<Option<(u16, u8, bool)>>()).prop_map(
        |((padding, size, certified), [warned, retried, early, is_tls13, resumed, asked], junk)| {
            let change = [20, 3, 3, 0, 1, 1];
            let data = [&[23, 3, 3][..], &vector::<2>(&[9; 300])].concat();
            let mut forward = records(&client(padding, early), size);
            if early {
                forward.extend([&change[..], &data].concat());
            }
            let mut parts = Vec::new();
            let mut reverse = if warned { vec![21, 3, 1, 0, 2, 1, 112] } else { Vec::new() };
            if retried {
                reverse.extend(records(&server(RETRY, true), size));
                parts.push((Forward, std::mem::replace(&mut forward, records(&client(padding + 9, false), size))));
                parts.push((Reverse, std::mem::take(&mut reverse)));
            }
            let mut flight = server([5; 32], is_tls13);
            if !is_tls13 && !resumed {
                flight.extend([certificate(certified), message(14, &[])].concat());
            }
            reverse.extend(records(&flight, size));
            reverse.extend([&change[..], &data].concat());
            let mut answer = Vec::new();
            if asked {
                answer.extend(records(&[certificate(certified), message(16, &[7; 66])].concat(), size));
            }
            answer.extend([&change[..], &data].concat());
            parts.extend([(Forward, forward), (Reverse, reverse), (Forward, answer)]);
            if let Some((at, bits, is_reverse)) = junk {
                let (_, bytes) = &mut parts[usize::from(is_reverse)];
                let at = usize::from(at) % bytes.len();
                // The start of the stream decides which protocol it is, the server's first octet, whether it speaks TLS; probing
                // has a bound of its own.
                if at >= if is_reverse { 1 } else { 5 * 12 } {
                    bytes[at] ^= bits;
                }
            }
            parts
        },
    )
}

/// A message of DTLS in fragments of so many octets, a datagram each.
fn datagrams(message: &[u8], number: u8, size: usize) -> Vec<Vec<u8>> {
    let body = &message[4..];
    let piece = |(i, piece): (usize, &[u8])| {
        let offset = ((i * size) as u32).to_be_bytes();
        let fragment = [&message[..4], &[0, number], &offset[1..], &vector::<3>(piece)].concat();
        [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, number][..], &vector::<2>(&fragment)].concat()
    };
    body.chunks(size).enumerate().map(piece).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_the_same_in_any_split(flow in flow(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let whole = transactions(Transport::Stream, &flow);
        prop_assert_eq!(transactions(Transport::Stream, &split(&flow, &cuts)), whole);
    }

    #[test]
    fn a_stream_is_the_same_octet_by_octet(flow in flow()) {
        let octets: Vec<_> = flow.iter().flat_map(|(way, bytes)| bytes.iter().map(|&octet| (*way, vec![octet]))).collect();
        prop_assert_eq!(transactions(Transport::Stream, &octets), transactions(Transport::Stream, &flow));
    }

    #[test]
    fn datagrams_are_the_same_if_they_come_again(size in 60_usize..900, again in prop::collection::vec(0_usize..4, 100)) {
        // With an empty cookie.
        let mut hello = client(200, false);
        hello.insert(4 + 2 + 32 + 33, 0);
        hello = message(1, &hello[4..]);
        hello[4..6].copy_from_slice(&[0xfe, 0xfd]);
        let mut answer = server([5; 32], false);
        answer[4..6].copy_from_slice(&[0xfe, 0xfd]);
        let flight = [datagrams(&answer, 0, size), datagrams(&certificate(500), 1, size)].concat();
        let mut once: Vec<Part> = datagrams(&hello, 0, size).into_iter().map(|datagram| (Forward, datagram)).collect();
        once.extend(flight.into_iter().map(|datagram| (Reverse, datagram)));
        let more = once.iter().zip(again).flat_map(|(part, times)| std::iter::repeat_n(part.clone(), times + 1));
        let found = transactions(Transport::Datagram, &once);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(transactions(Transport::Datagram, &more.collect::<Vec<_>>()), found);
    }

    #[test]
    fn octets_at_random_do_no_harm(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
        starts in prop::collection::vec(prop::sample::select(vec![
            &[][..],
            &[22, 3, 1, 0, 90, 1, 0, 0, 86, 3, 3],
            &[22, 3, 3, 1, 0, 11, 0, 0, 200],
            &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 48, 0xfe, 0xfd],
            &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 11, 0, 0, 200, 0, 1, 0, 0, 9, 0, 0, 48],
        ]), 8),
        transport in prop::sample::select(vec![Transport::Stream, Transport::Datagram]),
    ) {
        let parts: Vec<_> = parts.into_iter().zip(starts).map(|((reverse, bytes), start)| {
            (if reverse { Reverse } else { Forward }, [start, &bytes].concat())
        }).collect();
        transactions(transport, &parts);
    }
}
