// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages; datagrams made at random.

use proptest::prelude::*;
use weir_flow::{
    Timestamp,
    app::{AppFields, Fields, Ntp},
};

use super::{
    super::{Direction, Feed, Input, Parser as _, Pools, Probe, Session, Transactions, Transport},
    Parser,
};

/// Request of a client that says little of itself.
const REQUEST: [u8; 48] = [
    0xe3, // not synchronised, version 4, client
    0, 6, 0x20, // stratum unspecified, poll 64 s, precision hidden
    0, 0, 0, 0, // root delay
    0, 0, 0, 0, // root dispersion
    0, 0, 0, 0, // reference identifier
    0, 0, 0, 0, 0, 0, 0, 0, // reference timestamp
    0, 0, 0, 0, 0, 0, 0, 0, // origin timestamp
    0, 0, 0, 0, 0, 0, 0, 0, // receive timestamp
    0xee, 0xab, 0x2f, 0xda, 0x80, 0, 0, 0, // transmit timestamp: 4004196314.5
];

/// The server's response to it.
const RESPONSE: [u8; 48] = [
    0x24, // no warning, version 4, server
    2, 6, 0xe7, // stratum 2, poll 64 s, precision 2^-25 s
    0, 0, 0x10, 0, // root delay 1/16 s
    0, 0, 0, 0x80, // root dispersion 1/512 s
    192, 0, 2, 1, // reference identifier
    0xee, 0xab, 0x2f, 0xd9, 0, 0, 0, 1, // reference timestamp: less than a nanosecond after the second
    0xee, 0xab, 0x2f, 0xda, 0x80, 0, 0, 0, // origin timestamp: that of the request
    0xee, 0xab, 0x2f, 0xda, 0xc0, 0, 0, 0, // receive timestamp: 4004196314.75
    0xee, 0xab, 0x2f, 0xda, 0xff, 0xff, 0xff, 0xff, // transmit timestamp: as late as it can be
];

const STRATUM: usize = 1;
const REFERENCE_ID: usize = 12;
const ORIGIN: usize = 24;
const RECEIVE: usize = 32;
const TRANSMIT: usize = 40;

/// A message with other octets from `at` on.
fn with(message: [u8; 48], at: usize, octets: &[u8]) -> [u8; 48] {
    let mut message = message;
    message[at..at + octets.len()].copy_from_slice(octets);
    message
}

struct Flow {
    session: Session,
    pools: Pools,
    closed: Vec<Ntp>,
}

