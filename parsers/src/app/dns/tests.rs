// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages, and messages made at random that another parser reads as well.

use proptest::prelude::*;
use weir_flow::{
    Timestamp,
    app::{AppFields, Dns, Fields},
};

use super::super::{Direction, Feed, Input, Pools, Session, Transport};

/// Query for the addresses of a.bc.
const QUERY: &[u8] = &[
    0x12, 0x34, // identifier
    0x01, 0x00, // query, recursion desired
    0, 1, 0, 0, 0, 0, 0, 0, // one question
    1, b'a', 2, b'b', b'c', 0, // a.bc
    0, 1, 0, 1, // A, IN
];

/// Header of a response to it, with this many answers, and the question.
fn response(answers: u8) -> Vec<u8> {
    let mut message = QUERY.to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80]); // response, recursion desired and available, no error
    message[7] = answers;
    message
}

/// A record whose owner is the name of the question.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12]; // pointer to the question
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0x0e, 0x10]); // IN, 3600 s
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

struct Flow {
    session: Session,
    pools: Pools,
    transport: Transport,
    closed: Vec<Dns>,
}

impl Flow {
    fn new(port: u16, transport: Transport) -> Self {
        let mut session = Session::default();
        session.begin([40_000, port]);
        Self { session, pools: Pools::default(), transport, closed: Vec::new() }
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Feed {
        let input = Input { bytes, direction, transport: self.transport, hinted: false, snapped: false };
        let feed = self.session.feed(input, Timestamp::ZERO, &mut self.pools);
        self.session.settle(&mut self.pools, &mut |app, _| take(app.to_owned(), &mut self.closed));
        feed
    }

    fn finish(mut self) -> Vec<Dns> {
        self.session.finish(&mut self.pools, &mut |app, _| take(app.to_owned(), &mut self.closed));
        self.closed
    }
}

fn take(app: AppFields, closed: &mut Vec<Dns>) {
    if let AppFields::Dns(dns) = app {
        closed.push(*dns);
    }
}

/// Transactions of datagrams, the first of which goes forward, the second in reverse, and so on.
fn datagrams(port: u16, messages: &[&[u8]]) -> Vec<Dns> {
    let mut flow = Flow::new(port, Transport::Datagram);
    let mut direction = Direction::Forward;
    for message in messages {
        flow.feed(direction, message);
        direction = direction.opposite();
    }
    flow.finish()
}

fn texts(dns: &Dns) -> Vec<String> {
    dns.answers.iter(&dns.memory).map(|t| String::from_utf8_lossy(t).into_owned()).collect()
}

#[test]
fn query_and_response_are_one_transaction() {
    let mut message = response(3);
    message.extend(record(5, &[1, b'x', 0xc0, 14])); // CNAME x.bc
    message.extend(record(1, &[192, 0, 2, 1]));
    message.extend(record(28, &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    for port in [53, 4000] {
        let found = datagrams(port, &[QUERY, &message]);
        let mut expected = Dns {
            transaction_id: Some(0x1234),
            query_type: Some(1),
            query_class: Some(1),
            response_code: Some(0),
            answer_count: Some(3),
            ..Dns::default()
        };
        expected.query_name.set(b"a.bc", &mut expected.memory);
        expected.answer_ipv4.push([192, 0, 2, 1], &mut expected.memory);
        expected.answer_ipv6.push([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &mut expected.memory);
        expected.answers.push(b"a.bc 3600 CNAME x.bc", &mut expected.memory);
        expected.answers.push(b"a.bc 3600 A 192.0.2.1", &mut expected.memory);
        expected.answers.push(b"a.bc 3600 AAAA 2001:db8::1", &mut expected.memory);
        assert_eq!(found, [expected]);
    }
}

#[test]
fn a_query_without_response_has_no_response_code() {
    let found = datagrams(53, &[QUERY]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].response_code, found[0].answer_count), (None, None));
}

#[test]
fn types_in_presentation_form() {
    let soa = [&[1, b'm', 0xc0, 12, 0][..], &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5]].concat();
    let cases: [(u16, &[u8], &str); 12] = [
        (2, &[0xc0, 12], "NS a.bc"),
        (12, &[3, b'a', b'.', 0xff, 0], "PTR a\\.\\255"),
        (15, &[0, 10, 0xc0, 14], "MX 10 bc"),
        (16, b"\x03a\"b\x01\x00", "TXT \"a\\\"b\" \"\\000\""),
        (33, &[0, 1, 0, 2, 0x13, 0xc4, 0xc0, 12], "SRV 1 2 5060 a.bc"),
        (6, &soa, "SOA m.a.bc . 1 2 3 4 5"),
        (39, &[0], "DNAME ."),
        (65, &[0, 1, 0], "HTTPS \\# 3 000100"),
        (65_280, &[], "TYPE65280 \\# 0"),
        // Data of the wrong length, a name that does not fill the record, a string that goes beyond it.
        (1, &[192, 0, 2], "A \\# 3 c00002"),
        (5, &[0, 0], "CNAME \\# 2 0000"),
        (16, &[5, b'a'], "TXT \\# 2 0561"),
    ];
    let mut message = response(cases.len() as u8);
    for (kind, data, _) in cases {
        message.extend(record(kind, data));
    }
    let found = datagrams(53, &[&message]);
    assert_eq!(texts(&found[0]), cases.map(|(_, _, text)| format!("a.bc 3600 {text}")));
    assert_eq!(found[0].answer_ipv4.iter(&found[0].memory).collect::<Vec<_>>(), [[0; 4]; 0]);
}

#[test]
fn an_odd_record_does_not_lose_the_rest() {
    let mut message = response(3);
    message.extend([0xc0, 22 + 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 9]); // owner points forwards
    message.extend(record(5, &[0xc0, 50])); // CNAME that points to itself
    message.extend(record(1, &[192, 0, 2, 1]));
    let found = datagrams(53, &[&message]);
    assert_eq!(found[0].answer_ipv4.iter(&found[0].memory).collect::<Vec<_>>(), [[192, 0, 2, 9], [192, 0, 2, 1]]);
    assert_eq!(texts(&found[0]), ["a.bc 3600 CNAME \\# 2 c032", "a.bc 3600 A 192.0.2.1"]);
}

#[test]
fn a_truncated_message_gives_what_it_has() {
    let mut message = response(2);
    message.extend(record(1, &[192, 0, 2, 1]));
    let one = message.len();
    message.extend(record(1, &[192, 0, 2, 2]));
    for len in 0..message.len() {
        let found = datagrams(53, &[&message[..len]]);
        if len < QUERY.len() {
            assert_eq!(found, [], "{len}");
            continue;
        }
        let addresses = found[0].answer_ipv4.iter(&found[0].memory).count();
        assert_eq!((found[0].response_code, addresses), (Some(0), usize::from(len >= one)), "{len}");
    }
}

#[test]
fn a_lying_data_length_ends_the_walk() {
    let mut message = response(2);
    let mut lying = record(1, &[192, 0, 2, 1]);
    lying[10] = 0xff; // length of the data, first octet
    message.extend(lying);
    message.extend(record(1, &[192, 0, 2, 2]));
    let found = datagrams(53, &[&message]);
    assert_eq!((found[0].answer_count, found[0].answer_ipv4.iter(&found[0].memory).count()), (Some(2), 0));
}

#[test]
fn several_questions_are_several_transactions() {
    let mut query = QUERY.to_vec();
    query[5] = 2;
    query.extend([0xc0, 14, 0, 28, 0, 1]); // bc, AAAA, IN
    let mut message = query.clone();
    message[2..4].copy_from_slice(&[0x81, 0x83]); // no such name
    let found = datagrams(53, &[&query, &message]);
    let names: Vec<_> =
        found.iter().map(|d| (d.query_name.as_bytes(&d.memory), d.query_type, d.response_code)).collect();
    assert_eq!(names, [(&b"a.bc"[..], Some(1), Some(3)), (b"bc", Some(28), Some(3))]);
}

#[test]
fn a_question_whose_name_loops_keeps_identifier_and_type() {
    let mut query = QUERY[..12].to_vec();
    query.extend([0xc0, 12, 0, 1, 0, 1]); // points to itself
    let found = datagrams(53, &[&query]);
    assert_eq!((found[0].transaction_id, found[0].query_type), (Some(0x1234), Some(1)));
    assert!(found[0].query_name.is_empty());
    assert_eq!(datagrams(4000, &[&query]), []);
}

#[test]
fn a_repeated_query_or_response_is_no_new_transaction() {
    let mut message = response(1);
    message.extend(record(1, &[192, 0, 2, 1]));
    let found = datagrams(53, &[QUERY, QUERY, QUERY, &message, &message, &message]);
    assert_eq!(found.len(), 1);
    assert_eq!(texts(&found[0]), ["a.bc 3600 A 192.0.2.1"]);
    let found = datagrams(53, &[QUERY, &message, QUERY, &message]);
    assert_eq!(found.len(), 2);
}

#[test]
fn responses_out_of_order_find_their_queries() {
    let mut other = QUERY.to_vec();
    other[1] = 0x35;
    let mut flow = Flow::new(53, Transport::Datagram);
    flow.feed(Direction::Forward, QUERY);
    flow.feed(Direction::Forward, &other);
    let mut failed = response(0);
    failed[1] = 0x35;
    failed[3] = 0x82; // server failure
    flow.feed(Direction::Reverse, &failed);
    flow.feed(Direction::Reverse, &response(0));
    let codes: Vec<_> = flow.finish().iter().map(|d| (d.transaction_id, d.response_code)).collect();
    assert_eq!(codes, [(Some(0x1235), Some(2)), (Some(0x1234), Some(0))]);
}

#[test]
fn a_bare_error_answers_by_identifier() {
    let bare = [0x12, 0x34, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]; // format error, no question
    let found = datagrams(53, &[QUERY, &bare]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].query_type, found[0].response_code), (Some(1), Some(1)));
}

