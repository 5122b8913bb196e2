// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Kerberos};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 88];

/// A value with this tag.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut value = vec![tag];
    match u8::try_from(content.len()) {
        Ok(len @ ..=127) => value.push(len),
        Ok(len) => value.extend([0x81, len]),
        _ => value.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
    }
    value.extend(content);
    value
}

fn int(tag: u8, octets: &[u8]) -> Vec<u8> {
    value(0xa0 + tag, &[&value(2, &[octets])])
}

fn string(tag: u8, text: &str) -> Vec<u8> {
    value(0xa0 + tag, &[&value(0x1b, &[text.as_bytes()])])
}

fn name(tag: u8, parts: &[&str]) -> Vec<u8> {
    let parts: Vec<u8> = parts.iter().flat_map(|part| value(0x1b, &[part.as_bytes()])).collect();
    value(0xa0 + tag, &[&value(0x30, &[&int(0, &[1]), &value(0xa1, &[&value(0x30, &[&parts])])])])
}

/// AS-REQ: version, type, preauthentication, body.
fn request() -> Vec<u8> {
    let ciphers = value(0xa8, &[&value(0x30, &[&[2, 1, 18], &[2, 1, 17], &[2, 2, 0xff, 0x7b]])]);
    let body = value(
        0x30,
        &[
            &value(0xa0, &[&[3, 5, 0, 0x40, 0x81, 0, 0x10]]), // options
            &name(1, &["alice"]),
            &string(2, "EXAMPLE.ORG"),
            &name(3, &["krbtgt", "EXAMPLE.ORG"]),
            &int(7, &[1, 2, 3, 4]), // nonce
            &ciphers,
        ],
    );
    let padata = value(0xa3, &[&value(0x30, &[&[0; 100]])]);
    value(0x6a, &[&value(0x30, &[&int(1, &[5]), &int(2, &[10]), &padata, &value(0xa4, &[&body])])])
}

fn response() -> Vec<u8> {
    let data = value(0x30, &[&int(0, &[18]), &value(0xa2, &[&value(4, &[&[7; 200]])])]);
    let ticket = value(
        0x61,
        &[&value(
            0x30,
            &[&int(0, &[5]), &string(1, "EXAMPLE.ORG"), &name(2, &["krbtgt", "EXAMPLE.ORG"]), &value(0xa3, &[&data])],
        )],
    );
    value(
        0x6b,
        &[&value(
            0x30,
            &[
                &int(0, &[5]),
                &int(1, &[11]),
                &string(3, "EXAMPLE.ORG"),
                &name(4, &["alice"]),
                &value(0xa5, &[&ticket]),
                &value(0xa6, &[&data]),
            ],
        )],
    )
}

fn error() -> Vec<u8> {
    value(
        0x7e,
        &[&value(
            0x30,
            &[
                &int(0, &[5]),
                &int(1, &[30]),
                &value(0xa4, &[&value(0x18, &[b"20260101000000Z"])]),
                &int(5, &[1]),
                &int(6, &[25]), // preauthentication is needed
                &string(9, "EXAMPLE.ORG"),
                &name(10, &["krbtgt", "EXAMPLE.ORG"]),
                &string(11, "NEEDED_PREAUTH"),
            ],
        )],
    )
}

fn kerberos(transport: Transport, parts: &[Part]) -> Vec<Kerberos> {
    let take = |(app, cut): (AppFields, bool)| match app {
        AppFields::Kerberos(kerberos) if !cut => *kerberos,
        other => panic!("{other:?}"),
    };
    testing::read(transport, PORTS, parts).into_iter().map(take).collect()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

#[test]
fn a_request_an_error_and_a_ticket() {
    let parts = [(Forward, request()), (Reverse, error()), (Forward, request()), (Reverse, response())];
    let found = kerberos(Transport::Datagram, &parts);
    let [first, second] = &found[..] else { panic!("{found:?}") };
    assert_eq!((first.request_type, first.response_type, first.error_code), (Some(10), Some(30), Some(25)));
    assert_eq!(first.error_text.as_bytes(&first.memory), b"NEEDED_PREAUTH");
    assert_eq!((second.request_type, second.response_type, second.error_code), (Some(10), Some(11), None));
    for found in [first, second] {
        assert_eq!(found.realm.as_bytes(&found.memory), b"EXAMPLE.ORG");
        assert_eq!(found.client_name.as_bytes(&found.memory), b"alice");
        assert_eq!(found.service_name.as_bytes(&found.memory), b"krbtgt/EXAMPLE.ORG");
        assert_eq!(found.offered_ciphers.as_bytes(&found.memory), b"18,17,-133");
    }
    assert_eq!((first.ticket_cipher.as_bytes(), second.ticket_cipher.as_bytes()), (&b""[..], &b"18"[..]));
}

#[test]
fn a_request_that_comes_again_over_udp() {
    let parts = [(Forward, request()), (Forward, request()), (Reverse, response())];
    assert_eq!(kerberos(Transport::Datagram, &parts).len(), 1);
}

#[test]
fn what_is_cut_or_lies_gives_what_came_before() {
    // A body that is longer than its message.
    let whole = request();
    let at = whole.len() - 8;
    let parts =
        [(Forward, framed(&request())), (Forward, [&framed(&whole)[..LENGTH], &whole[..at], &[0xff; 8]].concat())];
    let found = kerberos(Transport::Stream, &parts);
    assert_eq!(found[1].client_name.as_bytes(&found[1].memory), b"alice");
}

const LENGTH: usize = 4;

#[test]
fn what_begins_so() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, false, bytes);
    let whole = framed(&request());
    let told = (1..whole.len()).find(|&len| probe(&whole[..len]) == Probe::Yes).unwrap();
    assert!(told < 24, "{told}");
    assert!((1..told).all(|len| probe(&whole[..len]) == Probe::More));
    for (at, octet) in [(0, 1), (3, 200), (4, 0x60), (6, 1), (8, 0x31), (14, 4), (15, 6)] {
        let mut bytes = whole.clone();
        bytes[at] ^= octet;
        assert_eq!(probe(&bytes), Probe::No, "{at}");
    }
    for message in [request(), response(), error()] {
        assert_eq!(testing::claimed_by(Transport::Datagram, &message), ["kerberos"]);
        assert_eq!(testing::claimed_by(Transport::Stream, &framed(&message)), ["kerberos"]);
    }
    assert_eq!(testing::probe::<Parser>(Transport::Datagram, true, &request()[..50]), Probe::No);
}

fn connection() -> Vec<Part> {
    let parts = [(Forward, request()), (Reverse, error()), (Forward, request()), (Reverse, response())];
    parts.map(|(direction, message)| (direction, framed(&message))).to_vec()
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(parts in testing::damaged(connection(), 22), size in 1_usize..100) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn damaged_datagrams_are_survived(parts in testing::damaged(vec![(Forward, request()), (Reverse, response())], 0)) {
        testing::read(Transport::Datagram, PORTS, &parts);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        for transport in [Transport::Datagram, Transport::Stream] {
            let first = if transport == Transport::Stream { framed(&request()) } else { request() };
            let parts: Vec<Part> = [vec![(Forward, first)], parts.clone()].concat();
            testing::read(transport, PORTS, &parts);
        }
    }
}
