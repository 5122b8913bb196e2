// SPDX-License-Identifier: MIT OR Apache-2.0
use weir_flow::app::Http;

use super::{MAX_HEAD, Parser, authority, shape};
use crate::app::{
    AfterGap, Direction,
    Direction::{Forward, Reverse},
    Input, Parser as _, Probe, Step, Transactions, Transport,
    http::head::Shape,
};

struct Connection {
    parser: Parser,
    transactions: Transactions<Http>,
}

impl Connection {
    fn new() -> Self {
        Self { parser: Parser::default(), transactions: Transactions::new(Parser::IDENTITY.max_open) }
    }

    fn step(&mut self, direction: Direction, bytes: &[u8]) -> Step {
        self.parser.parse(input(direction, bytes), &mut self.transactions, &mut ())
    }

    /// Reads all; what is skipped within the octets is passed over.
    fn all(&mut self, direction: Direction, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let read = match self.step(direction, bytes) {
                Step::Consumed(read) => read,
                Step::Skip(octets) => usize::try_from(octets).unwrap(),
                other => panic!("{other:?} at {}", bytes.escape_ascii()),
            };
            assert!(read > 0);
            bytes = bytes.get(read..).unwrap_or_default();
        }
    }

    fn finish(mut self) -> Vec<Http> {
        let mut found = Vec::new();
        self.transactions.finish(|closed| found.push(closed.fields.clone()));
        found
    }
}

fn input(direction: Direction, bytes: &[u8]) -> Input<'_> {
    Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false }
}

fn targets(found: &[Http]) -> Vec<(&str, Option<u16>)> {
    found.iter().map(|h| (str::from_utf8(h.request_target.as_bytes(&h.memory)).unwrap(), h.status_code)).collect()
}

#[test]
fn content_decides() {
    let probe = |bytes: &[u8]| Parser::probe(input(Forward, bytes));
    assert_eq!(probe(b"GET / HTTP/1.1\r\n"), Probe::Yes);
    assert_eq!(probe(b"QUERY /x HTTP/1.1\r\n"), Probe::Yes);
    assert_eq!(probe(b"HTTP/1.0 200"), Probe::Yes);
    assert_eq!(probe(b"GET /very/long"), Probe::More);
    assert_eq!(probe(b"HTTP/1"), Probe::More);
    assert_eq!(probe(b"OPTIONS sip:x SIP/2.0\r\n"), Probe::No);
    assert_eq!(probe(b"OPTIONS rtsp://x RTSP/1.0\r\n"), Probe::No);
    assert_eq!(probe(b"PRI * HTTP/2.0\r\n"), Probe::No);
    assert_eq!(probe(b"HTTP/2 200 OK"), Probe::No);
    assert_eq!(probe(b"220 ftp\r\n"), Probe::No);
    assert_eq!(probe(&[0x16, 3, 1]), Probe::No);
    let mut long = b"GET /".to_vec();
    long.resize(600, b'a');
    assert_eq!(probe(&long), Probe::Yes);
    long.splice(..3, *b"XYZ");
    assert_eq!(probe(&long), Probe::No);
}

#[test]
fn all_fields_of_a_transaction() {
    let mut c = Connection::new();
    c.all(Forward, b"POST /x?y HTTP/1.1\r\nhost: h.example:80\r\nHost: other\r\nUser-Agent:  ua \r\nReferer: r\r\nContent-Length: 4\r\n\r\nGET ");
    c.all(
        Reverse,
        b"HTTP/1.0 404 Nicht  gew\xc3\xa4hlt\r\nContent-Type: text/html; charset=x\r\nServer: s\r\nContent-Length: 0\r\n\r\n",
    );
    let found = c.finish();
    let [h] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(h.request_method.as_bytes(), b"POST");
    assert_eq!(h.request_target.as_bytes(&h.memory), b"/x?y");
    assert_eq!(h.request_host.as_bytes(&h.memory), b"h.example:80");
    assert_eq!(h.message_version.as_bytes(), b"HTTP/1.1");
    assert_eq!(h.user_agent.as_bytes(&h.memory), b"ua");
    assert_eq!(h.referer.as_bytes(&h.memory), b"r");
    assert_eq!(h.status_code, Some(404));
    assert_eq!(h.reason_phrase.as_bytes(&h.memory), b"Nicht  gew\xc3\xa4hlt");
    assert_eq!(h.content_type.as_bytes(&h.memory), b"text/html; charset=x");
    assert_eq!(h.server.as_bytes(&h.memory), b"s");
}

#[test]
fn bodies_that_are_none() {
    let mut c = Connection::new();
    for method in ["HEAD", "GET", "GET", "GET"] {
        c.all(Forward, format!("{method} /{method} HTTP/1.1\r\n\r\n").as_bytes());
    }
    c.all(
        Reverse,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
    );
    c.all(
        Reverse,
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n",
    );
    let statuses: Vec<_> = c.finish().iter().map(|h| h.status_code).collect();
    assert_eq!(statuses, [Some(200), Some(304), Some(204), Some(500)]);
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut c = Connection::new();
    assert_eq!(c.step(Reverse, b"HTTP/1.1 200 OK\r\n\r\nbody"), Step::Skip(u64::MAX));
    assert_eq!(c.finish().len(), 1);
}

