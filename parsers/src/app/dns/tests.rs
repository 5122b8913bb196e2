// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages, and messages made at random that another parser reads as well.

use proptest::prelude::*;
use weir_flow::{
    Compact, Timestamp,
    app::{AppFields, Dns, Fields, dns::Variant},
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
        self.feed_at(0, direction, bytes)
    }

    /// At so many microseconds.
    fn feed_at(&mut self, micros: u64, direction: Direction, bytes: &[u8]) -> Feed {
        let input = Input { bytes, direction, transport: self.transport, hinted: false, snapped: false };
        let feed = self.session.feed(input, Timestamp::from_nanos(1000 * micros), &mut self.pools);
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

/// Transactions of datagrams: responses go in reverse.
fn datagrams(port: u16, messages: &[&[u8]]) -> Vec<Dns> {
    let mut flow = Flow::new(port, Transport::Datagram);
    for message in messages {
        let is_response = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
        flow.feed(if is_response { Direction::Reverse } else { Direction::Forward }, message);
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
            flags: Some(0x8180),
            response_code: Some(0),
            answer_count: Some(3),
            answer_type: Some(5),
            answer_ttl: Some(3600),
            ..Dns::default()
        };
        expected.opcode.set(0);
        for (field, flag) in [
            (&mut expected.authoritative, 0),
            (&mut expected.truncated, 0),
            (&mut expected.recursion_available, 1),
            (&mut expected.authentic_data, 0),
        ] {
            field.set(flag);
        }
        expected.question_count.set(1);
        expected.authority_count.set(0);
        expected.additional_count.set(0);
        expected.answer_data_length.set(4);
        expected.response_time_micros.set(0);
        expected.answer_data.set(b"x.bc", &mut expected.memory);
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
        (47, &[0, 0, 1, 0x40], "NSEC \\# 4 00000140"),
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
    assert_eq!(texts(&found[0]), ["? 0 A 192.0.2.9", "a.bc 3600 CNAME \\# 2 c032", "a.bc 3600 A 192.0.2.1"]);
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
fn a_stream_goes_on_after_a_long_message() {
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
    let found = flow.finish();
    assert_eq!(found.len(), 2);
    // The one record of the first is longer than what is looked at.
    assert_eq!((found[0].response_code, texts(&found[0])), (Some(0), vec![]));
    assert_eq!(found[1].response_code, None);
}

/// Data in presentation form, of records from the documents that define them.
#[test]
fn published_records() {
    // RFC 4034 section 2.3, and section 5.4, a DS for it.
    let key = "AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8nokfzj31GajIQKY+5CptLr3buXA10hWqTkF7H6RfoRqXQeogmMHfpftf6z\
               Mv1LyBUgia7za6ZEzOJBOztyvhjL742iU/TpPSEDhm2SNKLijfUppn1UaNvv4w==";
    let mut dnskey = vec![1, 0, 3, 5]; // zone key, protocol 3, RSA/SHA-1
    dnskey.extend(from_base64(key));
    let digest = b"\x2b\xb1\x83\xaf\x5f\x22\x58\x81\x79\xa5\x3b\x0a\x98\x63\x1f\xad\x1a\x29\x21\x18";
    let ds = [&[0xec, 0x45, 5, 1][..], digest].concat();
    // RFC 9460 appendix D.
    let foo = b"\x03foo\x07example\x03com\x00";
    let org = b"\x03foo\x07example\x03org\x00";
    let hints = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\x53\0\x01";
    let sorted = b"\0\x10\x03foo\x07example\x03org\x00\0\0\0\x04\0\x01\0\x04\0\x01\0\x09\x02h2\x05h3-19\0\x04\0\x04\xc0\0\x02\x01";
    let cases: &[(u16, Vec<u8>, String)] = &[
        (48, dnskey, format!("DNSKEY 256 3 5 {key}")),
        (43, ds.clone(), "DS 60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118".into()),
        (59, ds, "CDS 60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118".into()),
        (65, [&[0, 0][..], foo].concat(), "HTTPS 0 foo.example.com".into()),
        (64, vec![0, 1, 0], "SVCB 1 .".into()),
        (64, [&[0, 16][..], foo, b"\0\x03\0\x02\0\x35"].concat(), "SVCB 16 foo.example.com port=53".into()),
        (64, [&[0, 1][..], foo, b"\x02\x9b\0\x05hello"].concat(), "SVCB 1 foo.example.com key667=hello".into()),
        (
            64,
            [&[0, 1][..], foo, b"\x02\x9b\0\x09hello\xd2qoo"].concat(),
            "SVCB 1 foo.example.com key667=hello\\210qoo".into(),
        ),
        (
            64,
            [&[0, 1][..], foo, b"\0\x06\0\x20", hints].concat(),
            "SVCB 1 foo.example.com ipv6hint=2001:db8::1,2001:db8::53:1".into(),
        ),
        (
            64,
            sorted.to_vec(),
            "SVCB 16 foo.example.org mandatory=alpn,ipv4hint alpn=h2,h3-19 ipv4hint=192.0.2.1".into(),
        ),
        (
            64,
            [&[0, 16][..], org, b"\0\x01\0\x0c\x08f\\oo,bar\x02h2"].concat(),
            "SVCB 16 foo.example.org alpn=f\\092oo\\044bar,h2".into(),
        ),
        // As browsers meet it: no default, encrypted hello.
        (65, b"\0\x01\0\0\x02\0\0\0\x05\0\x02\xfe\x0d".to_vec(), "HTTPS 1 . no-default-alpn ech=/g0=".into()),
        // RFC 8659 section 4, RFC 7553 section 4.
        (257, b"\0\x05issueca1.example.net".to_vec(), "CAA 0 issue \"ca1.example.net\"".into()),
        (
            256,
            b"\0\x0a\0\x01ftp://ftp1.example.com/public".to_vec(),
            "URI 10 1 \"ftp://ftp1.example.com/public\"".into(),
        ),
        // RFC 4255 section 3.2, RFC 6698 section 2.3, RFC 3403 section 6.
        (44, b"\x02\x01\x12\x34".to_vec(), "SSHFP 2 1 1234".into()),
        (52, b"\0\0\x01\xd2\xab".to_vec(), "TLSA 0 0 1 d2ab".into()),
        (35, b"\0\x64\0\x0a\x01U\x07E2U+sip\x05!^.*$\0".to_vec(), "NAPTR 100 10 \"U\" \"E2U+sip\" \"!^.*$\" .".into()),
        // RFC 4034 section 3.3: times in seconds.
        (
            46,
            b"\0\x01\x05\x03\0\x01\x51\x80\x3e\x80\0\0\x3e\x7f\0\0\x0a\x52\xc0\x0c\xf8".to_vec(),
            "RRSIG A 5 3 86400 1048576000 1048510464 2642 a.bc +A==".into(),
        ),
        (13, b"\x03PDP\x00".to_vec(), "HINFO \"PDP\" \"\"".into()),
    ];
    for (kind, data, text) in cases {
        let mut message = response(1);
        message.extend(record(*kind, data));
        assert_eq!(texts(&datagrams(53, &[&message])[0]), [format!("a.bc 3600 {text}")]);
    }
}

/// Octets of base64, for the fixture above.
fn from_base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bits: Vec<_> = text.bytes().filter(|b| *b != b'=').map(digit).collect();
    let octets = bits.chunks(4).flat_map(|c| {
        let joined = c.iter().fold(0_u32, |all, bits| all << 6 | u32::from(*bits)) << (6 * (4 - c.len()));
        joined.to_be_bytes()[1..c.len()].to_vec()
    });
    octets.collect()
}

#[test]
fn parameters_that_lie_leave_the_record_in_generic_form() {
    // A length beyond the record, a name of a protocol beyond its value, a port of three octets, half an address.
    let cases: [&[u8]; 4] =
        [b"\0\x03\0\x09\0\x35", b"\0\x01\0\x02\x02h", b"\0\x03\0\x03\0\x35\0", b"\0\x04\0\x02\xc0\0"];
    for parameters in cases {
        let mut message = response(2);
        message.extend(record(65, &[&[0, 1, 0][..], parameters].concat()));
        message.extend(record(1, &[192, 0, 2, 1]));
        let found = texts(&datagrams(53, &[&message])[0]);
        assert!(found[0].starts_with("a.bc 3600 HTTPS \\# "), "{found:?}");
        assert_eq!(found[1], "a.bc 3600 A 192.0.2.1");
    }
}

/// The record of EDNS with these options.
fn opt(udp_size: u16, upper_code: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 41]; // root, OPT
    record.extend(udp_size.to_be_bytes());
    record.extend([upper_code, 0]); // upper bits of the response code, version
    record.extend(flags.to_be_bytes());
    record.extend((options.len() as u16).to_be_bytes());
    record.extend(options);
    record
}

