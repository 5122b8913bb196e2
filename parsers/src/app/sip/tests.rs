// SPDX-License-Identifier: MIT OR Apache-2.0
use weir_flow::app::{Fields, Sip};

use super::{
    MAX_HEAD, Parser, Scratch, first_value,
    head::{Shape, shape},
    is_keep_alive, uri,
};
use crate::app::{
    AfterGap,
    Direction::{Forward, Reverse},
    Input, Parser as _, Probe, Step, Transactions, Transport,
};

const INVITE: &str = "INVITE sip:b@example.org;p=1 SIP/2.0\nVia: SIP/2.0/UDP h;branch=1, SIP/2.0/UDP i\n\
    From: \"A, <x>\" <sip:a@example.org;p=1>;tag=1\nTo: <sip:b@example.org>\nCall-ID: id\nCSeq:  1   INVITE \n\
    Contact: \"x,\" <sip:c,d@h>, <sip:e>\nUser-Agent: ua\nContent-Length: 3\n\nv=0";
const TRYING: &str =
    "SIP/2.0 100 Trying\ni: id\nCSeq: 1 INVITE\nf: <sip:a@example.org>;tag=1\nt: <sip:b@example.org>\n\n";
const OK: &str = "SIP/2.0 200 OK\ni: id\nCSeq: 1 INVITE\nf: <sip:a@example.org>;tag=1\nt: <sip:b@example.org>;tag=2\nServer: s\nl: 0\n\n";

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn input(bytes: &[u8], transport: Transport) -> Input<'_> {
    Input { bytes, direction: Forward, transport, hinted: false, snapped: false }
}

fn finish(mut transactions: Transactions<Sip>) -> Vec<Sip> {
    let mut found = Vec::new();
    transactions.finish(|closed| found.push(closed.fields.clone()));
    found
}

/// The transactions of these datagrams.
fn datagrams(messages: &[&str]) -> Vec<Sip> {
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(Parser::IDENTITY.max_open));
    for message in messages {
        let message = crlf(message);
        let step = parser.parse(input(&message, Transport::Datagram), &mut transactions, &mut Scratch::default());
        assert_eq!(step, Step::Consumed(message.len().max(1)));
    }
    finish(transactions)
}

#[test]
fn content_decides() {
    let probe = |bytes: &[u8], transport| Parser::probe(input(bytes, transport));
    for transport in [Transport::Stream, Transport::Datagram] {
        assert_eq!(probe(b"REGISTER sip:x SIP/2.0\r\n", transport), Probe::Yes);
        assert_eq!(probe(b"SIP/2.0 180 Ringing\r\n", transport), Probe::Yes);
        assert_eq!(probe(b"\r\nSIP/2.0 180 Ringing\r\n", transport), Probe::Yes);
        assert_eq!(probe(b"OPTIONS * HTTP/1.1\r\n", transport), Probe::No);
        assert_eq!(probe(b"SIP/2.0 99 x\r\n", transport), Probe::No);
        assert_eq!(probe(b"REGISTER sip:x SIP/2.0x\r\n", transport), Probe::No);
    }
    assert_eq!(probe(b"REGISTER sip:x", Transport::Stream), Probe::More);
    assert_eq!(probe(b"SIP/2", Transport::Stream), Probe::More);
    assert_eq!(probe(b"SIP/2", Transport::Datagram), Probe::No);
    assert!(is_keep_alive(b"\r\n\r\n") && is_keep_alive(&[0; 4]) && !is_keep_alive(b"\r\n\r\nx"));
}

#[test]
fn a_request_and_its_responses() {
    let found = datagrams(&[INVITE, INVITE, TRYING, "\n\n", OK]);
    let [sip] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(sip.method.as_bytes(), b"INVITE");
    assert_eq!(sip.request_uri.as_bytes(&sip.memory), b"sip:b@example.org;p=1");
    assert_eq!(sip.status_code.iter(&sip.memory).collect::<Vec<_>>(), [100, 200]);
    assert_eq!(sip.from.as_bytes(&sip.memory), b"\"A, <x>\" <sip:a@example.org;p=1>;tag=1");
    assert_eq!(sip.from_uri.as_bytes(&sip.memory), b"sip:a@example.org;p=1");
    let to: Vec<_> = sip.to.iter(&sip.memory).collect();
    assert_eq!(to, [&b"<sip:b@example.org>"[..], b"<sip:b@example.org>;tag=2"]);
    assert_eq!(sip.to_uri.as_bytes(&sip.memory), b"sip:b@example.org");
    assert_eq!(sip.call_id.as_bytes(&sip.memory), b"id");
    assert_eq!(sip.cseq.as_bytes(&sip.memory), b"1 INVITE");
    assert_eq!(sip.via.as_bytes(&sip.memory), b"SIP/2.0/UDP h;branch=1");
    assert_eq!(sip.contact.as_bytes(&sip.memory), b"\"x,\" <sip:c,d@h>");
    assert_eq!(sip.user_agent.as_bytes(&sip.memory), b"ua");
    assert_eq!(sip.server.as_bytes(&sip.memory), b"s");
}

#[test]
fn another_cseq_is_another_transaction() {
    let ack = INVITE.replace("INVITE", "ACK");
    let bye = INVITE.replace("1   INVITE", "2 BYE").replace("INVITE", "BYE");
    let found = datagrams(&[INVITE, OK, &ack, &bye]);
    let methods: Vec<_> = found.iter().map(|s| s.method.as_bytes()).collect();
    assert_eq!(methods, [&b"INVITE"[..], b"ACK", b"BYE"]);
}