#[test]
fn a_chunk_may_be_as_long_as_it_says() {
    let mut c = Connection::new();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
    assert_eq!(c.step(Reverse, head), Step::Consumed(head.len()));
    assert_eq!(c.step(Reverse, b"ffffffffffffffff\r\n"), Step::Skip(u64::MAX));
    assert_eq!(c.step(Reverse, b"10;a=\"b\"\r\nxx"), Step::Skip(10 + 16 + 2));
    assert_eq!(c.step(Reverse, b"1"), Step::More);
    // A size that is none: the next message is found by its shape.
    c.all(Reverse, b"zz\r\nHTTP/1.1 201 x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(targets(&c.finish()), [("", Some(200)), ("", Some(201))]);
}

#[test]
fn after_missing_octets_a_message_is_found_at_the_start_of_a_line() {
    let mut c = Connection::new();
    c.all(Forward, b"GET /1 HTTP/1.1\r\n\r\n");
    assert_eq!(c.parser.gap(Reverse), AfterGap::Resume);
    c.all(Forward, b"GET /2 HTTP/1.1\r\n\r\n");
    c.all(Reverse, b"rest HTTP/1.1 200 OK\r\nof a body\r\nHTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n");
    // The response to the first is lost; the one that came belongs to the second.
    assert_eq!(targets(&c.finish()), [("/1", None), ("/2", Some(404))]);
}

#[test]
fn tls_in_a_tunnel_is_handed_over_and_all_of_an_upgrade() {
    let mut c = Connection::new();
    c.all(Forward, b"CONNECT a:443 HTTP/1.1\r\n\r\n");
    let refused = b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(c.step(Reverse, refused), Step::Consumed(refused.len()));
    c.all(Forward, b"CONNECT a:443 HTTP/1.1\r\n\r\n");
    let granted = b"HTTP/1.1 200 x\r\n\r\n";
    assert_eq!(c.step(Reverse, &[&granted[..], b"\x16\x03"].concat()), Step::Consumed(granted.len()));
    assert_eq!(c.step(Reverse, b"\x16\x03"), Step::Handover(0));
    assert_eq!(c.step(Forward, b"EHLO x\r\n"), Step::Done);
    let mut c = Connection::new();
    c.all(Forward, b"CONNECT a:443 HTTP/1.1\r\n\r\n");
    assert_eq!(c.step(Forward, b"\x16\x03\x01"), Step::Handover(0));
    let switched = b"HTTP/1.1 101 x\r\n\r\n";
    assert_eq!(Connection::new().step(Reverse, switched), Step::Handover(switched.len()));
}

#[test]
fn folded_odd_and_broken_lines_are_read() {
    let mut head = b"GET /a b HTTP/1.1\r\nbroken line\r\nUser-Agent : folded\r\n\tagent\r\n".to_vec();
    for i in 0..200 {
        head.extend_from_slice(format!("X-{i}: \x01\r\n").as_bytes());
    }
    head.extend_from_slice(b"Host: h\r\n\r\n");
    let mut c = Connection::new();
    c.all(Forward, &head);
    let found = c.finish();
    assert_eq!(targets(&found), [("/a b", None)]);
    assert_eq!(found[0].user_agent.as_bytes(&found[0].memory), b"folded agent");
    assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h");
}

#[test]
fn a_head_without_end_is_read_up_to_the_bound() {
    let mut head = b"GET / HTTP/1.1\r\nHost: h\r\nX: ".to_vec();
    head.resize(MAX_HEAD - 1, b'x');
    let mut c = Connection::new();
    assert_eq!(c.step(Forward, &head), Step::More);
    head.extend_from_slice(b"xx\r\nUser-Agent: beyond\r\n\r\nGET /next HTTP/1.1\r\n\r\n");
    c.all(Forward, &head);
    let found = c.finish();
    assert_eq!(targets(&found), [("/", None), ("/next", None)]);
    assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h");
    assert!(found[0].user_agent.is_empty());
}

#[test]
fn a_head_that_was_not_captured_whole_gives_its_whole_lines() {
    let mut c = Connection::new();
    let bytes = b"GET /x HTTP/1.1\r\nHost: h\r\nUser-Agent: trunca";
    let step = c.parser.parse(Input { snapped: true, ..input(Forward, bytes) }, &mut c.transactions, &mut ());
    assert_eq!(step, Step::Consumed(26));
    let found = c.finish();
    assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h");
    assert!(found[0].user_agent.is_empty());
}

#[test]
fn requests_alone_are_bounded() {
    let mut c = Connection::new();
    for _ in 0..100 {
        c.all(Forward, b"GET / HTTP/1.1\r\n\r\n");
        c.transactions.settle(|_| {});
    }
    assert!(c.finish().len() <= Parser::IDENTITY.max_open as usize + 1);
}

#[test]
fn the_host_of_an_absolute_target() {
    assert_eq!(authority(b"http://user:secret@h:81/x?u=http://y"), Some(&b"h:81"[..]));
    assert_eq!(authority(b"/x?u=http://y"), None);
    assert_eq!(authority(b"h:443"), None);
}

#[test]
fn the_shape_of_a_beginning_does_not_change() {
    let messages: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET /a\x0eb HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"GET nothing\r\n",
        b"EHLO x\r\n",
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
