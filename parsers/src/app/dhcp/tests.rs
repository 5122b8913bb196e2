// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Dhcp};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [68, 67];

/// A message with these options behind its cookie.
fn message(op: u8, id: u8, offered: [u8; 4], options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![op, 1, 6, 0]; // op, Ethernet, six octets, no hops
    message.extend([0, 0, 0, id]); // transaction identifier
    message.extend([0, 3, 0x80, 0]); // seconds, broadcast
    message.extend([0; 4]); // the client's address
    message.extend(offered);
    message.extend([192, 0, 2, 9]); // next server
    message.extend([0; 4]); // relay agent
    message.extend([2, 0, 0, 0, 0, 7]); // hardware address
    message.extend([0; 10]); // its padding
    message.extend([0; 64]); // server's name
    message.extend([0; 128]); // file
    message.extend([99, 130, 83, 99]); // cookie
    message.extend(options.concat());
    message.push(255);
    message
}

fn discover() -> Vec<u8> {
    message(
        1,
        5,
        [0; 4],
        &[
            &[53, 1, 1],                           // DISCOVER
            &[0, 0],                               // padding
            &[61, 7, 1, 2, 0, 0, 0, 0, 7],         // client identifier
            b"\x0c\x06laptop",                     // host name
            b"\x3c\x08MSFT 5.0",                   // vendor class
            &[50, 4, 192, 0, 2, 44],               // requested address
            &[55, 4, 1, 3, 6, 252],                // parameters
            b"\x51\x0e\x05\0\0\x06laptop\x02ex\0", // name, in the form of DNS
        ],
    )
}

fn offer() -> Vec<u8> {
    message(
        2,
        5,
        [192, 0, 2, 44],
        &[
            &[53, 1, 2],            // OFFER
            &[54, 4, 192, 0, 2, 1], // server
            &[51, 4, 0, 0, 14, 16], // an hour
            b"\x0f\x08example\0",   // domain, with a zero behind it
        ],
    )
}

fn dhcp(parts: &[Part]) -> Vec<Dhcp> {
    let take = |(app, cut): (AppFields, bool)| match app {
        AppFields::Dhcp(dhcp) if !cut => *dhcp,
        other => panic!("{other:?}"),
    };
    testing::read(Transport::Datagram, PORTS, parts).into_iter().map(take).collect()
}

#[test]
fn a_request_and_its_answer() {
    let found = dhcp(&[(Forward, discover()), (Reverse, offer())]);
    let [dhcp] = &found[..] else { panic!("{found:?}") };
    let text = |text: &weir_flow::Text<255>| String::from_utf8(text.as_bytes(&dhcp.memory).to_vec()).unwrap();
    assert_eq!((dhcp.message_type, dhcp.transaction_id), (Some(2), Some(5)));
    assert_eq!(dhcp.client_mac.as_bytes(), [2, 0, 0, 0, 0, 7]);
    assert_eq!(dhcp.client_id.as_bytes(&dhcp.memory), b"01020000000007");
    assert_eq!((text(&dhcp.host_name), text(&dhcp.vendor_class)), ("laptop".into(), "MSFT 5.0".into()));
    assert_eq!((text(&dhcp.fqdn), text(&dhcp.domain_name)), ("laptop.ex".into(), "example".into()));
    assert_eq!(dhcp.fingerprint.as_bytes(&dhcp.memory), b"1,3,6,252");
    assert_eq!((dhcp.requested_address, dhcp.offered_address), (Some([192, 0, 2, 44]), Some([192, 0, 2, 44])));
    assert_eq!((dhcp.server_address, dhcp.lease_time), (Some([192, 0, 2, 1]), Some(3600)));
    assert_eq!((dhcp.client_address, dhcp.relay_address), (None, None));
}

#[test]
fn clients_that_share_a_flow_are_kept_apart_and_repetitions_are_not() {
    let mut other = discover();
    other[7] = 6;
    let found = dhcp(&[(Forward, discover()), (Forward, other), (Forward, discover())]);
    assert_eq!(found.iter().map(|d| d.transaction_id).collect::<Vec<_>>(), [Some(5), Some(6)]);
    let found = dhcp(&[(Reverse, offer()), (Reverse, offer())]);
    assert_eq!(found.len(), 1);
}

#[test]
fn options_go_on_where_overload_says_so() {
    let mut bytes = message(2, 1, [0; 4], &[&[52, 1, 3]]);
    bytes[44..50].copy_from_slice(b"\x38\x03why\xff"); // in the server's name: a message
    bytes[108..111].copy_from_slice(&[53, 1, 6]); // in the file: NAK
    bytes[111] = 255;
    let found = dhcp(&[(Reverse, bytes)]);
    assert_eq!(found[0].message_type, Some(6));
    assert_eq!(found[0].message.as_bytes(&found[0].memory), b"why");
}

#[test]
fn what_is_no_message() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Datagram, true, bytes);
    assert_eq!(probe(&discover()), Probe::Yes);
    let changed = |at: usize, octet: u8| {
        let mut bytes = discover();
        bytes[at] = octet;
        bytes
    };
    // op, hardware type, length of an address, cookie, type of a server in a request, a length that lies.
    for (at, octet) in [(0, 3), (1, 0), (2, 17), (236, 98), (242, 2), (241, 200)] {
        assert_eq!(probe(&changed(at, octet)), Probe::No, "{at}");
    }
    assert_eq!(probe(&discover()[..239]), Probe::No);
    assert_eq!(probe(&message(1, 1, [0; 4], &[])), Probe::No); // BOOTP
    assert_eq!(testing::claimed_by(Transport::Datagram, &discover()), ["dhcp"]);
    assert_eq!(testing::claimed_by(Transport::Datagram, &offer()), ["dhcp"]);
}

#[test]
fn an_option_that_is_cut_ends_the_options() {
    let mut bytes = message(1, 1, [0; 4], &[&[53, 1, 1], b"\x0c\x06laptop", &[60, 200, b'x']]);
    bytes.pop();
    let found = dhcp(&[(Forward, bytes)]);
    assert_eq!(found[0].host_name.as_bytes(&found[0].memory), b"laptop");
    assert!(found[0].vendor_class.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_survived(parts in testing::damaged(vec![(Forward, discover()), (Reverse, offer())], 0)) {
        prop_assert!(testing::read(Transport::Datagram, PORTS, &parts).len() <= 2);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![(Forward, discover())], parts].concat();
        prop_assert_eq!(testing::read(Transport::Datagram, PORTS, &parts).len(), 1);
    }
}