/// A message with one more additional record.
fn with_additional(mut message: Vec<u8>, record: &[u8]) -> Vec<u8> {
    message[11] += 1;
    message.extend(record);
    message
}

#[test]
fn edns_of_query_and_response() {
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]; // IPv4, 24 bits, no scope, three octets
    let query = with_additional(QUERY.to_vec(), &opt(1232, 0, 0x8000, &subnet));
    let mut message = response(0);
    message[3] = 0x87; // refused
    let scoped = [0, 8, 0, 7, 0, 1, 24, 20, 192, 0, 2];
    let error = [0, 15, 0, 6, 0, 18, b'n', b'o', b'n', b'e']; // prohibited
    let message = with_additional(message, &record(1, &[192, 0, 2, 77]));
    let message = with_additional(message, &opt(4096, 1, 0, &[&scoped[..], &error].concat()));
    let found = &datagrams(53, &[&query, &message])[0];
    assert_eq!((found.edns_udp_size, found.edns_dnssec_ok.get()), (Some(1232), Some(1)));
    assert_eq!(found.client_subnet.as_bytes(&found.memory), b"192.0.2.0/24");
    assert_eq!(found.client_subnet_scope.get(), Some(20));
    assert_eq!((found.response_code, found.extended_response_code), (Some(7), Some(0x17)));
    assert_eq!(found.extended_error, Some(18));
    assert_eq!((found.question_count.get(), found.additional_count.get()), (Some(1), Some(2)));
    // What is not in the answer section is no answer.
    assert_eq!(found.answer_ipv4.iter(&found.memory).count(), 0);
    // Alone, the response says what it takes.
    let found = &datagrams(53, &[&message])[0];
    assert_eq!((found.edns_udp_size, found.edns_dnssec_ok.get()), (Some(4096), Some(0)));
    assert_eq!(found.client_subnet.as_bytes(&found.memory), b"192.0.2.0/24");
}