#[test]
fn what_is_not_dns_is_refused() {
    let mut trailing = QUERY.to_vec();
    trailing.push(0);
    assert_eq!(datagrams(4000, &[&trailing]), []);
    assert_eq!(datagrams(53, &[&trailing]).len(), 1);
    // NetBIOS name query (RFC 1002 section 4.2.12): the same format, another protocol.
    let mut netbios = vec![0, 1, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 32];
    netbios.extend([b'C', b'A'].repeat(16));
    netbios.extend([0, 0, 0x20, 0, 1]);
    assert_eq!(datagrams(137, &[&netbios]), []);
    for junk in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[0xff; 64], &[0x00; 11], b"", &[0x47; 188]] {
        assert_eq!(datagrams(53, &[junk]), [], "{junk:?}");
        assert_eq!(datagrams(4000, &[junk]), [], "{junk:?}");
    }
}

#[test]
fn junk_between_messages_is_passed_over_until_it_is_too_much() {
    let junk = &[0xff; 40][..];
    assert_eq!(datagrams(53, &[QUERY, junk, junk, &response(0)])[0].response_code, Some(0));
    let mut flow = Flow::new(53, Transport::Datagram);
    flow.feed(Direction::Forward, QUERY);
    let fed: Vec<_> = (0..8).map(|_| flow.feed(Direction::Reverse, junk)).collect();
    assert_eq!((fed[6], fed[7]), (Feed::More, Feed::Done));
}