impl Flow {
    fn new(port: u16) -> Self {
        let mut session = Session::default();
        session.begin([40_000, port]);
        Self { session, pools: Pools::default(), closed: Vec::new() }
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Feed {
        let input = Input { bytes, direction, transport: Transport::Datagram, hinted: false, snapped: false };
        let feed = self.session.feed(input, Timestamp::ZERO, &mut self.pools);
        self.session.settle(&mut self.pools, &mut |app, _| take(app.to_owned(), &mut self.closed));
        feed
    }

    fn finish(mut self) -> Vec<Ntp> {
        self.session.finish(&mut self.pools, &mut |app, _| take(app.to_owned(), &mut self.closed));
        self.closed
    }
}

fn take(app: AppFields, closed: &mut Vec<Ntp>) {
    if let AppFields::Ntp(ntp) = app {
        closed.push(*ntp);
    }
}

/// Transactions of datagrams; servers' go in reverse.
fn datagrams(port: u16, messages: &[&[u8]]) -> Vec<Ntp> {
    let mut flow = Flow::new(port);
    for message in messages {
        let is_response = message.first().is_some_and(|first| first & 7 == 4);
        flow.feed(if is_response { Direction::Reverse } else { Direction::Forward }, message);
    }
    flow.finish()
}

fn probe(bytes: &[u8], hinted: bool, snapped: bool) -> Probe {
    Parser::probe(Input { bytes, direction: Direction::Forward, transport: Transport::Datagram, hinted, snapped })
}

fn modes(found: &[Ntp]) -> Vec<u8> {
    found.iter().map(|ntp| ntp.mode.unwrap()).collect()
}

#[test]
fn request_and_response_are_one_transaction() {
    for port in [123, 4000] {
        let found = datagrams(port, &[&REQUEST, &RESPONSE]);
        let mut expected = Ntp {
            leap: Some(0),
            version: Some(4),
            mode: Some(4),
            stratum: Some(2),
            poll: Some(6),
            precision: Some(0xe7),
            root_delay: Some(0x1000),
            root_dispersion: Some(0x80),
            ..Ntp::default()
        };
        expected.reference_id.set(b"192.0.2.1");
        expected.reference_time.set(b"4004196313.000000000");
        expected.origin_time.set(b"4004196314.500000000");
        expected.receive_time.set(b"4004196314.750000000");
        expected.transmit_time.set(b"4004196314.999999999");
        assert_eq!(found, [expected]);
        assert!(!found[0].is_cut());
    }
}

#[test]
fn a_request_without_response_has_its_own_fields() {
    let found = datagrams(123, &[&REQUEST]);
    assert_eq!(modes(&found), [3]);
    assert_eq!((found[0].leap, found[0].stratum, found[0].precision), (Some(3), Some(0), Some(32)));
    assert_eq!(found[0].transmit_time.as_bytes(), b"4004196314.500000000");
    assert!(found[0].reference_id.is_empty() && found[0].reference_time.is_empty() && found[0].origin_time.is_empty());
}

#[test]
fn responses_are_matched_by_the_origin_timestamp() {
    let second = with(REQUEST, TRANSMIT, &[0xee, 0xab, 0x2f, 0xdb]);
    let stranger = with(RESPONSE, ORIGIN, &[0xee, 0xab, 0x2f, 0xdc]);
    let found = datagrams(123, &[&REQUEST, &second, &stranger, &RESPONSE]);
    assert_eq!(modes(&found), [4, 4, 3], "the stranger, the first, the second without response");
    assert_eq!(found[0].origin_time.as_bytes(), b"4004196316.500000000");
    assert_eq!(found[1].origin_time.as_bytes(), b"4004196314.500000000");
    assert_eq!(found[2].transmit_time.as_bytes(), b"4004196315.500000000");
}

#[test]
fn a_clock_that_is_not_known_is_matched_as_well() {
    let found = datagrams(123, &[&with(REQUEST, TRANSMIT, &[0; 8]), &with(RESPONSE, ORIGIN, &[0; 8])]);
    assert_eq!(modes(&found), [4]);
    assert!(found[0].origin_time.is_empty());
}

#[test]
fn in_interleaved_mode_the_origin_is_what_the_client_received_at() {
    let received = [0x83, 1, 2, 3, 4, 5, 6, 7];
    let found = datagrams(123, &[&with(REQUEST, RECEIVE, &received), &with(RESPONSE, ORIGIN, &received)]);
    assert_eq!(modes(&found), [4]);
}

#[test]
fn a_response_that_comes_again_at_once_is_no_transaction() {
    assert_eq!(modes(&datagrams(123, &[&REQUEST, &RESPONSE, &RESPONSE])), [4]);
    let next = with(REQUEST, TRANSMIT, &[0xee, 0xab, 0x2f, 0xdb]);
    assert_eq!(modes(&datagrams(123, &[&REQUEST, &RESPONSE, &next, &RESPONSE])), [4, 4, 3]);
}

#[test]
fn symmetric_and_broadcast_messages_stand_alone() {
    let messages: Vec<_> = [0x21, 0x22, 0x25].iter().map(|first| with(RESPONSE, 0, &[*first])).collect();
    let found = datagrams(123, &messages.iter().map(|m| &m[..]).collect::<Vec<_>>());
    assert_eq!(modes(&found), [1, 2, 5]);
}

#[test]
fn reference_identifiers() {
    let cases: [(u8, [u8; 4], &[u8]); 7] = [
        (0, *b"RATE", b"RATE"), // kiss code
        (1, *b"GPS\0", b"GPS"),
        (1, *b"\0GPS", b"0.71.80.83"), // not left-justified
        (1, [127, 127, 1, 1], b"127.127.1.1"),
        (0, [0; 4], b""),
        (2, *b"GPS\0", b"71.80.83.0"),
        (16, [255; 4], b"255.255.255.255"),
    ];
    for (stratum, id, expected) in cases {
        let message = with(with(RESPONSE, STRATUM, &[stratum]), REFERENCE_ID, &id);
        let found = datagrams(123, &[&message]);
        assert_eq!(found[0].reference_id.as_bytes(), expected, "{stratum} {id:?}");
    }
}

#[test]
fn one_cut_short_is_none() {
    for hinted in [true, false] {
        for len in 0..48 {
            assert_eq!(probe(&RESPONSE[..len], hinted, false), Probe::No, "{len}");
            assert_eq!(probe(&RESPONSE[..len], hinted, true), Probe::No, "{len}");
        }
        assert_eq!(probe(&RESPONSE, hinted, false), Probe::Yes);
    }
    // How long it was is not known, and off its port that is part of the evidence.
    assert_eq!(probe(&[&RESPONSE[..], &[1, 4, 0]].concat(), true, true), Probe::Yes);
    assert_eq!(probe(&RESPONSE, false, true), Probe::No);
}

#[test]
fn what_follows_the_header_is_extensions_and_a_code() {
    let extension = |len: u8, octets: usize| [&[1, 4, 0, len][..], &vec![7; octets - 4]].concat();
    let (unique, sha1) = (extension(36, 36), vec![9; 24]);
    let cases: [(&str, Vec<u8>, Probe); 10] = [
        ("crypto-NAK", vec![0; 4], Probe::Yes),
        ("key and MD5", vec![0xff; 20], Probe::Yes),
        ("key and SHA-1", sha1.clone(), Probe::Yes),
        ("extension of 36 octets", unique.clone(), Probe::Yes),
        ("two", [&unique[..], &extension(16, 16)].concat(), Probe::Yes),
        ("extension, then key and SHA-1", [&unique[..], &sha1].concat(), Probe::Yes),
        ("an octet behind an extension", [&unique[..], &[0]].concat(), Probe::No),
        ("extension that claims one word too much", extension(44, 40), Probe::No),
        ("extension that claims nothing", extension(0, 40), Probe::No),
        ("an octet behind the header", vec![0], Probe::No),
    ];
    for (name, tail, expected) in cases {
        for hinted in [true, false] {
            assert_eq!(probe(&[&RESPONSE[..], &tail].concat(), hinted, false), expected, "{name}");
        }
    }
}

#[test]
fn what_no_program_sends_is_none_on_any_port() {
    let cases: [(&str, usize, u8); 6] = [
        ("version 0", 0, 0x04),
        ("version 5", 0, 0x2c),
        ("reserved mode", 0, 0x20),
        ("control message", 0, 0x26),
        ("private message", 0, 0x27),
        ("reserved stratum", STRATUM, 17),
    ];
    for (name, at, octet) in cases {
        assert_eq!(probe(&with(RESPONSE, at, &[octet]), true, false), Probe::No, "{name}");
    }
}

#[test]
fn what_a_clock_does_not_say_is_none_on_another_port() {
    let cases: [(&str, usize, &[u8]); 8] = [
        ("poll interval of 2^18 s", 2, &[18]),
        ("precision of 2 s", 3, &[1]),
        ("root delay over 16 s", 4, &[0, 16, 0, 1]),
        ("root dispersion over 16 s", 8, &[0, 16, 0, 1]),
        ("clock set weeks ago", 16, &[0xee, 0x8b]),
        ("clock set in weeks", 16, &[0xee, 0xcb]),
        ("received at another time", RECEIVE, &[0x00]),
        ("transmit timestamp not known", TRANSMIT, &[0; 8]),
    ];
    for (name, at, octets) in cases {
        let message = with(RESPONSE, at, octets);
        assert_eq!((probe(&message, true, false), probe(&message, false, false)), (Probe::Yes, Probe::No), "{name}");
    }
}

#[test]
fn a_client_that_says_nothing_of_its_clock_may_send_a_random_time() {
    let random = with(REQUEST, TRANSMIT, b"time");
    assert_eq!(probe(&random, false, false), Probe::Yes);
    assert_eq!(probe(&with(random, REFERENCE_ID, b"INIT"), false, false), Probe::No);
}

#[test]
fn other_protocols_are_none() {
    // A query of DNS whose identifier looks like version 4, client, stratum 2, of exactly 48 octets.
    let mut dns = vec![0x23, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 30];
    dns.extend([b'a'; 30]);
    dns.extend([0, 0, 1, 0, 1]);
    let rtp = [&[0x91, 8, 0, 1, 0, 0, 0x10, 0, 0x12, 0x34, 0x56, 0x78][..], &[0xd5; 36]].concat();
    let quic = [&[0xcb, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0][..], &[0x5a; 32]].concat();
    let sip = b"OPTIONS sip:a@example.org SIP/2.0\r\nVia: SIP/2.0\n".to_vec();
    for (name, bytes) in [("dns", dns), ("rtp", rtp), ("quic", quic), ("sip", sip[..48].to_vec())] {
        assert_eq!(bytes.len(), 48, "{name}");
        assert_eq!(probe(&bytes, false, false), Probe::No, "{name}");
    }
}

#[test]
fn control_messages_are_passed_over() {
    let control = [0x16, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut flow = Flow::new(123);
    flow.feed(Direction::Forward, &REQUEST);
    for _ in 0..20 {
        assert_eq!(flow.feed(Direction::Forward, &control), Feed::More);
    }
    flow.feed(Direction::Reverse, &RESPONSE);
    assert_eq!(modes(&flow.finish()), [4]);
}

#[test]
fn eight_datagrams_of_something_else_end_the_flow() {
    let mut flow = Flow::new(123);
    flow.feed(Direction::Forward, &REQUEST);
    for _ in 0..7 {
        assert_eq!(flow.feed(Direction::Forward, b""), Feed::More);
    }
    assert_eq!(flow.feed(Direction::Forward, b"junk"), Feed::Done);
    assert_eq!(modes(&flow.finish()), [3]);
}

#[test]
fn requests_without_response_are_bounded() {
    let mut transactions = Transactions::new(Parser::IDENTITY.max_open);
    let mut parser = Parser::default();
    for n in 0..100 {
        let bytes = &with(REQUEST, TRANSMIT, &[n]);
        let (direction, transport) = (Direction::Forward, Transport::Datagram);
        parser.parse(Input { bytes, direction, transport, hinted: true, snapped: false }, &mut transactions, &mut ());
    }
    let mut open = 0;
    while let Some(index) = transactions.oldest_open() {
        transactions.complete(index);
        open += 1;
    }
    assert_eq!(open, 16);
}

/// Octets of any kind, or a message with some of them changed and something behind.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        any::<bool>(),
        prop::collection::vec((0_usize..48, any::<u8>()), 0..4),
        prop::collection::vec(any::<u8>(), 0..80),
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        changed.prop_map(|(is_response, changes, tail)| {
            let mut message = if is_response { RESPONSE } else { REQUEST };
            changes.into_iter().for_each(|(at, octet)| message[at] = octet);
            [&message[..], &tail].concat()
        }),
    ]
}

