// SPDX-License-Identifier: MIT OR Apache-2.0
use weir_flow::app::Http;

use super::{MAX_HEAD, Parser, Scratch, authority, shape};
use crate::app::{
    AfterGap, Direction,
    Direction::{Forward, Reverse},
    Input, Parser as _, Probe, Step, Transactions, Transport,
    http::head::Shape,
};

struct Connection {
    parser: Parser,
    transactions: Transactions<Http>,
    scratch: Scratch,
}

impl Connection {
    fn new() -> Self {
        let transactions = Transactions::new(Parser::IDENTITY.max_open);
        Self { parser: Parser::default(), transactions, scratch: Scratch::default() }
    }

    fn step(&mut self, direction: Direction, bytes: &[u8]) -> Step {
        self.parser.parse(input(direction, bytes), &mut self.transactions, &mut self.scratch)
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
    assert_eq!(probe(b"PRI * HTTP/2.0\r\n"), Probe::More);
    assert_eq!(probe(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Probe::Yes);
    assert_eq!(probe(b"PRI * HTTP/2.0\r\n\r\nXY\r\n\r\n"), Probe::No);
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
    assert_eq!(h.request_method.as_bytes(&h.memory), b"POST");
    assert_eq!(h.request_target.as_bytes(&h.memory), b"/x?y");
    assert_eq!(h.request_host.as_bytes(&h.memory), b"h.example:80");
    assert_eq!(h.message_version.iter(&h.memory).collect::<Vec<_>>(), [b"HTTP/1.1", b"HTTP/1.0"]);
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
    let granted = b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(c.step(Reverse, &[&granted[..], b"\x16\x03"].concat()), Step::Consumed(granted.len()));
    assert_eq!(c.step(Reverse, b"\x16\x03"), Step::Handover(0));
    assert_eq!((c.step(Forward, b"SS"), c.step(Forward, b"SSH-2.0-x\r\n")), (Step::More, Step::Handover(0)));
    assert_eq!(c.step(Forward, b"EHLO x\r\n"), Step::Done);
    // Without the response, TLS is known nevertheless.
    let mut c = Connection::new();
    c.all(Forward, b"CONNECT a:443 HTTP/1.1\r\n\r\n");
    assert_eq!(c.step(Forward, b"\x16\x03\x01"), Step::Handover(0));
    let switched = b"HTTP/1.1 101 x\r\nUpgrade: TLS/1.0\r\n\r\n";
    assert_eq!(Connection::new().step(Reverse, switched), Step::Handover(switched.len()));
}

#[test]
fn a_websocket_is_named_and_not_read() {
    let mut c = Connection::new();
    c.all(Forward, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(c.step(Reverse, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n\x81\x05"), Step::Done);
    let found = c.finish();
    assert_eq!(found[0].upgrade.as_bytes(&found[0].memory), b"WebSocket");
    assert_eq!(found[0].status_code, Some(101));
}

fn texts<'a>(list: impl Iterator<Item = &'a [u8]>) -> Vec<&'a str> {
    list.map(|text| str::from_utf8(text).unwrap()).collect()
}

#[test]
fn fields_that_are_rare() {
    let mut c = Connection::new();
    c.all(
        Forward,
        b"PUT http://u:p@h.example/x HTTP/1.1\r\nAuthorization: Basic dXNlcjpwdw==\r\nProxy-Authorization: NTLM TlRM\r\n\
          Cookie: a=1; b = 2;secret; =x; c=d=e\r\nX-Forwarded-For: 192.0.2.1\r\nVia: 1.1 one\r\nCookie: f=\r\n\
          x-forwarded-for: 192.0.2.2, 192.0.2.3\r\nContent-Type: text/plain\r\nContent-Length: 2, 2\r\n\r\nab",
    );
    c.all(
        Reverse,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 401 Unauthorized\r\n\
          WWW-Authenticate: Digest realm=\"x\"\r\nSet-Cookie: sid=31d4; Path=/; Secure\r\nSet-Cookie: lang=en\r\n\
          Set-Cookie: nameless\r\nLocation: /y\r\nVia: 1.1 two\r\nContent-Length: 0\r\n\r\n",
    );
    let found = c.finish();
    let [h] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(h.authorization_scheme.as_bytes(&h.memory), b"Basic");
    assert_eq!(texts(h.cookie_names.iter(&h.memory)), ["a", "b", "c", "f"]);
    assert_eq!(h.forwarded_for.as_bytes(&h.memory), b"192.0.2.1, 192.0.2.2, 192.0.2.3");
    assert_eq!(h.via.as_bytes(&h.memory), b"1.1 one");
    assert_eq!(h.request_content_type.as_bytes(&h.memory), b"text/plain");
    assert_eq!((h.request_content_length.get(), h.content_length.get()), (Some(2), Some(0)));
    assert_eq!(h.request_host.as_bytes(&h.memory), b"h.example");
    assert_eq!(h.interim_responses.iter(&h.memory).collect::<Vec<_>>(), [102, 103]);
    assert_eq!(h.challenge_scheme.as_bytes(&h.memory), b"Digest");
    assert_eq!(texts(h.set_cookie_names.iter(&h.memory)), ["sid", "lang"]);
    assert_eq!(h.location.as_bytes(&h.memory), b"/y");
    for secret in ["dXNl", "TlRM", "31d4", "secret", "nameless"] {
        assert!(!format!("{h:?}").contains(secret), "{secret}");
    }
}

#[test]
fn credentials_are_no_scheme() {
    for (value, scheme) in [
        ("Bearer abc", "Bearer"),
        ("c2VjcmV0", ""),
        ("c2Vj+cmV0 x", ""),
        ("AWS4-HMAC-SHA256 Credential=x", "AWS4-HMAC-SHA256"),
        ("0123456789012345678901234 x", ""),
        ("", ""),
    ] {
        let mut c = Connection::new();
        c.all(Forward, format!("GET / HTTP/1.1\r\nAuthorization: {value}\r\n\r\n").as_bytes());
        let found = c.finish();
        assert_eq!(found[0].authorization_scheme.as_bytes(&found[0].memory), scheme.as_bytes(), "{value}");
    }
}

#[test]
fn a_request_without_version_needs_an_empty_line() {
    let mut c = Connection::new();
    assert_eq!(c.step(Forward, b"GET /old\r\n"), Step::More);
    c.all(Forward, b"GET /old\r\n\r\n");
    c.all(Reverse, b"<html>no status line</html>\r\nGET /within a text\r\nGET /within\r\n\r\n");
    assert_eq!(targets(&c.finish()), [("/old", None)]);
    let mut c = Connection::new();
    c.all(Forward, b"MOVE /HTTP/1.1\r\nHost: h\r\nUser-Agent: ua\r\n\r\nGET /next HTTP/1.0\r\n\r\n");
    c.all(Reverse, b"HTTP/1.0 400 x\r\nContent-Length: 0\r\n\r\n");
    let found = c.finish();
    assert_eq!(targets(&found), [("/HTTP/1.1", Some(400)), ("/next", None)]);
    assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h");
    assert_eq!(texts(found[0].message_version.iter(&found[0].memory)), ["HTTP/1.0"]);
}

#[test]
fn lines_are_found_wherever_blocks_end() {
    // Heads whose lines, and the empty one, fall on every place of a block of 64 octets, with and without CR.
    for pad in 0..140 {
        for end in ["\r\n", "\n"] {
            let head =
                ["GET / HTTP/1.1", &format!("X: {}", "x".repeat(pad)), "Host: h", "y", "Referer: r", "", "Via: no"];
            let text = head.join(end) + end;
            let mut c = Connection::new();
            let whole = text.len() - "Via: no".len() - end.len();
            assert_eq!(c.step(Forward, text.as_bytes()), Step::Consumed(whole), "{pad}");
            let found = c.finish();
            assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h");
            assert_eq!(found[0].referer.as_bytes(&found[0].memory), b"r");
            assert!(found[0].via.is_empty());
        }
    }
}

#[test]
fn many_lines_and_many_wanted_fields() {
    let mut head = String::from("GET / HTTP/1.1\r\n");
    for i in 0..500 {
        head += &format!("Cookie: c{i}=1\r\n");
    }
    head += "\r\n\r\n\r\n";
    head.insert_str(head.len() - 6, "Host: h\r\n");
    let mut c = Connection::new();
    c.all(Forward, head.as_bytes());
    let found = c.finish();
    assert_eq!(found[0].cookie_names.iter(&found[0].memory).count(), 32);
    assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h");
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
    let step = c.parser.parse(Input { snapped: true, ..input(Forward, bytes) }, &mut c.transactions, &mut c.scratch);
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
    let messages: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET /a\x0eb HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"GET nothing\r\n",
        b"EHLO x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /old\r\n",
        b"CONNECT h:1 / HTTP/1.0\r\n",
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
fn a_control_octet_makes_a_line_none_wherever_it_stands_and_however_it_comes() {
    for line in ["GET /\x06 HTTP/1.1", "GET / HTTP/1.\x061", "GET \t/ HTTP/1.1", "GET /\x0c HTTP/1.1"] {
        let head = format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
        let mut whole = Connection::new();
        whole.all(Forward, &head);
        assert!(whole.finish().is_empty(), "{line:?}");
        assert_eq!(shape(line.as_bytes(), false), Shape::Neither, "{line:?}");
    }
}
