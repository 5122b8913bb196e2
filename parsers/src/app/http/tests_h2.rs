// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;
use weir_flow::app::Http;

use super::{
    Parser, Scratch,
    hpack::{Broken, Table},
    lines::Found,
    names::Name,
};
use crate::app::{
    AfterGap, Direction,
    Direction::{Forward, Reverse},
    Input, Parser as _, Step, Transactions, Transport,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame (RFC 9113 section 6.5).
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS with END_HEADERS.
fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, 4, stream, block)
}

/// A literal that does not become an entry, with a new name (RFC 7541 section 6.2.2), without Huffman code.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], string(name), string(value)].concat()
}

struct Both {
    parser: Parser,
    transactions: Transactions<Http>,
    scratch: Scratch,
}

impl Both {
    fn new() -> Self {
        let transactions = Transactions::new(Parser::IDENTITY.max_open);
        Self { parser: Parser::default(), transactions, scratch: Scratch::default() }
    }

    /// After the client's preface.
    fn begun() -> Self {
        let mut both = Self::new();
        both.all(Forward, &[PREFACE, SETTINGS].concat());
        both.all(Reverse, SETTINGS);
        both
    }

    fn step(&mut self, direction: Direction, bytes: &[u8]) -> Step {
        let input = Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false };
        self.parser.parse(input, &mut self.transactions, &mut self.scratch)
    }

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

/// Decodes blocks with one table and gives the wanted fields of each.
fn decode(blocks: &[&str]) -> Vec<Vec<(Name, String)>> {
    const ASKED: [Name; 8] = [
        Name::Method,
        Name::Scheme,
        Name::Path,
        Name::Authority,
        Name::Status,
        Name::Location,
        Name::SetCookie,
        Name::ContentType,
    ];
    let (mut table, mut out, mut found) = (Table::default(), Vec::new(), Found::default());
    let decode = |hex: &&str| {
        assert_eq!(table.decode(&octets(hex), &mut out, &mut found), Ok(()));
        let text = |name: Name| String::from_utf8(out[found.piece(name)].to_vec()).unwrap();
        ASKED.iter().map(|&name| (name, text(name))).filter(|(_, text)| !text.is_empty()).collect()
    };
    blocks.iter().map(decode).collect()
}

fn request(scheme: &str, path: &str) -> Vec<(Name, String)> {
    let authority = "www.example.com";
    [(Name::Method, "GET"), (Name::Scheme, scheme), (Name::Path, path), (Name::Authority, authority)]
        .map(|(name, text)| (name, text.to_owned()))
        .to_vec()
}

#[test]
fn requests_of_the_standard() {
    let expected = [request("http", "/"), request("http", "/"), request("https", "/index.html")];
    // RFC 7541 appendix C.3.
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    assert_eq!(decode(&plain), expected);
    // RFC 7541 appendix C.4.
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    assert_eq!(decode(&coded), expected);
}

#[test]
fn responses_of_the_standard_with_entries_that_are_dropped() {
    let response =
        |status: &str| vec![(Name::Status, status.to_owned()), (Name::Location, "https://www.example.com".to_owned())];
    // RFC 7541 appendix C.5, in a table of 256 octets: the first octets change its size.
    let found = decode(&[
        "3fe1 01 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d
         4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572
         7369 6f6e 3d31",
    ]);
    let mut last = response("200");
    last.push((Name::SetCookie, "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1".to_owned()));
    assert_eq!(found, [response("302"), response("307"), last]);
}

#[test]
fn blocks_that_are_broken() {
    // Index 0; an entry that is not there; a length that lies; an integer without end; a table that is too large.
    for block in ["80", "be", "4105 61", "ffff ffff ffff", "3fff ffff 7f", "4183 ffff ffff", "7f"] {
        let (mut table, mut out, mut found) = (Table::default(), Vec::new(), Found::default());
        assert_eq!(table.decode(&octets(block), &mut out, &mut found), Err(Broken), "{block}");
    }
}