proptest! {
    #[test]
    fn any_datagrams_give_whole_fields(
        messages in prop::collection::vec((any::<bool>(), any::<bool>(), datagram()), 0..12),
        port in prop_oneof![Just(123_u16), Just(4000)],
    ) {
        let mut flow = Flow::new(port);
        for (is_reverse, snapped, bytes) in &messages {
            let direction = if *is_reverse { Direction::Reverse } else { Direction::Forward };
            let input = Input { bytes, direction, transport: Transport::Datagram, hinted: false, snapped: *snapped };
            flow.session.feed(input, Timestamp::ZERO, &mut flow.pools);
            flow.session.settle(&mut flow.pools, &mut |app, _| take(app.to_owned(), &mut flow.closed));
        }
        let found = flow.finish();
        prop_assert!(found.len() <= messages.len());
        for ntp in found {
            prop_assert!(!ntp.is_cut());
            prop_assert!(matches!(ntp.version, Some(1..=4)) && matches!(ntp.mode, Some(1..=5)));
            prop_assert!(matches!(ntp.stratum, Some(0..=16)));
        }
    }

    #[test]
    fn octets_at_random_are_none_on_another_port(bytes in prop::collection::vec(any::<u8>(), 48..=48)) {
        prop_assert_eq!(probe(&bytes, false, false), Probe::No);
    }
}