#[test]
fn a_stream_goes_on_after_a_long_message_and_ends_with_a_gap() {
    let mut long = response(1);
    long.extend(record(10, &[0; 60_000]));
    let mut flow = Flow::new(53, Transport::Stream);
    flow.feed(Direction::Forward, &framed(QUERY));
    for part in framed(&long).chunks(1000) {
        flow.feed(Direction::Reverse, part);
    }
    let mut second = QUERY.to_vec();
    second[1] = 0x35;
    assert_eq!(flow.feed(Direction::Forward, &framed(&second)), Feed::More);
    flow.session.gap(Direction::Reverse, 17, &mut flow.pools);
    assert!(flow.session.is_done());
    let found = flow.finish();
    assert_eq!(found.len(), 2);
    // The one record of the first is longer than what is looked at.
    assert_eq!((found[0].response_code, texts(&found[0])), (Some(0), vec![]));
    assert_eq!(found[1].response_code, None);
}

#[test]
fn more_answers_than_fit_are_cut_and_say_so() {
    let mut message = response(20);
    for i in 0..20 {
        message.extend(record(1, &[192, 0, 2, i]));
    }
    let found = datagrams(53, &[&message]);
    assert_eq!((found[0].answer_ipv4.iter(&found[0].memory).count(), texts(&found[0]).len()), (20, 16));
    assert!(found[0].is_cut());
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"abcxyz019-_".to_vec()), 1..12)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(label(), 1..5).prop_map(|labels| {
        let mut name = Vec::new();
        for label in labels {
            name.push(label.len() as u8);
            name.extend(label);
        }
        name.push(0);
        name
    })
}

