// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made packets.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Mqtt};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 1883];

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first];
    let mut len = body.len();
    loop {
        packet.push((len % 128) as u8 | if len > 127 { 0x80 } else { 0 });
        len /= 128;
        if len == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// CONNECT of level 4: will, user name, password, clean session; a minute.
fn connect() -> Vec<u8> {
    let parts = [
        text("MQTT"),
        vec![4, 0xc6, 0, 60],
        text("sensor-7"),
        text("state/7"),
        text("gone"),
        text("alice"),
        text("secret"),
    ];
    packet(0x10, &parts.each_ref().map(Vec::as_slice))
}

fn connection() -> Vec<Part> {
    let long = packet(0x31, &[&text("a/b"), &[7; 20_000]]);
    vec![
        (Forward, connect()),
        (Reverse, packet(0x20, &[&[0, 5]])),
        (Forward, [packet(0x82, &[&[0, 1], &text("cmd/#"), &[1], &text("x/+"), &[0]]), long].concat()),
        (Reverse, packet(0x90, &[&[0, 1, 1, 0]])),
        (Forward, [packet(0x34, &[&text("a/c"), &[0, 2], b"on"]), packet(0x30, &[&text("a/b"), b"off"])].concat()),
        (Forward, [packet(0xc0, &[]), packet(0xe0, &[])].concat()),
    ]
}

fn mqtt(parts: &[Part]) -> Mqtt {
    match testing::read(Transport::Stream, PORTS, parts).swap_remove(0) {
        (AppFields::Mqtt(mqtt), false) => *mqtt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection() {
    let mqtt = mqtt(&connection());
    assert_eq!(mqtt.packet_types, Some(1 << 1 | 1 << 2 | 1 << 3 | 1 << 8 | 1 << 9 | 1 << 12 | 1 << 14));
    assert_eq!((mqtt.version, mqtt.connect_flags, mqtt.keep_alive), (Some(4), Some(0xc6), Some(60)));
    assert_eq!((mqtt.return_code, mqtt.publish_flags), (Some(5), Some(0x05)));
    assert_eq!(mqtt.topics.iter(&mqtt.memory).collect::<Vec<_>>(), [&b"a/b"[..], b"a/c"]);
    assert_eq!(mqtt.filters.iter(&mqtt.memory).collect::<Vec<_>>(), [&b"cmd/#"[..], b"x/+"]);
    assert_eq!(mqtt.client_id.as_bytes(&mqtt.memory), b"sensor-7");
    assert_eq!(mqtt.user_name.as_bytes(&mqtt.memory), b"alice");
    assert_eq!(mqtt.will_topic.as_bytes(&mqtt.memory), b"state/7");
    assert!(!mqtt.memory.as_bytes().windows(6).any(|window| window == b"secret"));
}

#[test]
fn properties_are_passed_over() {
    // Level 5: session expiry as property of the connection, a delay as one of the will.
    let parts = [
        text("MQTT"),
        vec![5, 0x84, 0, 0, 5, 0x11, 0, 0, 0, 9],
        text("c"),
        vec![5, 0x18, 0, 0, 0, 1],
        text("w"),
        text(""),
        text("u"),
    ];
    let connect = packet(0x10, &parts.each_ref().map(Vec::as_slice));
    let subscribe = packet(0x82, &[&[0, 1, 2, 0x0b, 7], &text("f"), &[0]]);
    let mqtt = mqtt(&[(Forward, connect), (Forward, subscribe)]);
    assert_eq!((mqtt.client_id.as_bytes(&mqtt.memory), mqtt.user_name.as_bytes(&mqtt.memory)), (&b"c"[..], &b"u"[..]));
    assert_eq!(mqtt.will_topic.as_bytes(&mqtt.memory), b"w");
    assert_eq!(mqtt.filters.iter(&mqtt.memory).collect::<Vec<_>>(), [&b"f"[..]]);
}

#[test]
fn lengths_that_lie() {
    let mut bytes = connect();
    bytes[12] = 0xff; // of the client identifier
    assert!(mqtt(&[(Forward, bytes)]).client_id.is_empty());
    let topic = packet(0x30, &[&[0xff, 0xff], b"beginning"]);
    let mqtt = mqtt(&[(Forward, connect()), (Forward, topic)]);
    assert_eq!(mqtt.topics.iter(&mqtt.memory).collect::<Vec<_>>(), [&b"beginning"[..]]);
}

#[test]
fn what_begins_so() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, true, bytes);
    let whole = connect();
    assert!((1..9).all(|len| probe(&whole[..len]) == Probe::More));
    assert_eq!(probe(&whole[..9]), Probe::Yes);
    assert_eq!(probe(&packet(0x10, &[&text("MQIsdp"), &[3, 2, 0, 60], &text("c")])), Probe::Yes);
    for (at, octet) in [(0, 0x11), (1, 9), (3, 5), (4, b'm'), (8, 6)] {
        let mut bytes = whole.clone();
        bytes[at] = octet;
        assert_eq!(probe(&bytes), Probe::No, "{at}");
    }
    assert_eq!(probe(&[0x10, 0xff, 0xff, 0xff, 0xff, 1]), Probe::No);
    assert_eq!(testing::claimed_by(Transport::Stream, &whole), ["mqtt"]);
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(parts in testing::damaged(connection(), 9), size in 1_usize..100) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, connect())], parts].concat();
        testing::read(Transport::Stream, PORTS, &parts);
    }
}
