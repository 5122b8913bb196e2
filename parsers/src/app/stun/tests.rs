// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;
use weir_flow::app::Stun;

use super::{MAX_STRAYS, Parser};
use crate::app::{Direction::Forward, Input, Parser as _, Probe, Step, Transactions, Transport};

/// The request of RFC 5769 section 2.1.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\
    \x21\x12\xa4\x42\
    \xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x10STUN test client\
    \x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
    \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// The response of RFC 5769 section 2.2.
const RESPONSE: &[u8] = b"\x01\x01\x00\x3c\
    \x21\x12\xa4\x42\
    \xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
    \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// The response of RFC 5769 section 2.3, with an IPv6 address.
const RESPONSE_IPV6: &[u8] = b"\x01\x01\x00\x48\
    \x21\x12\xa4\x42\
    \xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
    \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
    \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
    \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

fn input(bytes: &[u8]) -> Input<'_> {
    Input { bytes, direction: Forward, transport: Transport::Datagram, hinted: false, snapped: false }
}

fn read(messages: &[&[u8]]) -> Stun {
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(1));
    for message in messages {
        assert_eq!(parser.parse(input(message), &mut transactions, &mut ()), Step::Consumed(message.len()));
    }
    let mut found = Vec::new();
    transactions.finish(|closed| found.push(closed.fields.clone()));
    found.pop().unwrap_or_default()
}

#[test]
fn the_published_vectors_are_read() {
    let stun = read(&[REQUEST, RESPONSE, RESPONSE_IPV6, REQUEST]);
    assert_eq!(stun.message_type.iter(&stun.memory).collect::<Vec<_>>(), [0x0001, 0x0101]);
    assert_eq!(stun.software.as_bytes(&stun.memory), b"STUN test client");
    assert_eq!(stun.server_software.as_bytes(&stun.memory), b"test vector");
    assert_eq!(stun.username.as_bytes(&stun.memory), b"evtj:h6vY");
    assert_eq!(stun.mapped_ipv4.iter(&stun.memory).collect::<Vec<_>>(), [[192, 0, 2, 1]]);
    let ipv6: std::net::Ipv6Addr = "2001:db8:1234:5678:11:2233:4455:6677".parse().unwrap();
    assert_eq!(stun.mapped_ipv6.iter(&stun.memory).collect::<Vec<_>>(), [ipv6.octets()]);
    assert_eq!(stun.mapped_port.iter(&stun.memory).collect::<Vec<_>>(), [32853]);
}

#[test]
fn an_error_and_its_realm() {
    let message = b"\x01\x13\x00\x14\
        \x21\x12\xa4\x42\
        abcdefghijkl\
        \x00\x09\x00\x04\x00\x00\x04\x01\
        \x00\x14\x00\x05realm\0\0\0";
    let stun = read(&[message]);
    assert_eq!(stun.error_code.iter(&stun.memory).collect::<Vec<_>>(), [401]);
    assert_eq!(stun.realm.as_bytes(&stun.memory), b"realm");
    assert!(stun.software.is_empty() && stun.username.is_empty());
}

#[test]
fn content_decides() {
    let probe = |bytes: &[u8]| Parser::probe(input(bytes));
    assert_eq!(probe(REQUEST), Probe::Yes);
    // Cut short, something behind it, a length that is no whole number of words, another cookie, other first bits.
    assert_eq!(probe(&REQUEST[..100]), Probe::No);
    assert_eq!(probe(&[REQUEST, b"x"].concat()), Probe::No);
    assert_eq!(Parser::probe(Input { snapped: true, ..input(&REQUEST[..100]) }), Probe::Yes);
    for (at, octet) in [(3, 0x59), (4, 0x20), (0, 0x80), (0, 0x40)] {
        let mut message = REQUEST.to_vec();
        message[at] = octet;
        assert_eq!(probe(&message), Probe::No, "{at}");
    }
    // Without the cookie (RFC 3489): a binding request, on a port of STUN only.
    let classic = b"\x00\x01\x00\x08abcdefghijklmnop\x00\x03\x00\x04\x00\x00\x00\x06";
    assert_eq!(probe(classic), Probe::No);
    assert_eq!(Parser::probe(Input { hinted: true, ..input(classic) }), Probe::Yes);
    let lying = b"\x00\x01\x00\x08abcdefghijklmnop\x00\x03\x00\x05\x00\x00\x00\x06";
    assert_eq!(Parser::probe(Input { hinted: true, ..input(lying) }), Probe::No);
}

#[test]
fn media_on_the_same_path_are_handed_over() {
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(1));
    let mut step = |bytes: &[u8]| parser.parse(input(bytes), &mut transactions, &mut ());
    step(REQUEST);
    assert_eq!(step(&[0x80; 20]), Step::Handover(0));
    assert_eq!(step(&[0x10; 20]), Step::Handover(0));
    // Channels of TURN, and keep-alives, say nothing.
    (0..200).for_each(|_| assert_eq!(step(&[0x40; 20]), Step::Consumed(20)));
    (0..200).for_each(|_| assert_eq!(step(&[0x80; 4]), Step::Consumed(4)));
    (1..MAX_STRAYS).for_each(|_| assert_eq!(step(&[0xff; 20]), Step::Consumed(20)));
    assert_eq!(step(&[0xff; 20]), Step::Reject);
}

proptest! {
    #[test]
    fn any_octets_do_no_harm(kind in any::<u16>(), words in 0..40_u16, bytes in prop::collection::vec(any::<u8>(), 0..200), is_cut in any::<bool>()) {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend((4 * words).to_be_bytes());
        message.extend([0x21, 0x12, 0xa4, 0x42]);
        message.extend(&bytes);
        if !is_cut {
            message.resize(20 + 4 * usize::from(words), 1);
        }
        let (mut parser, mut transactions) = (Parser::default(), Transactions::new(1));
        parser.parse(Input { snapped: is_cut, ..input(&message) }, &mut transactions, &mut ());
        transactions.finish(|_| ());
    }
}