#[test]
fn odd_options_do_not_hide_those_behind_them() {
    let subnet = |option: &[u8]| {
        let error = [0, 15, 0, 2, 0, 3]; // stale answer
        let option = [&[0, 8, 0, option.len() as u8][..], option, &error].concat();
        let found = datagrams(53, &[&with_additional(response(0), &opt(512, 0, 0, &option))]).remove(0);
        assert_eq!(found.extended_error, Some(3), "{option:?}");
        String::from_utf8(found.client_subnet.as_bytes(&found.memory).to_vec()).unwrap()
    };
    assert_eq!(subnet(&[0, 2, 56, 0, 0x20, 1, 0x0d, 0xb8, 0, 1, 2]), "2001:db8:1:200::/56");
    assert_eq!(subnet(&[0, 1, 0, 0]), "0.0.0.0/0");
    // More octets than the prefix needs.
    assert_eq!(subnet(&[0, 1, 9, 0, 10, 128, 1, 2]), "10.128.0.0/9");
    // An unknown family, too many bits, too few octets, none.
    for odd in [&[0, 3, 0, 0][..], &[0, 1, 33, 0, 1, 2, 3, 4, 5], &[0, 2, 24, 0, 1, 2], &[0, 1]] {
        assert_eq!(subnet(odd), "", "{odd:?}");
    }
    // An option that claims more than there is.
    let lying = with_additional(response(0), &opt(512, 0, 0, &[0, 15, 0, 9, 0, 3]));
    assert_eq!(datagrams(53, &[&lying])[0].extended_error, None);
}