/// Type and data of a record; some names end in a pointer to the question.
fn data() -> impl Strategy<Value = (u16, Vec<u8>)> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|a| (1, a.to_vec())),
        any::<[u8; 16]>().prop_map(|a| (28, a.to_vec())),
        (prop::sample::select(vec![2_u16, 5, 12]), name()).prop_map(|(kind, name)| (kind, name)),
        label().prop_map(|l| (5, [&[l.len() as u8][..], &l, &[0xc0, 12]].concat())),
        (any::<u16>(), name()).prop_map(|(preference, name)| (15, [&preference.to_be_bytes()[..], &name].concat())),
        label().prop_map(|l| (16, [&[l.len() as u8][..], &l].concat())),
    ]
}

proptest! {
    #[test]
    fn reads_what_dns_parser_reads(
        id in any::<u16>(),
        code in 0_u8..6,
        name in name(),
        kind in prop::sample::select(vec![1_u8, 2, 5, 12, 15, 16, 28, 33]),
        records in prop::collection::vec(data(), 0..12),
        flip in prop::option::of((12_usize..64, any::<u8>())),
    ) {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        message.extend(&name);
        message.extend([0, kind, 0, 1]);
        for (kind, data) in &records {
            message.extend(record(*kind, data));
        }
        if let Some((at, bits)) = flip
            && let Some(octet) = message.get_mut(at)
        {
            *octet ^= bits;
        }
        let Ok(theirs) = dns_parser::Packet::parse(&message) else { return Ok(()) };
        // Names are text there; others are left to the tests above.
        if !message.is_ascii() && theirs.questions.iter().any(|q| !q.qname.to_string().is_ascii()) {
            return Ok(());
        }
        let ours = datagrams(53, &[&message]);
        prop_assert_eq!(ours.len(), 1);
        let ours = &ours[0];
        prop_assert_eq!(ours.transaction_id, Some(theirs.header.id));
        prop_assert_eq!(ours.response_code, Some(code));
        prop_assert_eq!(ours.query_type, Some(theirs.questions[0].qtype as u16));
        let expected = theirs.questions[0].qname.to_string();
        if expected.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && flip.is_none() {
            prop_assert_eq!(ours.query_name.as_bytes(&ours.memory), expected.as_bytes());
        }
        let mut ipv4 = Vec::new();
        let mut ipv6 = Vec::new();
        for answer in theirs.answers.iter().filter(|a| a.cls == dns_parser::Class::IN) {
            match answer.data {
                dns_parser::RData::A(a) if !ipv4.contains(&a.0.octets()) => ipv4.push(a.0.octets()),
                dns_parser::RData::AAAA(a) if !ipv6.contains(&a.0.octets()) => ipv6.push(a.0.octets()),
                _ => {}
            }
        }
        prop_assert_eq!(ours.answer_ipv4.iter(&ours.memory).collect::<Vec<_>>(), ipv4);
        prop_assert_eq!(ours.answer_ipv6.iter(&ours.memory).collect::<Vec<_>>(), ipv6);
    }
}
