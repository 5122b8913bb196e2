// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made packets.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Openvpn};

use super::{
    super::{Direction, Feed, Probe, Transport, testing},
    *,
};
use testing::{Flow, Part};

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 4000];

const CLIENT: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const SERVER: [u8; 8] = [9, 8, 7, 6, 5, 4, 3, 2];
/// Nothing acknowledged, number 0.
const FIRST: &[u8] = &[0, 0, 0, 0, 0];
/// Number and time.
const REPLAY: &[u8] = &[0, 0, 0, 1, 0x69, 0, 0, 0];

fn client(middle: &[u8], tail: &[u8]) -> Vec<u8> {
    [&[7 << 3][..], &CLIENT, middle, tail].concat()
}

fn server(middle: &[u8], tail: &[u8]) -> Vec<u8> {
    [&[8 << 3][..], &SERVER, middle, tail].concat()
}

/// One number acknowledged, of this session; number 0.
fn answer(session: [u8; 8]) -> Vec<u8> {
    [&[1, 0, 0, 0, 0][..], &session, &[0; 4]].concat()
}

fn openvpn(parts: &[Part]) -> Option<Openvpn> {
    match testing::read(Transport::Datagram, PORTS, parts).pop()? {
        (AppFields::Openvpn(openvpn), false) => Some(*openvpn),
        other => panic!("{other:?}"),
    }
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes()[..], packet].concat()
}

#[test]
fn bare_authenticated_encrypted() {
    let digest = [&[7; 20][..], REPLAY].concat();
    let code = [REPLAY, &[7; 32]].concat();
    for (protection, confidence, client, server) in [
        ("none", 100, client(&[], FIRST), server(&[], &answer(CLIENT))),
        ("tls-auth", 100, client(&digest, FIRST), server(&digest, &answer(CLIENT))),
        ("tls-crypt", 90, client(&code, &[9; 5]), server(&code, &[9; 17])),
    ] {
        let found = openvpn(&[(Forward, client.clone()), (Reverse, server.clone())]).unwrap();
        assert_eq!(found.protection.as_bytes(), protection.as_bytes());
        assert_eq!((found.confidence, found.operation), (Some(confidence), Some(7)), "{protection}");
        assert_eq!(found.client_session, Some(0x0102_0304_0506_0708));
        assert_eq!(found.server_session, Some(0x0908_0706_0504_0302));
        assert_eq!(testing::claimed_by(Transport::Datagram, &client), ["openvpn"]);
        assert_eq!(testing::claimed_by(Transport::Stream, &framed(&client)), ["openvpn"]);
        // Nobody answers; the same direction answers; over TCP.
        assert_eq!(openvpn(&[(Forward, client.clone())]), None);
        assert_eq!(openvpn(&[(Forward, client.clone()), (Forward, server.clone())]), None);
        testing::assert_the_same_in_any_pieces(PORTS, &[(Forward, framed(&client)), (Reverse, framed(&server))]);
    }
}

#[test]
fn a_key_of_the_client() {
    let key = [&[5; 300][..], &302_u16.to_be_bytes()].concat();
    let early = [&[0x0f, 0, 0, 1, 0x69, 0, 0, 0][..], &[7; 32], &[9; 5], &key].concat();
    let mut first = client(&early, &[]);
    first[0] = 10 << 3;
    let parts = [(Forward, first.clone()), (Reverse, server(&[REPLAY, &[7; 32]].concat(), &[9; 17]))];
    assert_eq!(openvpn(&parts).unwrap().protection.as_bytes(), b"tls-crypt-v2");
    first.pop();
    assert_eq!(testing::probe::<Parser>(Transport::Datagram, true, &first), Probe::No);
}

#[test]
fn an_answer_to_another() {
    assert_eq!(openvpn(&[(Forward, client(&[], FIRST)), (Reverse, server(&[], &answer(SERVER)))]), None);
    let late = [0, 0, 0, 1, 0x79, 0, 0, 0];
    let code = |replay: &[u8]| [replay, &[7; 32]].concat();
    let parts = [(Forward, client(&code(REPLAY), &[9; 5])), (Reverse, server(&code(&late), &[9; 17]))];
    assert_eq!(openvpn(&parts), None);
    let mut flow = Flow::new(Transport::Datagram, PORTS);
    flow.feed(Forward, &client(&[], FIRST));
    assert_eq!(flow.application(), None, "one datagram is no proof");
    flow.feed(Reverse, &server(&[], &answer(CLIENT)));
    assert_eq!(flow.application(), Some("openvpn"));
    let mut flow = Flow::new(Transport::Datagram, PORTS);
    let feeds: Vec<Feed> = (0..8).map(|_| flow.feed(Forward, &client(&[], FIRST))).collect();
    assert_eq!((feeds[6], feeds[7]), (Feed::More, Feed::Done));
}

#[test]
fn what_is_none() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    let good = client(&[], FIRST);
    assert_eq!(probe(&good), Probe::Yes);
    assert_eq!(probe(&good[..13]), Probe::No);
    assert_eq!(probe(&[&good[..], &[0]].concat()), Probe::No);
    for (at, octet) in [(0, 0x39), (0, 0x30), (9, 1), (13, 1)] {
        let mut bytes = good.clone();
        bytes[at] = octet;
        assert_eq!(probe(&bytes), Probe::No, "{at}");
    }
    assert_eq!(probe(&[7 << 3; 54]), Probe::No);
    assert_eq!(probe(&server(&[], &answer(CLIENT))), Probe::No);
    assert_eq!(probe(&client(&[&[0, 0, 0, 1, 0x10, 0, 0, 0][..], &[7; 32]].concat(), &[9; 5])), Probe::No);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn octets_at_random_are_none(bytes in prop::collection::vec(any::<u8>(), 100..=100)) {
        for len in [14, 26, 42, 54, 66, 86, 98] {
            prop_assert!(Reset::read(&[&[7 << 3], &bytes[..len - 1]].concat()).is_none());
        }
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let datagrams: Vec<Part> = [vec![(Forward, client(&[], FIRST))], parts.clone()].concat();
        prop_assert!(testing::read(Transport::Datagram, PORTS, &datagrams).is_empty());
        let stream: Vec<Part> = [vec![(Forward, framed(&client(&[], FIRST)))], parts].concat();
        testing::read(Transport::Stream, PORTS, &stream);
    }
}
