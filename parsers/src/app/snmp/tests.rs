// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Snmp};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 161];

fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    assert!(content.len() < 128);
    [&[tag, content.len() as u8][..], &content].concat()
}

/// 1.3.6.1.2.1.1.1.0 and 1.3.6.1.2.1.1.5.0, without values.
fn variables() -> Vec<u8> {
    let variable = |number| value(0x30, &[&value(6, &[&[0x2b, 6, 1, 2, 1, 1, number, 0]]), &[5, 0]]);
    value(0x30, &[&variable(1), &variable(5)])
}

fn pdu(kind: u8, id: u8, status: u8) -> Vec<u8> {
    value(0xa0 + kind, &[&[2, 2, 0x12, id], &[2, 1, status], &[2, 1, 0], &variables()])
}

fn message(version: u8, pdu: &[u8]) -> Vec<u8> {
    value(0x30, &[&[2, 1, version], &value(4, &[b"s3cret"]), pdu])
}

/// A message of version 3: identifier, size, flags, model; engine, boots, time, user, two codes.
fn third(flags: u8, data: &[u8]) -> Vec<u8> {
    let header = value(0x30, &[&[2, 1, 9], &[2, 2, 5, 0xdc], &[4, 1, flags], &[2, 1, 3]]);
    let security = value(
        0x30,
        &[&value(4, &[b"\x80\0\x1f\x88\x04abc"]), &[2, 1, 1], &[2, 1, 2], &value(4, &[b"alice"]), &[4, 0], &[4, 0]],
    );
    value(0x30, &[&[2, 1, 3], &header, &value(4, &[&security]), data])
}

fn snmp(parts: &[Part]) -> Vec<Snmp> {
    let take = |(app, cut): (AppFields, bool)| match app {
        AppFields::Snmp(snmp) if !cut => *snmp,
        other => panic!("{other:?}"),
    };
    testing::read(Transport::Datagram, PORTS, parts).into_iter().map(take).collect()
}

#[test]
fn a_request_and_its_response() {
    let parts = [
        (Forward, message(1, &pdu(1, 7, 0))),
        (Forward, message(1, &pdu(1, 7, 0))),
        (Forward, message(1, &pdu(0, 8, 0))),
        (Reverse, message(1, &pdu(2, 7, 5))),
    ];
    let found = snmp(&parts);
    let first = found.iter().find(|snmp| snmp.request_id == Some(0x1207)).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (first.version, first.has_community, first.pdu_type, first.error_status),
        (Some(2), Some(1), Some(1), Some(5))
    );
    assert_eq!(first.object.iter(&first.memory).collect::<Vec<_>>(), [&b"1.3.6.1.2.1.1.1.0"[..], b"1.3.6.1.2.1.1.5.0"]);
    assert!(!first.memory.as_bytes().windows(6).any(|window| window == b"s3cret"));
}

#[test]
fn a_trap_of_the_first_version() {
    let trap = value(
        0xa4,
        &[
            &value(6, &[&[0x2b, 6, 1, 4, 1, 9]]), // enterprise
            &[0x40, 4, 192, 0, 2, 1],             // agent
            &[2, 1, 6, 2, 1, 7],                  // generic, specific
            &[0x43, 1, 9],                        // time
            &variables(),
        ],
    );
    let found = snmp(&[(Forward, message(0, &trap)), (Forward, message(0, &trap))]);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].version, found[0].pdu_type, found[0].request_id), (Some(1), Some(4), None));
    assert_eq!(found[0].enterprise.as_bytes(&found[0].memory), b"1.3.6.1.4.1.9");
    assert_eq!(found[0].object.len(), 2);
}

#[test]
fn the_third_version_in_the_clear_and_encrypted() {
    let clear = value(0x30, &[&value(4, &[b"engine"]), &[4, 0], &pdu(0, 1, 0)]);
    let found =
        snmp(&[(Forward, third(4, &clear)), (Reverse, third(0, &value(0x30, &[&[4, 0, 4, 0], &pdu(8, 1, 0)])))]);
    let [snmp_] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (snmp_.version, snmp_.pdu_type, snmp_.request_id, snmp_.has_community),
        (Some(3), Some(0), Some(9), None)
    );
    assert_eq!(
        (snmp_.user.as_bytes(&snmp_.memory), snmp_.engine_id.as_bytes()),
        (&b"alice"[..], &b"\x80\0\x1f\x88\x04abc"[..])
    );
    let found = snmp(&[(Forward, third(7, &value(4, &[&[9; 40]]))), (Reverse, third(3, &value(4, &[&[9; 40]])))]);
    assert_eq!((found.len(), found[0].pdu_type), (1, None));
}

#[test]
fn what_is_none() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    let good = message(1, &pdu(0, 1, 0));
    assert_eq!(probe(&good), Probe::Yes);
    for whole in [good.clone(), third(7, &value(4, &[&[9; 40]])), message(0, &pdu(3, 1, 0))] {
        assert_eq!(testing::claimed_by(Transport::Datagram, &whole), ["snmp"]);
    }
    // Longer than the datagram, another version, no community, another kind, longer than the rest, an identifier too long.
    for (at, octet) in [(1, 100), (4, 2), (5, 5), (13, 0xa9), (14, 100), (16, 9)] {
        let mut bytes = good.clone();
        bytes[at] = octet;
        assert_eq!(probe(&bytes), Probe::No, "{at}");
    }
    assert_eq!(probe(&good[..good.len() - 1]), Probe::No);
    assert_eq!(probe(&[&good[..], &[0]].concat()), Probe::No);
    assert_eq!(probe(&message(1, &pdu(4, 1, 0))), Probe::No);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_survived(
        parts in testing::damaged(
            vec![(Forward, message(1, &pdu(0, 1, 0))), (Reverse, third(7, &value(4, &[&[9; 40]]))), (Reverse, message(1, &pdu(2, 1, 0)))],
            0,
        ),
    ) {
        testing::read(Transport::Datagram, PORTS, &parts);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, message(1, &pdu(0, 1, 0)))], parts].concat();
        prop_assert_eq!(testing::read(Transport::Datagram, PORTS, &parts).len(), 1);
    }
}
