// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Netbios};

use super::{
    super::{Direction, Probe, Transport, testing},
    *,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [137, 137];

/// A name of 15 octets with its suffix, encoded.
fn encoded(name: &str, suffix: u8) -> Vec<u8> {
    let padded = format!("{name:15}");
    let octets = padded.bytes().chain([suffix]);
    let letters = octets.flat_map(|octet| [b'A' + (octet >> 4), b'A' + (octet & 15)]);
    [32].into_iter().chain(letters).chain([0]).collect()
}

fn header(id: u8, flags: u16, counts: [u8; 4]) -> Vec<u8> {
    let [high, low] = flags.to_be_bytes();
    [&[0, id, high, low][..], &counts.map(|count| [0, count]).concat()].concat()
}

fn query(id: u8) -> Vec<u8> {
    // Recursion, broadcast; one question.
    [header(id, 0x0110, [1, 0, 0, 0]), encoded("FILES", 0x20), vec![0, 0x20, 0, 1]].concat()
}

/// An answer with two addresses, each behind its flags.
fn answer(id: u8) -> Vec<u8> {
    let data = [0, 0, 0, 60, 0, 12, 0, 0, 192, 0, 2, 1, 0x80, 0, 192, 0, 2, 2];
    [header(id, 0x8500, [0, 1, 0, 0]), encoded("FILES", 0x20), vec![0, 0x20, 0, 1], data.to_vec()].concat()
}

fn registration() -> Vec<u8> {
    let record = [0xc0, 12, 0, 0x20, 0, 1, 0, 4, 0x93, 0xe0, 0, 6, 0, 0, 192, 0, 2, 7];
    [header(3, 0x2910, [1, 0, 0, 1]), encoded("DESK", 0), vec![0, 0x20, 0, 1], record.to_vec()].concat()
}

fn status() -> Vec<u8> {
    let node = |name: &str, suffix| [format!("{name:15}").as_bytes(), &[suffix, 4, 0]].concat();
    let data = [vec![2], node("DESK", 0), node("CORP", 0x1e), vec![2, 0, 0, 0, 0, 9]].concat();
    let record = [&[0, 0x21, 0, 1, 0, 0, 0, 0, 0, data.len() as u8][..], &data].concat();
    [header(4, 0x8400, [0, 1, 0, 0]), encoded("*", 0), record].concat()
}

fn netbios(parts: &[Part]) -> Vec<Netbios> {
    let take = |(app, cut): (AppFields, bool)| match app {
        AppFields::Netbios(netbios) if !cut => *netbios,
        other => panic!("{other:?}"),
    };
    testing::read(Transport::Datagram, PORTS, parts).into_iter().map(take).collect()
}

#[test]
fn a_query_asked_twice_and_its_answer() {
    let found = netbios(&[(Forward, query(7)), (Forward, query(7)), (Reverse, answer(7)), (Reverse, answer(7))]);
    let [netbios] = &found[..] else { panic!("{found:?}") };
    assert_eq!((netbios.name.as_bytes(&netbios.memory), netbios.suffix), (&b"FILES"[..], Some(0x20)));
    assert_eq!(
        (netbios.transaction_id, netbios.opcode.get(), netbios.response_code.get()),
        (Some(7), Some(0), Some(0))
    );
    assert_eq!(netbios.address.iter(&netbios.memory).collect::<Vec<_>>(), [[192, 0, 2, 1], [192, 0, 2, 2]]);
}

#[test]
fn a_registration_and_the_names_of_a_node() {
    let found = netbios(&[(Forward, registration()), (Reverse, status())]);
    // The answer closes first; nobody has answered the registration.
    let [node, registered] = &found[..] else { panic!("{found:?}") };
    assert_eq!((registered.opcode.get(), registered.response_code.get()), (Some(5), None));
    assert_eq!(registered.address.iter(&registered.memory).collect::<Vec<_>>(), [[192, 0, 2, 7]]);
    assert_eq!(node.names.iter(&node.memory).collect::<Vec<_>>(), [&b"DESK<00>"[..], b"CORP<1e>"]);
    assert_eq!(node.name.as_bytes(&node.memory), b"*");
}

/// A datagram of 192.0.2.9: type, flags (first, of a B node), identifier, address, port, length, offset, both names, data.
fn datagram(kind: u8, id: u8, source: &str, destination: &str) -> Vec<u8> {
    let header = [kind, 0x02, 0, id, 192, 0, 2, 9, 0, 138, 0, 82, 0, 0];
    [&header[..], &encoded(source, 0x20), &encoded(destination, 0x1d), b"\xffSMB%"].concat()
}

/// The same of a question: no length, no offset, one name.
fn asked(kind: u8, id: u8) -> Vec<u8> {
    [&[kind, 0x0a, 0, id, 192, 0, 2, 9, 0, 138][..], &encoded("FILES", 0x20)].concat()
}

#[test]
fn datagrams_say_from_whom_to_whom() {
    let announcement = |id| (Forward, datagram(0x11, id, "DESK", "CORP"));
    let found = netbios(&[announcement(1), announcement(2), (Forward, datagram(0x11, 3, "DESK", "OTHER"))]);
    let [first, second] = &found[..] else { panic!("{found:?}") };
    let m = &first.memory;
    assert_eq!((first.source_name.as_bytes(m), first.source_suffix.get()), (&b"DESK"[..], Some(0x20)));
    assert_eq!((first.name.as_bytes(m), first.suffix), (&b"CORP"[..], Some(0x1d)));
    assert_eq!(
        (first.datagram_type.get(), first.transaction_id, first.response_code.get()),
        (Some(0x11), Some(1), None)
    );
    assert_eq!(first.address.iter(m).collect::<Vec<_>>(), [[192, 0, 2, 9]]);
    assert_eq!((second.name.as_bytes(&second.memory), second.transaction_id), (&b"OTHER"[..], Some(3)));
    // A question, that nobody has the name, and that a datagram was for nobody.
    let error = vec![0x13, 0x02, 0, 9, 192, 0, 2, 9, 0, 138, 0x82];
    let found = netbios(&[(Forward, asked(0x14, 5)), (Reverse, asked(0x16, 5)), (Reverse, error)]);
    let told: Vec<_> =
        found.iter().map(|n| (n.datagram_type.get(), n.name.as_bytes(&n.memory), n.response_code.get())).collect();
    assert_eq!(
        told,
        [(Some(0x14), &b"FILES"[..], None), (Some(0x16), &b"FILES"[..], None), (Some(0x13), b"", Some(0x82))]
    );
}

#[test]
fn datagrams_are_known_by_content() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, false, bytes);
    let good = datagram(0x10, 1, "A", "B");
    assert_eq!(probe(&good), Probe::Yes);
    assert_eq!(testing::claimed_by(Transport::Datagram, &good), ["netbios"]);
    assert_eq!(testing::claimed_by(Transport::Datagram, &asked(0x15, 1)), ["netbios"]);
    // Type, reserved flags, lengths and letters of both names; cut in a name.
    for (at, octet) in [(0, 0x0f), (0, 0x17), (1, 0x12), (14, 31), (15, b'Q'), (48, 31), (49, b'a')] {
        let mut bytes = good.clone();
        bytes[at] = octet;
        assert_eq!(probe(&bytes), Probe::No, "{at}");
    }
    assert_eq!(probe(&good[..81]), Probe::No);
    let error = [0x13, 0x02, 0, 9, 192, 0, 2, 9, 0, 138, 0x84];
    let hinted = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    assert_eq!((probe(&error), hinted(&error), hinted(&error[..10])), (Probe::No, Probe::Yes, Probe::No));
    assert_eq!(hinted(&[&error[..], &[0]].concat()), Probe::No);
}

