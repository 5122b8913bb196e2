// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Dhcpv6};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [546, 547];

/// 2001:db8::7.
const GIVEN: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

fn option(code: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    [&[0, code, 0, value.len() as u8][..], &value].concat()
}

fn message(kind: u8, id: u8, options: &[Vec<u8>]) -> Vec<u8> {
    [&[kind, 0, 0, id][..], &options.concat()].concat()
}

fn solicit() -> Vec<u8> {
    message(
        1,
        5,
        &[
            option(1, &[&[0, 1, 0, 1, 1, 2, 3, 4, 2, 0, 0, 0, 0, 7]]), // client, by time and address
            option(8, &[&[0, 0]]),                                     // elapsed
            option(6, &[&[0, 23, 0, 24, 1, 0]]),                       // asked for
            option(16, &[&[0, 0, 1, 0x37], &[0, 8], b"MSFT 5.0"]),     // vendor class
            option(39, &[&[0], b"\x06laptop\x02ex\0"]),                // name
            option(3, &[&[0; 12]]),                                    // addresses, none yet
        ],
    )
}

fn reply() -> Vec<u8> {
    let address = option(5, &[&GIVEN, &[0, 0, 14, 16, 0, 0, 28, 32]]);
    message(
        7,
        5,
        &[
            option(1, &[&[0, 1, 0, 1, 1, 2, 3, 4, 2, 0, 0, 0, 0, 7]]),
            option(2, &[&[0, 3, 0, 1, 2, 0, 0, 0, 0, 1]]),
            option(3, &[&[0; 12], &address, &option(13, &[&[0, 0], b"fine"])]),
            option(13, &[&[0, 2], b"none left"]),
        ],
    )
}

fn relayed(message: &[u8]) -> Vec<u8> {
    [&[12, 0][..], &[0xfe; 32], &option(18, &[b"port"]), &option(9, &[message])].concat()
}

fn dhcpv6(parts: &[Part]) -> Vec<Dhcpv6> {
    let take = |(app, cut): (AppFields, bool)| match app {
        AppFields::Dhcpv6(dhcpv6) if !cut => *dhcpv6,
        other => panic!("{other:?}"),
    };
    testing::read(Transport::Datagram, PORTS, parts).into_iter().map(take).collect()
}

#[test]
fn a_request_and_its_answer() {
    for parts in
        [[(Forward, solicit()), (Reverse, reply())], [(Forward, relayed(&solicit())), (Reverse, relayed(&reply()))]]
    {
        let found = dhcpv6(&parts);
        let [dhcpv6] = &found[..] else { panic!("{found:?}") };
        let m = &dhcpv6.memory;
        assert_eq!((dhcpv6.message_type, dhcpv6.transaction_id, dhcpv6.status), (Some(7), Some(5), Some(2)));
        assert_eq!(dhcpv6.client_duid.as_bytes(m), b"0001000101020304020000000007");
        assert_eq!(dhcpv6.server_duid.as_bytes(m), b"00030001020000000001");
        assert_eq!(
            (dhcpv6.fqdn.as_bytes(m), dhcpv6.vendor_class.as_bytes(m)),
            (&b"laptop.ex"[..], &b"311:MSFT 5.0"[..])
        );
        assert_eq!(dhcpv6.fingerprint.as_bytes(m), b"23,24,256");
        assert_eq!(dhcpv6.address.iter(m).collect::<Vec<_>>(), [GIVEN]);
    }
}

#[test]
fn repetitions() {
    assert_eq!(dhcpv6(&[(Forward, solicit()), (Forward, solicit())]).len(), 1);
    assert_eq!(dhcpv6(&[(Reverse, reply()), (Reverse, reply())]).len(), 1);
    let request = [&[3][..], &solicit()[1..]].concat();
    assert_eq!(dhcpv6(&[(Forward, solicit()), (Forward, request)]).len(), 2);
}

#[test]
fn what_is_none() {
    let probe = |hinted, bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, hinted, bytes);
    for whole in [solicit(), reply(), relayed(&solicit())] {
        assert_eq!(testing::claimed_by(Transport::Datagram, &whole), ["dhcpv6"]);
        assert_eq!(probe(true, &whole[..whole.len() - 1]), Probe::No);
    }
    let anonymous = message(11, 1, &[option(8, &[&[0, 0]])]);
    assert_eq!((probe(true, &anonymous), probe(false, &anonymous)), (Probe::Yes, Probe::No));
    // Another type, an option that is longer than the rest, an identifier of no kind.
    for (at, octet) in [(0, 0), (0, 37), (7, 200), (9, 7)] {
        let mut bytes = solicit();
        bytes[at] = octet;
        assert_eq!(probe(false, &bytes), Probe::No, "{at}");
    }
    // Relay agents behind each other.
    let deep = (0..6).fold(anonymous, |message, _| relayed(&message));
    assert_eq!(probe(true, &deep), Probe::No);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_survived(
        parts in testing::damaged(vec![(Forward, solicit()), (Forward, relayed(&solicit())), (Reverse, reply())], 0),
    ) {
        testing::read(Transport::Datagram, PORTS, &parts);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, solicit())], parts].concat();
        testing::read(Transport::Datagram, PORTS, &parts);
    }
}