#[test]
fn flags_one_by_one() {
    let mut message = response(0);
    message[2..4].copy_from_slice(&[0x97, 0x20]); // response, inverse query, all of AA, TC, RD, not RA, AD
    message[2] = 0xa7; // notify
    message[8..10].copy_from_slice(&[0, 3]); // claims three authority records
    let found = &datagrams(53, &[&message])[0];
    assert_eq!((found.flags, found.opcode.get()), (Some(0xa720), Some(4)));
    let flags = [found.authoritative, found.truncated, found.recursion_available, found.authentic_data];
    assert_eq!(flags.map(Compact::<u8>::get), [Some(1), Some(1), Some(0), Some(1)]);
    assert_eq!(found.authority_count.get(), Some(3));
    // A query has none of them.
    let found = &datagrams(53, &[QUERY])[0];
    assert_eq!((found.flags, found.truncated.get(), found.answer_count), (Some(0x0100), None, None));
}

#[test]
fn the_response_time_is_that_of_the_first_query_and_the_first_response() {
    let mut flow = Flow::new(53, Transport::Datagram);
    flow.feed_at(1_000, Direction::Forward, QUERY);
    flow.feed_at(6_000, Direction::Forward, QUERY);
    flow.feed_at(6_250, Direction::Reverse, &response(0));
    flow.feed_at(9_000, Direction::Reverse, &response(0));
    let found = flow.finish();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].response_time_micros.get(), found[0].repeated_queries.get()), (Some(5_250), Some(1)));
    // A response that was not asked for took no time.
    assert_eq!(datagrams(53, &[&response(0)])[0].response_time_micros.get(), None);
    // Time that goes back is none.
    let mut flow = Flow::new(53, Transport::Datagram);
    flow.feed_at(1_000, Direction::Forward, QUERY);
    flow.feed_at(900, Direction::Reverse, &response(0));
    assert_eq!(flow.finish()[0].response_time_micros.get(), Some(0));
}

#[test]
fn what_multicast_dns_adds_is_told() {
    // Authoritative, one answer, three records more: a service's instance, where it is, at which address.
    let mut response = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 4];
    response.extend(b"\x04_ipp\x04_tcp\x05local\0");
    response.extend([0, 12, 0, 1, 0, 0, 17, 148, 0, 5, 2, b'P', b'r', 0xc0, 12]); // PTR: Pr._ipp._tcp.local
    response.extend([0xc0, 39, 0, 33, 0x80, 1, 0, 0, 0, 120, 0, 10]); // SRV of Pr
    response.extend([0, 0, 0, 0, 2, 119, 1, b'h', 0xc0, 22]); // h.local, port 631
    response.extend([0xc0, 39, 0, 16, 0x80, 1, 0, 0, 17, 148, 0, 4, 3, b'a', b'=', b'b']); // TXT of Pr
    response.extend([0xc0, 62, 0, 47, 0x80, 1, 0, 0, 0, 120, 0, 5, 0xc0, 62, 0, 1, 0x40]); // NSEC: there is no more of h
    response.extend([0xc0, 62, 0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 0, 2, 1]); // A of h
    let told = |port| {
        let found = datagrams(port, &[&response]);
        let additional = found[0].additional.iter(&found[0].memory);
        (additional.map(|text| String::from_utf8(text.to_vec()).unwrap()).collect::<Vec<_>>(), texts(&found[0]))
    };
    let (additional, answers) = told(5353);
    assert_eq!(answers, ["_ipp._tcp.local 4500 PTR Pr._ipp._tcp.local"]);
    let expected = [
        "Pr._ipp._tcp.local 120 SRV 0 0 631 h.local",
        "Pr._ipp._tcp.local 4500 TXT \"a=b\"",
        "h.local 120 A 192.0.2.1",
    ];
    assert_eq!(additional, expected);
    // Of other DNS they are addresses of servers, mostly.
    assert_eq!(told(53).0, [""; 0]);
}

