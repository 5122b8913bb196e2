// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Ldap};

use super::{
    super::{Direction, Feed, Probe, Transport, testing},
    *,
};
use testing::{Flow, Part};

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 389];

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut value = vec![tag];
    match u8::try_from(content.len()) {
        Ok(len @ ..=127) => value.push(len),
        // The long form, as directory servers of one vendor always send it.
        _ => value.extend([&[0x84][..], &(content.len() as u32).to_be_bytes()].concat()),
    }
    value.extend(content);
    value
}

fn message(id: u8, operation: u8, content: &[u8]) -> Vec<u8> {
    value(0x30, &[value(2, &[id]), value(operation, content)].concat())
}

fn bind(name: &str, credentials: &[u8]) -> Vec<u8> {
    message(1, BIND_REQUEST, &[&[2, 1, 3][..], &value(4, name.as_bytes()), credentials].concat())
}

fn result(id: u8, operation: u8, code: u8) -> Vec<u8> {
    message(id, operation, &[&[10, 1, code, 4, 0][..], &value(4, b"said")].concat())
}

/// A search: base, whole subtree, no dereferencing, no limits, a filter that something is there, no attributes.
fn search(id: u8, base: &str) -> Vec<u8> {
    let rest = b"\x0a\x01\x02\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\x87\x0bobjectClass\x30\0";
    message(id, SEARCH, &[&value(4, base.as_bytes())[..], rest].concat())
}

fn connection() -> Vec<Part> {
    let entry = message(3, ENTRY, &[&value(4, b"cn=a,dc=example")[..], &value(0x30, &[0; 9000])].concat());
    vec![
        (Forward, bind("cn=admin,dc=example", &value(SIMPLE, b"secret"))),
        (Reverse, result(1, BIND_RESPONSE, 49)),
        (Forward, bind("", &value(SASL, &[value(4, b"GSS-SPNEGO"), value(4, &[7; 5000])].concat()))),
        (Reverse, result(2, BIND_RESPONSE, 0)),
        (Forward, [search(3, "dc=example"), search(4, "dc=example"), search(5, "ou=x,dc=example")].concat()),
        (Reverse, [entry, result(3, SEARCH_DONE, 0), result(4, SEARCH_DONE, 32), result(5, SEARCH_DONE, 32)].concat()),
        (Forward, message(6, EXTENDED, &value(NAME, b"1.3.6.1.4.1.4203.1.11.3"))),
        (Reverse, result(6, EXTENDED_RESPONSE, 0)),
        (Forward, message(7, UNBIND, &[])),
    ]
}

fn ldap(parts: &[Part]) -> Ldap {
    match testing::read(Transport::Stream, PORTS, parts).swap_remove(0) {
        (AppFields::Ldap(ldap), false) => *ldap,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection() {
    let ldap = ldap(&connection());
    assert_eq!(ldap.version, Some(3));
    // Of the last bind, which has no name.
    assert_eq!(ldap.bind_name.as_bytes(&ldap.memory), b"");
    assert_eq!(ldap.bind_mechanism.as_bytes(&ldap.memory), b"GSS-SPNEGO");
    assert_eq!(ldap.operations, Some(1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 23 | 1 << 24));
    assert_eq!(ldap.search_base.iter(&ldap.memory).collect::<Vec<_>>(), [&b"dc=example"[..], b"ou=x,dc=example"]);
    assert_eq!(ldap.result_code.iter(&ldap.memory).collect::<Vec<_>>(), [49, 32]);
    assert_eq!(ldap.extended.iter(&ldap.memory).collect::<Vec<_>>(), [&b"1.3.6.1.4.1.4203.1.11.3"[..]]);
}

#[test]
fn a_password_is_nowhere() {
    let parts = [(Forward, bind("cn=admin", &value(SIMPLE, b"secret")))];
    let ldap = ldap(&parts);
    assert_eq!(ldap.bind_name.as_bytes(&ldap.memory), b"cn=admin");
    assert_eq!(ldap.bind_mechanism.as_bytes(&ldap.memory), b"simple");
    assert!(!ldap.memory.as_bytes().windows(6).any(|window| window == b"secret"));
}

/// A ClientHello in a record, with a random of 32 octets, one cipher suite and no extensions.
fn hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
    hello
}

#[test]
fn tls_follows_its_answer() {
    let ask = message(1, EXTENDED, &value(NAME, START_TLS));
    for answer in [vec![(Reverse, result(1, EXTENDED_RESPONSE, 0))], vec![]] {
        let parts = [vec![(Forward, ask.clone())], answer, vec![(Forward, hello())]].concat();
        let found = testing::read(Transport::Stream, PORTS, &parts);
        assert!(matches!(&found[..], [(AppFields::Ldap(_), _), (AppFields::Tls(_), _)]), "{found:?}");
        testing::assert_the_same_in_any_pieces(PORTS, &parts);
    }
    let refused = [(Forward, ask), (Reverse, result(1, EXTENDED_RESPONSE, 2)), (Forward, search(2, "x"))];
    assert_eq!(ldap(&refused).search_base.len(), 1);
}

#[test]
fn a_security_layer_ends_it() {
    let mut flow = Flow::new(Transport::Stream, PORTS);
    flow.feed(Forward, &bind("", &value(SASL, &value(4, b"GSSAPI"))));
    assert_eq!(flow.feed(Forward, &[0, 0, 0, 9, 5, 4, 6, 0xff, 0, 0, 0, 0, 0]), Feed::Done);
    assert_eq!(flow.finish().len(), 1);
}

#[test]
fn several_messages_in_one_datagram() {
    let parts =
        [(Forward, search(1, "")), (Reverse, [message(1, ENTRY, &value(4, b"x")), result(1, SEARCH_DONE, 0)].concat())];
    let found = testing::read(Transport::Datagram, PORTS, &parts);
    let AppFields::Ldap(ldap) = &found[0].0 else { panic!("{found:?}") };
    assert_eq!((found.len(), ldap.operations), (1, Some(1 << 3 | 1 << 4 | 1 << 5)));
}

#[test]
fn what_begins_so() {
    let probe = |hinted, bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, hinted, bytes);
    for whole in [bind("cn=a", &[SIMPLE, 0]), search(1, "dc=example"), result(1, BIND_RESPONSE, 0)] {
        let told = (1..whole.len()).find(|&len| probe(false, &whole[..len]) == Probe::Yes).unwrap();
        assert!((1..told).all(|len| probe(false, &whole[..len]) == Probe::More));
        assert_eq!(testing::claimed_by(Transport::Stream, &whole), ["ldap"]);
        assert_eq!(testing::claimed_by(Transport::Datagram, &whole), ["ldap"]);
        assert_eq!(testing::probe::<Parser>(Transport::Datagram, true, &whole[..whole.len() - 1]), Probe::No);
    }
    // Another tag, another length of the number, another operation, longer than the message, another version.
    for (at, octet) in [(0, 0x31), (3, 6), (5, 0x62), (6, 0x70), (9, 4)] {
        let mut bytes = bind("cn=a", &[SIMPLE, 0]);
        bytes[at] = octet;
        assert_eq!(probe(true, &bytes), Probe::No, "{at}");
    }
    let unbind = message(1, UNBIND, &[]);
    assert_eq!((probe(true, &unbind), probe(false, &unbind)), (Probe::Yes, Probe::No));
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(parts in testing::damaged(connection(), 12), size in 1_usize..100) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        for transport in [Transport::Datagram, Transport::Stream] {
            let parts: Vec<Part> = [vec![(Forward, search(1, "x"))], parts.clone()].concat();
            testing::read(transport, PORTS, &parts);
        }
    }
}