#[test]
fn a_response_alone_has_no_method() {
    let found = datagrams(&[OK]);
    assert!(found[0].method.is_empty());
    assert_eq!(found[0].status_code.iter(&found[0].memory).collect::<Vec<_>>(), [200]);
    assert_eq!(found[0].cseq.as_bytes(&found[0].memory), b"1 INVITE");
}

#[test]
fn cut_and_junk_datagrams() {
    assert_eq!(datagrams(&["", "junk", "INVITE sip:b", "SIP/2.0 200"]).len(), 0);
    let found = datagrams(&["OPTIONS sip:b SIP/2.0\nno header\nFrom\nCall-ID"]);
    assert_eq!(found[0].request_uri.as_bytes(&found[0].memory), b"sip:b");
    assert!(found[0].call_id.is_empty());

    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(1));
    let bytes = crlf("OPTIONS sip:b SIP/2.0\nCall-ID: id\nFrom: <sip:trunca");
    parser.parse(
        Input { snapped: true, ..input(&bytes, Transport::Datagram) },
        &mut transactions,
        &mut Scratch::default(),
    );
    let found = finish(transactions);
    assert_eq!(found[0].call_id.as_bytes(&found[0].memory), b"id");
    assert!(found[0].from.is_empty());
}

#[test]
fn a_stream_goes_by_content_length() {
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(8));
    let mut step =
        |bytes: &[u8]| parser.parse(input(bytes, Transport::Stream), &mut transactions, &mut Scratch::default());
    assert_eq!(step(b"\r\n\r\n"), Step::Consumed(4));
    let invite = crlf(INVITE);
    assert_eq!(step(&invite[..invite.len() - 4]), Step::More);
    assert_eq!(step(&invite), Step::Skip(invite.len() as u64));
    let lying = crlf(&INVITE.replace("Length: 3", "Length: 18446744073709551615"));
    assert_eq!(step(&lying), Step::Skip(u64::MAX));
    let negative = crlf(&INVITE.replace("Length: 3", "Length: -3"));
    assert_eq!(step(&negative), Step::Skip(negative.len() as u64 - 3));
}

#[test]
fn after_missing_octets_a_message_is_found_at_the_start_of_a_line() {
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(8));
    assert_eq!(parser.gap(Forward), AfterGap::Resume);
    let mut step =
        |bytes: &[u8]| parser.parse(input(bytes, Transport::Stream), &mut transactions, &mut Scratch::default());
    assert_eq!(step(b"of SIP/2.0\r\nv=0\r\nSIP/2.0 200 OK\r\n"), Step::Consumed(17));
    assert_eq!(step(b"SIP/2.0 200 OK\r\n"), Step::More);
    assert_eq!(step(b"SIP/2.0 200 OK\r\n\r\n"), Step::Skip(18));
    let mut head = b"SIP/2.0 200 OK\r\nX: ".to_vec();
    head.resize(MAX_HEAD - 1, b'x');
    assert_eq!(step(&head), Step::More);
    head.push(b'x');
    assert_eq!(step(&head), Step::Skip(16));
    assert_eq!(step(b"xxx"), Step::Consumed(3));
    let bytes = input(b"ACK sip:x SIP/2.0\r\n\r\n", Transport::Stream);
    assert_eq!(
        parser.parse(Input { direction: Reverse, ..bytes }, &mut transactions, &mut Scratch::default()),
        Step::Skip(21)
    );
    assert_eq!(finish(transactions).len(), 3);
}

#[test]
fn addresses() {
    for (value, expected) in [
        ("sip:a@h;tag=1", "sip:a@h"),
        ("<sip:a@h;p=1?h=v>;tag=1", "sip:a@h;p=1?h=v"),
        ("\"<sip:no>\\\"\" <tel:+1>", "tel:+1"),
        ("A <sip:a@[::1]:5060>", "sip:a@[::1]:5060"),
        ("<sip:unclosed", "sip:unclosed"),
        ("\"unclosed <sip:a@h>", ""),
        ("*", ""),
        ("", ""),
    ] {
        assert_eq!(uri(value.as_bytes()).escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
    }
    assert_eq!(first_value(b"<sip:a,b>;x=\",\" , <sip:c>"), b"<sip:a,b>;x=\",\"");
}

#[test]
fn the_shape_of_a_beginning_does_not_change() {
    let messages: [&[u8]; 4] = [
        b"INVITE sip:b@example.org SIP/2.0\r\nVia: x\r\n",
        b"INVITE sip:b\x7f@example.org SIP/2.0\r\n",
        b"SIP/2.0 200 OK\r\n",
        b"SIP to me\r\n",
    ];
    for message in messages {
        let mut told = Shape::More;
        for end in 1..=message.len() {
            let now = shape(&message[..end], false);
            assert!(told == Shape::More || told == now, "{} at {end}", message.escape_ascii());
            told = now;
        }
        assert_ne!(told, Shape::More);
    }
}

#[test]
fn a_to_that_is_too_long_is_told_and_kept_once() {
    let to = format!("<sip:{}@example.org>", "b".repeat(600));
    let long = |message: &str| message.replace("<sip:b@example.org>", &to);
    let found = datagrams(&[&long(INVITE), &long(TRYING)]);
    assert_eq!(found[0].to.iter(&found[0].memory).collect::<Vec<_>>(), [&to.as_bytes()[..512]]);
    // Nothing else is: the URI of To is not looked at here.
    let mut others = found[0].clone();
    others.to_uri = weir_flow::Text::default();
    assert!(others.is_cut());
    assert!(!datagrams(&[INVITE, TRYING])[0].is_cut());
}