#[test]
fn ports_tell_multicast_dns_and_llmnr_from_the_rest() {
    let mut query = QUERY.to_vec();
    query[2] = 0; // no recursion
    for (port, variant) in
        [(53, Variant::Unicast), (5353, Variant::Mdns), (5355, Variant::Llmnr), (5300, Variant::Unicast)]
    {
        assert_eq!(datagrams(port, &[&query])[0].variant, variant, "{port}");
    }
    // Somebody's recursive resolver on port 5353.
    assert_eq!(datagrams(5353, &[QUERY])[0].variant, Variant::Unicast);
}

#[test]
fn an_announcement_is_no_answer_to_ones_own_question() {
    let mut query = QUERY.to_vec();
    query[..4].copy_from_slice(&[0; 4]); // of multicast DNS: no identifier, no flags
    let len = query.len();
    query[len - 2] = 0x80; // a unicast response will do
    let mut announcement = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]; // authoritative, no question, one answer
    announcement.extend([1, b'h', 5, b'l', b'o', b'c', b'a', b'l', 0]); // h.local
    announcement.extend([0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 0, 2, 1]); // A, IN, flush, 120 s
    let mut flow = Flow::new(5353, Transport::Datagram);
    flow.feed(Direction::Forward, &query);
    flow.feed(Direction::Forward, &announcement);
    flow.feed(Direction::Forward, &query);
    flow.feed(Direction::Reverse, &announcement);
    flow.feed(Direction::Reverse, &announcement);
    let found = flow.finish();
    assert_eq!(found.len(), 4);
    assert_eq!((found[0].query_class, found[0].response_code), (Some(1), None));
    assert_eq!((found[1].query_type, texts(&found[1])), (None, vec!["h.local 120 A 192.0.2.1".into()]));
    assert_eq!((found[2].query_type, texts(&found[2])), (Some(1), vec!["h.local 120 A 192.0.2.1".into()]));
    assert_eq!(found[3].query_type, None);
}

/// A query and its answer, of this identifier.
fn exchange(id: u8) -> [Vec<u8>; 2] {
    let mut messages = [QUERY.to_vec(), response(1)];
    messages[1].extend(record(1, &[192, 0, 2, id]));
    messages.map(|mut message| {
        message[1] = id;
        framed(&message)
    })
}

#[test]
fn a_stream_goes_on_with_the_next_message_behind_missing_octets() {
    let mut after = exchange(1)[1][20..].to_vec(); // the rest of an answer
    after.extend(exchange(2)[1].iter().chain(&exchange(3)[1]));
    for cut in 0..=after.len() {
        let mut flow = Flow::new(53, Transport::Stream);
        for id in 1..=3 {
            flow.feed(Direction::Forward, &exchange(id)[0]);
        }
        flow.feed(Direction::Reverse, &exchange(1)[1][..9]);
        flow.session.gap(Direction::Reverse, 11, &mut flow.pools);
        for piece in [&after[..cut], &after[cut..]] {
            if !piece.is_empty() {
                flow.feed(Direction::Reverse, piece);
            }
        }
        let mut found: Vec<_> = flow.finish().iter().map(|d| (d.transaction_id, d.response_code)).collect();
        found.sort();
        assert_eq!(found, [(Some(0x1201), None), (Some(0x1202), Some(0)), (Some(0x1203), Some(0))], "cut at {cut}");
    }
}

#[test]
fn what_is_no_whole_message_is_not_found_behind_missing_octets() {
    let whole = exchange(2)[1].clone();
    let end = whole.len() - 1;
    let damaged = |at: usize, value: u8| {
        let mut octets = whole.clone();
        octets[at] = value;
        octets
    };
    for octets in [
        damaged(1, whole[1] - 1), // shorter by one
        damaged(1, whole[1] + 1), // longer by one, and what follows does not fit
        damaged(4, 0xc8),         // an operation that does not exist
        damaged(5, 0x40),         // a reserved bit
        damaged(7, 2),            // two questions
        damaged(9, 2),            // two answers
        damaged(14, 9),           // a label that is longer
        damaged(15, 7),           // a name with an octet that cannot be seen
        damaged(end - 4, 3),      // data of three octets
    ] {
        let mut flow = Flow::new(53, Transport::Stream);
        flow.feed(Direction::Forward, &exchange(1)[0]);
        flow.session.gap(Direction::Reverse, 1, &mut flow.pools);
        flow.feed(Direction::Reverse, &octets);
        flow.feed(Direction::Reverse, &[0xff; 60]);
        let found: Vec<_> = flow.finish().iter().map(|d| (d.transaction_id, d.response_code)).collect();
        assert_eq!(found, [(Some(0x1201), None)], "{octets:x?}");
    }
}