#[test]
fn what_is_none() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    assert_eq!(probe(&query(1)), Probe::Yes);
    assert_eq!(testing::probe::<Parser>(Transport::Datagram, false, &query(1)), Probe::No);
    for (at, octet) in [(5, 2), (7, 1), (12, 31), (13, b'Q'), (47, 0x22), (49, 2)] {
        let mut bytes = query(1);
        bytes[at] = octet;
        assert_eq!(probe(&bytes), Probe::No, "{at}");
    }
    assert_eq!(probe(&query(1)[..49]), Probe::No);
}

#[test]
fn records_that_lie_give_what_came_before() {
    let mut bytes = answer(1);
    let len = bytes.len();
    bytes[len - 13] = 200; // length of the record
    bytes.truncate(len - 2);
    let found = netbios(&[(Reverse, bytes)]);
    assert_eq!(found[0].address.iter(&found[0].memory).collect::<Vec<_>>(), [[192, 0, 2, 1]]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_survived(
        parts in testing::damaged(
            vec![
                (Forward, query(1)),
                (Reverse, answer(1)),
                (Forward, registration()),
                (Reverse, status()),
                (Forward, datagram(0x12, 1, "A", "B")),
                (Forward, asked(0x14, 1)),
            ],
            0,
        ),
    ) {
        testing::read(Transport::Datagram, PORTS, &parts);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, query(1))], parts].concat();
        prop_assert_eq!(testing::read(Transport::Datagram, PORTS, &parts).len(), 1);
    }
}