#[test]
fn streams_are_transactions_however_their_frames_are_mixed() {
    let mut both = Both::begun();
    // GET http / of www.example.com (RFC 7541 appendix C.4.1), then POST with a cookie in two crumbs (RFC 9113 section 8.2.3).
    both.all(Forward, &headers(1, &octets("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")));
    let post = [
        octets("83 86"),
        literal(":path", "/post"),
        literal(":authority", "u:p@h.example"),
        literal("user-agent", "ua"),
        literal("cookie", "a=secret"),
        literal("cookie", "b=secret"),
        literal("authorization", "Bearer secret"),
    ]
    .concat();
    both.all(Forward, &[headers(3, &post), frame(0, 1, 3, &[b'x'; 5000])].concat());
    // Of 3: 103, 200 with content, and trailers; of 1: 404; no one asked for 5.
    both.all(Reverse, &headers(3, &literal(":status", "103")));
    let ok = [
        octets("88"),
        literal("content-type", "text/html"),
        literal("content-length", "12345"),
        literal("server", "s"),
    ]
    .concat();
    both.all(Reverse, &[headers(3, &ok), frame(0, 0, 3, b"PRI * HTTP/2.0"), headers(1, &octets("8d"))].concat());
    both.all(Reverse, &[headers(3, &literal("grpc-status", "0")), headers(5, &octets("8e"))].concat());
    let found = both.finish();
    let [one, three, five] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(one.request_host.as_bytes(&one.memory), b"www.example.com");
    assert_eq!((one.stream_id.get(), one.status_code), (Some(1), Some(404)));
    assert_eq!(
        (three.stream_id.get(), three.status_code, three.content_length.get()),
        (Some(3), Some(200), Some(12_345))
    );
    assert_eq!(three.request_method.as_bytes(&three.memory), b"POST");
    assert_eq!(three.request_target.as_bytes(&three.memory), b"/post");
    assert_eq!(three.request_scheme.as_bytes(&three.memory), b"http");
    assert_eq!(three.request_host.as_bytes(&three.memory), b"h.example");
    assert_eq!(three.user_agent.as_bytes(&three.memory), b"ua");
    assert_eq!(three.cookie_names.iter(&three.memory).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(three.authorization_scheme.as_bytes(&three.memory), b"Bearer");
    assert_eq!(three.content_type.as_bytes(&three.memory), b"text/html");
    assert_eq!(three.message_version.iter(&three.memory).collect::<Vec<_>>(), [b"HTTP/2"]);
    assert_eq!(three.interim_responses.iter(&three.memory).collect::<Vec<_>>(), [103]);
    assert!(!format!("{three:?}").contains("secret"));
    assert_eq!((five.stream_id.get(), five.status_code), (Some(5), Some(500)));
}

#[test]
fn a_block_over_several_frames_with_padding_and_priority() {
    let block = [octets("82 86 84"), literal(":authority", "h.example")].concat();
    let (first, rest) = block.split_at(5);
    let (second, third) = rest.split_at(7);
    // Two octets of padding; a dependency on stream 0 with a weight.
    let padded = [&[2][..], &[0, 0, 0, 0, 15], first, &[0, 0]].concat();
    let frames = [frame(1, 0x28, 1, &padded), frame(9, 0, 1, second), frame(9, 4, 1, third)].concat();
    let mut both = Both::begun();
    both.all(Forward, &frames);
    assert_eq!(both.parser.held(), both.parser.h2.as_ref().unwrap().held());
    let found = both.finish();
    assert_eq!(found[0].request_host.as_bytes(&found[0].memory), b"h.example");
}

#[test]
fn a_promised_request_is_a_transaction() {
    let mut both = Both::begun();
    both.all(Forward, &headers(1, &octets("82 86 84")));
    let promise = [&2_u32.to_be_bytes()[..], &octets("82 86 85")].concat();
    both.all(Reverse, &[frame(5, 4, 1, &promise), headers(1, &octets("88")), headers(2, &octets("88"))].concat());
    let found = both.finish();
    let targets: Vec<_> = found.iter().map(|h| (h.stream_id.get(), h.request_target.as_bytes(&h.memory))).collect();
    assert_eq!(targets, [(Some(1), &b"/"[..]), (Some(2), b"/index.html")]);
}

#[test]
fn what_breaks_the_rules_or_is_missing_ends_its_direction() {
    let get = headers(1, &octets("82 86 84"));
    for broken in [
        frame(1, 0, 1, b"\x82"), // followed by no CONTINUATION
        frame(9, 4, 1, b"\x82"), // CONTINUATION of nothing
        headers(0, b"\x82"),     // of no stream
        headers(1, b"\x80"),
        frame(1, 0x0c, 1, b"\x09\x82"), // more padding than there is
        frame(1, 4, 1, &[0; (16 << 10) + 1]),
    ] {
        let mut both = Both::begun();
        let mut bytes = broken;
        bytes.extend_from_slice(&get);
        let mut rest = &bytes[..];
        let skipped = loop {
            match both.step(Forward, rest) {
                Step::Skip(u64::MAX) => break true,
                Step::Skip(octets) => rest = &rest[usize::try_from(octets).unwrap()..],
                other => panic!("{other:?}"),
            }
        };
        assert!(skipped);
        // The other direction goes on.
        both.all(Reverse, &headers(1, &octets("88")));
        assert_eq!(both.parser.gap(Reverse), AfterGap::Done);
        assert_eq!(both.finish().len(), 1);
    }
    let mut both = Both::begun();
    assert_eq!(both.parser.gap(Forward), AfterGap::Resume);
    assert_eq!(both.step(Forward, &get), Step::Skip(u64::MAX));
    both.all(Reverse, &headers(1, &octets("88")));
    assert_eq!(both.finish()[0].status_code, Some(200));
}

#[test]
fn an_upgrade_to_h2c_is_answered_on_stream_1() {
    let mut both = Both::new();
    both.all(Forward, b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
    both.all(Reverse, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    both.all(Reverse, &[SETTINGS, &headers(1, &octets("88"))].concat());
    both.all(Forward, &[PREFACE, SETTINGS, &headers(3, &octets("82 86 85"))].concat());
    let found = both.finish();
    let [up, next] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(up.request_target.as_bytes(&up.memory), b"/up");
    assert_eq!(up.upgrade.as_bytes(&up.memory), b"h2c");
    assert_eq!((up.status_code, up.message_version.iter(&up.memory).count()), (Some(200), 2));
    assert_eq!(next.request_target.as_bytes(&next.memory), b"/index.html");
}

#[test]
fn streams_and_memory_are_bounded() {
    let mut both = Both::begun();
    for i in 0..2000_u32 {
        // Each becomes an entry of the table; of a name that is wanted, and of one that is not.
        let value = "x".repeat(100);
        let block =
            [octets("82 86 84 41 64"), value.clone().into_bytes(), octets("40 01 61 64"), value.into_bytes()].concat();
        both.all(Forward, &headers(2 * i + 1, &block));
        both.transactions.settle(|_| {});
    }
    // Entries of 4,096 octets as the standard counts, with what allocators note.
    assert!(both.parser.held() < 16 << 10, "{}", both.parser.held());
    assert!(both.finish().len() <= Parser::IDENTITY.max_open as usize + 1);
}

proptest! {
    /// Whatever comes, nothing panics and memory is bounded; frames cut anywhere are offered again, longer.
    #[test]
    fn any_frames_do_no_harm(
        frames in prop::collection::vec(
            (any::<bool>(), 0..11_u8, any::<u8>(), 0..8_u32, prop::collection::vec(any::<u8>(), 0..60)), 0..40),
    ) {
        let mut both = Both::begun();
        for (is_reverse, kind, flags, stream, payload) in frames {
            let direction = if is_reverse { Reverse } else { Forward };
            let bytes = frame(kind, flags, stream, &payload);
            for end in [5, bytes.len() - payload.len() / 2, bytes.len()] {
                if both.step(direction, &bytes[..end]) != Step::More {
                    break;
                }
            }
            both.transactions.settle(|_| {});
            prop_assert!(both.parser.held() < 256 << 10);
        }
    }
}
