// SPDX-License-Identifier: MIT OR Apache-2.0
use weir_flow::app::{Fields, Sip};

use super::{
    MAX_HEAD, Parser, Scratch, first_value,
    head::{Methods, Shape, has_tag, shape, user},
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
    assert_eq!(sip.method.as_bytes(&sip.memory), b"INVITE");
    assert_eq!(sip.message_type, Some(1));
    assert_eq!(sip.request_uri.as_bytes(&sip.memory), b"sip:b@example.org;p=1");
    assert_eq!(sip.status_code.iter(&sip.memory).collect::<Vec<_>>(), [100, 200]);
    let from: Vec<_> = sip.from.iter(&sip.memory).collect();
    assert_eq!(from, [&b"\"A, <x>\" <sip:a@example.org;p=1>;tag=1"[..], b"<sip:a@example.org>;tag=1"]);
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
    let methods: Vec<_> = found.iter().map(|s| s.method.as_bytes(&s.memory)).collect();
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
    assert_eq!(found[0].from.iter(&found[0].memory).count(), 0);
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
    for (message, methods) in messages.into_iter().flat_map(|m| [(m, Methods::Usual), (m, Methods::Any)]) {
        let mut told = Shape::More;
        for end in 1..=message.len() {
            let now = shape(&message[..end], false, methods);
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

const SESSION: &str = "v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.10/127\nt=0 0\nm=audio 49170/2 RTP/AVP 0 18 97 101\n\
    a=rtpmap:97 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=fmtp:97 x\nm=video 0 RTP/AVP 31\nm=video 49180 UDP/TLS/RTP/SAVPF 96\n\
    c=IN IP6 2001:db8::7\na=rtpmap:96 VP8/90000\na=rtpmap:\na=rtpmap:1\nm=image 49190 udptl t38\nm=audio\nc=IN IP4 media.example\n";

fn with_body(kind: &str, body: &str) -> String {
    let head = INVITE.split("Content-Length").next().unwrap();
    format!("{head}c: {kind}\nContent-Length: {}\n\n{body}", crlf(body).len())
}

fn assert_session(sip: &Sip) {
    let codecs: Vec<_> = sip.codec.iter(&sip.memory).collect();
    assert_eq!(codecs, [&b"PCMU"[..], b"G729", b"opus", b"telephone-event", b"VP8"]);
    assert_eq!(sip.media_ipv4.iter(&sip.memory).collect::<Vec<_>>(), [[192, 0, 2, 10]]);
    let ipv6: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    assert_eq!(sip.media_ipv6.iter(&sip.memory).collect::<Vec<_>>(), [ipv6.octets()]);
    assert_eq!(sip.audio_port.iter(&sip.memory).collect::<Vec<_>>(), [49170]);
    assert_eq!(sip.video_port.iter(&sip.memory).collect::<Vec<_>>(), [49180]);
    assert_eq!(sip.media_port.iter(&sip.memory).collect::<Vec<_>>(), [49190]);
}

#[test]
fn sessions_are_read() {
    assert_session(&datagrams(&[&with_body("application/sdp", SESSION)])[0]);
    let parts = format!(
        "--b\nContent-Type: text/plain\n\nm=audio 1 RTP/AVP 3\n--b\nContent-Type: application/SDP\n\n{SESSION}--b\nm=audio 2 RTP/AVP 3\n"
    );
    assert_session(&datagrams(&[&with_body("multipart/mixed;boundary=b", &parts)])[0]);
    // Offer and answer, of which the second says one thing more, and is on hold.
    let answer =
        OK.replace("l: 0\n\n", "Content-Type: application/sdp\n\nc=IN IP4 0.0.0.0\nm=audio 5004 RTP/AVP 8 0\n");
    let found = datagrams(&[&with_body("application/sdp", SESSION), &answer]);
    assert_eq!(found[0].audio_port.iter(&found[0].memory).collect::<Vec<_>>(), [49170, 5004]);
    assert_eq!(found[0].codec.iter(&found[0].memory).last(), Some(&b"PCMA"[..]));
    // Other bodies are none, nor is what is behind the body.
    assert_eq!(datagrams(&[&with_body("text/plain", SESSION)])[0].audio_port.iter(&Default::default()).count(), 0);
    let short = with_body("application/sdp", SESSION).replace("Content-Length: ", "Content-Length: 1\nX: ");
    assert_eq!(datagrams(&[&short])[0].audio_port.iter(&Default::default()).count(), 0);
}

#[test]
fn a_body_that_comes_in_pieces_is_read_by_lines() {
    let message = crlf(&with_body("application/sdp", SESSION));
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(8));
    let (mut at, mut end) = (0, 0);
    while at < message.len() {
        let step =
            parser.parse(input(&message[at..end], Transport::Stream), &mut transactions, &mut Scratch::default());
        match step {
            Step::More => end += 1,
            Step::Consumed(read) => at += read,
            other => panic!("{other:?}"),
        }
        end = end.max(at + 1).min(message.len());
    }
    assert_session(&finish(transactions)[0]);
}

#[test]
fn a_body_that_is_too_long_is_passed_over() {
    let (mut parser, mut transactions) = (Parser::default(), Transactions::new(8));
    let message = crlf(&with_body("application/sdp", SESSION).replace("Content-Length: ", "Content-Length: 99"));
    let head = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let step = parser.parse(input(&message, Transport::Stream), &mut transactions, &mut Scratch::default());
    let Step::Skip(skipped) = step else { panic!("{step:?}") };
    assert!(skipped > 90_000 + head as u64 - 2000);
}

#[test]
fn user_names_of_credentials() {
    for (credentials, expected) in [
        (r#"Digest username="bob", realm="r", response="secret""#, "bob"),
        (r#"Digest realm="a, username=\"x\"",username="o\"b",nonce="n""#, r#"o\"b"#),
        ("Digest realm=r, UserName = bob ,uri=x", "bob"),
        (r#"Digest usernames="a", response="username=b""#, ""),
        ("Basic dXNlcm5hbWU6cHc=", ""),
        ("username=x", ""),
        (r#"Digest username="unclosed, response="x""#, "unclosed, response="),
        (r#"Digest username="unclosed, response=x"#, ""),
        ("Digest username=bob response=x", "bob"),
        ("", ""),
    ] {
        let found = user(credentials.as_bytes());
        assert_eq!(found.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string(), "{credentials}");
    }
    let register = "REGISTER sip:x SIP/2.0\nProxy-Authorization: Digest username=\"p\"\nAuthorization: Digest\n username=\"a\",\n response=\"secret\"\n\n";
    let found = datagrams(&[register]);
    assert_eq!(found[0].auth_user.as_bytes(&found[0].memory), b"a");
    assert!(!found[0].memory.as_bytes().windows(6).any(|w| w == b"secret"));
}

#[test]
fn tags_of_addresses() {
    for (value, expected) in [
        ("<sip:a@h>;tag=1", true),
        ("sip:a@h ; x=y; TAG = 1", true),
        ("<sip:a@h;tag=1>", false),
        ("\";tag=1\" <sip:a@h>", false),
        ("<sip:a@h>;tagged=1", false),
        ("", false),
    ] {
        assert_eq!(has_tag(value.as_bytes()), expected, "{value}");
    }
}

/// The transactions of messages at these times in microseconds, each closed when the next one stirs.
fn timed(messages: &[(u64, &str)]) -> Vec<Sip> {
    use weir_flow::{Timestamp, app::AppRef};
    let (mut session, mut pools, mut found) =
        (crate::app::Session::default(), crate::app::Pools::default(), Vec::new());
    let mut close = |fields: AppRef<'_>, _| {
        if let AppRef::Sip(sip) = fields {
            found.push(sip.clone());
        }
    };
    for &(micros, message) in messages {
        let message = crlf(message);
        session.feed(input(&message, Transport::Datagram), Timestamp::from_micros(micros), &mut pools);
        session.settle(&mut pools, &mut close);
    }
    session.finish(&mut pools, &mut close);
    found
}

#[test]
fn a_call_has_its_times_in_the_records_of_invite_and_bye() {
    let ringing = TRYING.replace("100 Trying", "180 Ringing");
    let ack = INVITE.replace("INVITE", "ACK");
    let again =
        INVITE.replace("1   INVITE", "2 INVITE").replace("To: <sip:b@example.org>", "To: <sip:b@example.org>;tag=2");
    let refused = OK.replace("200 OK", "488 No").replace("1 INVITE", "2 INVITE");
    let bye = INVITE.replace("1   INVITE", "3 BYE").replace("INVITE", "BYE");
    let bye_ok = OK.replace("1 INVITE", "3 BYE");
    let found = timed(&[
        (1_000_000, INVITE),
        (1_000_700, TRYING),
        (1_500_000, &ringing),
        (1_600_000, &ringing),
        (4_000_000, OK),
        (4_100_000, OK),
        (4_200_000, &ack),
        (5_000_000, &again),
        (5_100_000, &refused),
        (9_000_000, &bye),
        (9_000_050, &bye_ok),
    ]);
    let times: Vec<_> = found
        .iter()
        .map(|s| {
            let method = String::from_utf8_lossy(s.method.as_bytes(&s.memory)).into_owned();
            let times = [s.time_to_ring, s.time_to_answer, s.time_to_end, s.call_duration].map(|time| time.get());
            (method, s.message_type, s.response_time.get(), times)
        })
        .collect();
    let expected = [
        ("INVITE".to_owned(), Some(1), Some(700), [Some(500_000), Some(3_000_000), None, None]),
        ("ACK".to_owned(), Some(2), None, [None; 4]),
        ("INVITE".to_owned(), Some(1), Some(100_000), [None; 4]),
        ("BYE".to_owned(), Some(4), Some(50), [None, None, Some(8_000_000), Some(5_000_000)]),
    ];
    assert_eq!(times, expected);
}

#[test]
fn a_call_that_asks_for_credentials_begins_with_the_first_request() {
    let challenge = OK.replace("200 OK", "407 Proxy Authentication Required");
    let with_credentials = INVITE.replace("1   INVITE", "2 INVITE");
    let ok = OK.replace("1 INVITE", "2 INVITE");
    let bye = INVITE.replace("1   INVITE", "3 BYE").replace("INVITE", "BYE");
    let found = timed(&[(0, INVITE), (10, &challenge), (1000, &with_credentials), (3000, &ok), (7000, &bye)]);
    assert_eq!(found[1].time_to_answer.get(), Some(2000));
    assert_eq!((found[2].time_to_end.get(), found[2].call_duration.get()), (Some(7000), Some(4000)));
    // A call that failed is over: another BYE of that Call-ID ends nothing.
    let failed = OK.replace("200 OK", "486 Busy Here");
    let found = timed(&[(0, INVITE), (10, &failed), (7000, &bye)]);
    assert_eq!((found[0].time_to_answer.get(), found[1].time_to_end.get()), (None, None));
    // Without its request, a response tells no time.
    let found = timed(&[(0, OK), (10, &bye)]);
    assert_eq!(
        (found[0].message_type, found[0].response_time.get(), found[0].time_to_answer.get()),
        (Some(99), None, None)
    );
    assert_eq!(found[1].time_to_end.get(), None);
}

#[test]
fn methods_and_versions_in_any_writing() {
    // RFC 4475 section 3.1.1.2.
    let message = "!interesting-Method0123456789_*+`.%indeed'~ sip:a@example.com SIP/2.0\nCall-ID: 1\nCSeq: 1 x\n\n";
    let found = datagrams(&[message, "options sip:a@example.com sip/2.0\nCall-ID: 2\n\n"]);
    assert_eq!(found[0].method.as_bytes(&found[0].memory), b"!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!((found[0].message_type, found[1].method.as_bytes(&found[1].memory)), (None, &b"options"[..]));
    let stream = Parser::probe(input(b"options sip:a@example.com SIP/2.0\r\n", Transport::Stream));
    assert_eq!(stream, Probe::No);
    let datagram = Parser::probe(input(b"options sip:a@example.com HTTP/1.1\r\n", Transport::Datagram));
    assert_eq!(datagram, Probe::No);
}
