// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Rdp};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 3389];

fn message(code: u8, variable: &[u8]) -> Vec<u8> {
    let len = 11 + variable.len();
    let mut message = vec![3, 0, 0, len as u8]; // version, nothing, length
    message.extend([len as u8 - 5, code, 0, 0, 0x12, 0x34, 0]); // length indicator, code, references, class
    message.extend(variable);
    message
}

fn request() -> Vec<u8> {
    // A cookie, then a negotiation: type, flags, length, TLS and CredSSP.
    message(0xe0, b"Cookie: mstshash=alice\r\n\x01\0\x08\0\x03\0\0\0")
}

fn confirm(protocol: u8) -> Vec<u8> {
    message(0xd0, &[2, 0x1f, 8, 0, protocol, 0, 0, 0])
}

/// The beginning of a ClientHello in a record, with a random of 32 octets, one cipher suite and no extensions.
fn hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
    hello
}

fn rdp(parts: &[Part]) -> Rdp {
    match testing::read(Transport::Stream, PORTS, parts).swap_remove(0) {
        (AppFields::Rdp(rdp), false) => *rdp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_that_goes_on_with_tls() {
    let parts = [(Forward, request()), (Reverse, confirm(2)), (Forward, hello())];
    let rdp = rdp(&parts);
    assert_eq!(rdp.cookie.as_bytes(&rdp.memory), b"alice");
    assert_eq!((rdp.requested_protocols, rdp.selected_protocol, rdp.failure_code), (Some(3), Some(2), None));
    let found = testing::read(Transport::Stream, PORTS, &parts);
    assert!(matches!(found[1].0, AppFields::Tls(_)), "{found:?}");
    // Also when the answer was not seen.
    let found = testing::read(Transport::Stream, PORTS, &[(Forward, request()), (Forward, hello())]);
    assert!(matches!(found[1].0, AppFields::Tls(_)), "{found:?}");
}

#[test]
fn a_token_and_a_refusal() {
    let parts = [
        (Forward, message(0xe0, b"Cookie: msts=3640205228.15629.0000\r\n")),
        (Reverse, message(0xd0, &[3, 0, 8, 0, 2, 0, 0, 0])),
    ];
    let rdp = rdp(&parts);
    assert_eq!(rdp.routing_token.as_bytes(&rdp.memory), b"3640205228.15629.0000");
    assert_eq!((rdp.requested_protocols, rdp.selected_protocol, rdp.failure_code), (None, None, Some(2)));
}

#[test]
fn what_is_of_another_protocol() {
    let probe = |hinted, bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, hinted, bytes);
    let bare = message(0xe0, &[]);
    assert_eq!((probe(true, &bare), probe(false, &bare)), (Probe::Yes, Probe::No));
    // With parameters of X.224, as automation protocols send them.
    let other = message(0xe0, &[0xc0, 1, 10, 0xc1, 2, 1, 0, 0xc2, 2, 1, 2]);
    assert_eq!(probe(false, &other), Probe::No);
    assert_eq!(probe(false, &request()), Probe::Yes);
    assert_eq!(probe(false, &confirm(1)), Probe::Yes);
    for len in 1..request().len() {
        assert_eq!(probe(true, &request()[..len]), Probe::More, "{len}");
    }
    // A length that lies, another version, another code.
    for (at, octet) in [(3, 200), (4, 200), (0, 4), (1, 1), (5, 0xf0)] {
        let mut bytes = request();
        bytes[at] = octet;
        assert_eq!(probe(true, &bytes), Probe::No, "{at}");
    }
    assert_eq!(testing::claimed_by(Transport::Stream, &request()), ["rdp"]);
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &[(Forward, request()), (Reverse, confirm(1)), (Forward, hello())]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(
        parts in testing::damaged(vec![(Forward, request()), (Reverse, confirm(0))], 11),
        size in 1_usize..40,
    ) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, request())], parts].concat();
        testing::read(Transport::Stream, PORTS, &parts);
    }
}