#[test]
fn a_direction_without_another_message_is_given_up_and_the_other_goes_on() {
    // By octets, and by what begins like a message.
    let mistake = [&[0, 40][..], &QUERY[..12], &[0; 28]].concat();
    for (octets, times) in [(vec![0xff; 0x8000], 2), (mistake, 8)] {
        let mut flow = Flow::new(53, Transport::Stream);
        flow.feed(Direction::Forward, &framed(QUERY));
        flow.session.gap(Direction::Reverse, 1, &mut flow.pools);
        for _ in 0..times {
            assert!(!flow.session.skips(Direction::Reverse, u32::MAX));
            assert_eq!(flow.feed(Direction::Reverse, &octets), Feed::More);
        }
        assert!(flow.session.skips(Direction::Reverse, u32::MAX));
        flow.feed(Direction::Forward, &exchange(9)[0]);
        flow.session.gap(Direction::Forward, 1, &mut flow.pools);
        for _ in 0..times {
            flow.feed(Direction::Forward, &octets);
        }
        assert!(flow.session.is_done());
        let found: Vec<_> = flow.finish().iter().map(|d| (d.transaction_id, d.response_code)).collect();
        assert_eq!(found, [(Some(0x1234), None), (Some(0x1209), None)]);
    }
}

#[test]
fn a_space_does_not_end_a_name_in_a_record() {
    let mut query = QUERY.to_vec();
    query.splice(12..18, *b"\x02a \0"); // the label "a "
    let mut response = query.clone();
    response[2..4].copy_from_slice(&[0x81, 0x80]);
    response[7] = 2;
    response.extend(record(5, &[3, b' ', b'6', b'0', 0xc0, 12])); // to " 60.a "
    response.extend([1, b' ', 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1]); // " " is 192.0.2.1
    let found = datagrams(53, &[&query, &response]);
    assert_eq!(found[0].query_name.as_bytes(&found[0].memory), b"a ");
    assert_eq!(texts(&found[0]), ["a\\032 3600 CNAME \\03260.a\\032", "\\032 1 A 192.0.2.1"]);
}

#[test]
fn several_messages_in_one_segment() {
    let mut second = QUERY.to_vec();
    second[1] = 0x35;
    let mut other = response(1);
    other[1] = 0x35;
    other.extend(record(1, &[192, 0, 2, 5]));
    let mut flow = Flow::new(4000, Transport::Stream);
    flow.feed(Direction::Forward, &[framed(QUERY), framed(&second)].concat());
    flow.feed(Direction::Reverse, &[framed(&other), framed(&response(0))].concat());
    let found = flow.finish();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].transaction_id, texts(&found[0])), (Some(0x1235), vec!["a.bc 3600 A 192.0.2.5".into()]));
    assert_eq!((found[1].transaction_id, found[1].response_code), (Some(0x1234), Some(0)));
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
    fn addresses_look_as_in_the_standard_library(groups in prop::array::uniform8(prop::sample::select(vec![0_u16, 0, 0, 1, 0x00ab, 0x0cde, 0xffff]))) {
        let address = std::net::Ipv6Addr::from(groups);
        let mut text = Vec::new();
        super::rdata::write_ipv6(address.octets(), &mut text);
        prop_assert_eq!(String::from_utf8(text).unwrap(), address.to_string());
    }

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
                dns_parser::RData::A(a) => ipv4.push(a.0.octets()),
                dns_parser::RData::AAAA(a) => ipv6.push(a.0.octets()),
                _ => {}
            }
        }
        prop_assert_eq!(ours.answer_ipv4.iter(&ours.memory).collect::<Vec<_>>(), ipv4);
        prop_assert_eq!(ours.answer_ipv6.iter(&ours.memory).collect::<Vec<_>>(), ipv6);
    }
}
