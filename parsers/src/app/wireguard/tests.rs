// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages, whose keys and codes are made by counting.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Wireguard};

use super::{
    super::{Direction, Feed, Probe, Transport, testing},
    *,
};
use testing::{Flow, Part};

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [51_820, 40_000];

fn noise(len: usize) -> impl Iterator<Item = u8> {
    (1..=255).cycle().take(len)
}

fn initiation(sender: u32) -> Vec<u8> {
    let mut message = vec![1, 0, 0, 0]; // type
    message.extend(sender.to_le_bytes());
    message.extend(noise(32 + 48 + 28 + 16)); // key, static key, time, first code
    message.extend([0; 16]); // second code
    message
}

fn response(sender: u32, receiver: u32) -> Vec<u8> {
    let mut message = vec![2, 0, 0, 0];
    message.extend(sender.to_le_bytes());
    message.extend(receiver.to_le_bytes());
    message.extend(noise(32 + 16 + 16)); // key, nothing, first code
    message.extend([0; 16]);
    message
}

fn data(receiver: u32, counter: u64, len: usize) -> Vec<u8> {
    let mut message = vec![4, 0, 0, 0];
    message.extend(receiver.to_le_bytes());
    message.extend(counter.to_le_bytes());
    message.extend(noise(len));
    message
}

fn wireguard(parts: &[Part]) -> Vec<Wireguard> {
    let take = |(app, _): (AppFields, bool)| match app {
        AppFields::Wireguard(wireguard) => *wireguard,
        other => panic!("{other:?}"),
    };
    testing::read(Transport::Datagram, PORTS, parts).into_iter().map(take).collect()
}

#[test]
fn a_handshake_and_its_answer() {
    let mut flow = Flow::new(Transport::Datagram, PORTS);
    assert_eq!(flow.feed(Forward, &initiation(7)), Feed::More);
    assert_eq!(flow.feed(Forward, &initiation(0x0102_0304)), Feed::More);
    assert_eq!(flow.feed(Reverse, &response(9, 0x0102_0304)), Feed::Done);
    let found = flow.finish();
    let AppFields::Wireguard(found) = &found[0].0 else { panic!("{found:?}") };
    assert_eq!((found.confidence, found.source_peer, found.destination_peer), (Some(100), Some(0x0102_0304), Some(9)));
    // From the other side.
    let found = wireguard(&[(Reverse, initiation(5)), (Forward, response(6, 5))]);
    assert_eq!((found[0].confidence, found[0].source_peer, found[0].destination_peer), (Some(100), Some(6), Some(5)));
}

#[test]
fn one_message_has_no_name_until_another_confirms_it() {
    let all = |parts: &[Part]| {
        let mut flow = Flow::new(Transport::Datagram, PORTS);
        parts.iter().for_each(|(direction, bytes)| _ = flow.feed(*direction, bytes));
        let name = flow.application();
        (name, flow.finish().len())
    };
    // A request alone, and again because the network repeats it; an answer alone; the answer to another request; other data.
    let request = (Forward, initiation(5));
    let answer = (Reverse, response(6, 4));
    for stray in [
        vec![request.clone()],
        vec![request.clone(), request.clone()],
        vec![answer.clone()],
        vec![request.clone(), answer.clone()],
        vec![request.clone(), (Reverse, data(7, 0, 16))],
        vec![(Forward, data(5, 100, 16))],
    ] {
        assert_eq!(all(&stray), (None, 0), "{stray:?}");
    }
    for confirmed in [
        &[request.clone(), (Forward, initiation(8))][..],
        &[request.clone(), (Reverse, data(5, 0, 16))],
        &[answer.clone(), (Forward, data(6, 0, 16))],
        &[answer.clone(), (Reverse, data(4, 0, 16))],
        &[request, (Reverse, response(6, 5))],
    ] {
        assert_eq!(all(confirmed), (Some("wireguard"), 1), "{confirmed:?}");
    }
    let found = wireguard(&[answer, (Forward, data(6, 0, 16))]);
    assert_eq!((found[0].confidence, found[0].source_peer, found[0].destination_peer), (Some(90), Some(4), Some(6)));
    assert_eq!(wireguard(&[(Forward, initiation(5)), (Forward, initiation(8))])[0].source_peer, Some(8));
}

#[test]
fn data_counts_from_the_second_packet_on() {
    assert!(wireguard(&[(Forward, data(5, 100, 16))]).is_empty());
    assert!(wireguard(&[(Forward, data(5, 100, 16)), (Reverse, data(6, 101, 16))]).is_empty());
    assert!(wireguard(&[(Forward, data(5, 100, 16)), (Forward, data(6, 101, 16))]).is_empty());
    assert!(wireguard(&[(Forward, data(5, 100, 16)), (Forward, data(5, 100, 16))]).is_empty());
    let found = wireguard(&[(Forward, data(5, 100, 16)), (Forward, data(5, 102, 160))]);
    assert_eq!((found[0].confidence, found[0].source_peer, found[0].destination_peer), (Some(80), None, Some(5)));
}

#[test]
fn what_is_none() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    assert_eq!(probe(&initiation(1)), Probe::Yes);
    assert_eq!(testing::claimed_by(Transport::Datagram, &initiation(1)), ["wireguard"]);
    assert_eq!(testing::claimed_by(Transport::Datagram, &response(1, 2)), ["wireguard"]);
    assert_eq!(testing::claimed_by(Transport::Datagram, &data(1, 2, 1408)), ["wireguard"]);
    assert_eq!(probe(&initiation(0)), Probe::No);
    assert_eq!(probe(&initiation(1)[..147]), Probe::No);
    assert_eq!(probe(&response(1, 0)), Probe::No);
    assert_eq!(probe(&data(1, 1 << 40, 16)), Probe::No);
    assert_eq!(probe(&data(1, 1, 17)), Probe::No);
    assert_eq!(probe(&data(1, 1, 0)), Probe::No);
    assert_eq!(probe(&[&[4, 0, 0, 0, 1][..], &[0; 91]].concat()), Probe::No);
    assert_eq!(probe(&[&[1, 0, 0, 0, 1][..], &[0; 143]].concat()), Probe::No);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn octets_at_random_are_none(bytes in prop::collection::vec(any::<u8>(), 148..=148)) {
        prop_assert!(Message::read(&bytes).is_none() && Message::read(&bytes[..92]).is_none());
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, initiation(1))], parts].concat();
        prop_assert!(testing::read(Transport::Datagram, PORTS, &parts).len() <= 1);
    }
}
