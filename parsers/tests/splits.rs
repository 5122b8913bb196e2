// SPDX-License-Identifier: MIT OR Apache-2.0
//! However the streams of a connection are cut, the transactions are the same; and nothing makes a session panic.

use proptest::{prelude::*, sample::Index};
use weir_flow::{
    Timestamp,
    app::{AppFields, AppRef},
};
use weir_parsers::app::{Direction, Input, Pools, Session, Transport};

use Direction::{Forward, Reverse};

/// A conversation: turns of one direction each, a turn being whole messages.
type Turns = Vec<(Direction, Vec<u8>)>;

/// The transactions of a conversation whose octets come in these pieces, and whether something of them was cut.
fn transactions<'a>(
    ports: [u16; 2],
    transport: Transport,
    pieces: impl IntoIterator<Item = (Direction, &'a [u8])>,
) -> Vec<(AppFields, bool)> {
    let mut pools = Pools::default();
    let mut session = Session::default();
    session.begin(ports);
    let mut found = Vec::new();
    let mut close = |fields: AppRef<'_>, _| found.push((fields.to_owned(), fields.is_cut()));
    for (direction, bytes) in pieces {
        let input = Input { bytes, direction, transport, hinted: false, snapped: false };
        session.feed(input, Timestamp::ZERO, &mut pools);
        session.settle(&mut pools, &mut close);
    }
    session.finish(&mut pools, &mut close);
    found
}

fn whole(turns: &Turns) -> impl Iterator<Item = (Direction, &[u8])> {
    turns.iter().map(|(direction, bytes)| (*direction, bytes.as_slice()))
}

/// Every turn cut at these places.
fn cut<'a>(turns: &'a Turns, cuts: &[Index]) -> Vec<(Direction, &'a [u8])> {
    let mut pieces = Vec::new();
    for (direction, bytes) in turns {
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.dedup();
        pieces.extend(at.windows(2).map(|w| (*direction, &bytes[w[0]..w[1]])));
    }
    pieces
}

fn turns(lines: &[(Direction, &str)]) -> Turns {
    lines.iter().map(|(direction, text)| (*direction, text.replace('\n', "\r\n").into_bytes())).collect()
}

fn http() -> Turns {
    turns(&[
        (
            Forward,
            "GET /a HTTP/1.1\nHost: one.example\nUser-Agent: test\nReferer: http://x/\nCookie: a=1; b=2\nVia: 1.1 v\n w\n\nHEAD /b HTTP/1.1\nHost: two.example\n\n",
        ),
        (
            Reverse,
            "HTTP/1.1 200 OK\nServer: s\nContent-Type: text/plain\nContent-Length: 5\n\nHTTP/HTTP/1.1 404 Not Found\nContent-Length: 99\n\n",
        ),
        (
            Forward,
            "POST /c HTTP/1.1\nHost: three.example\nExpect: 100-continue\nTransfer-Encoding: chunked\n\n5;x=y\nGET /\n0\nTrailer: 1\n\n",
        ),
        (Reverse, "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n4\nHTTP\n1\n/\n0\n\n"),
        (Forward, "CONNECT mail.example:25 HTTP/1.1\nHost: mail.example:25\n\n"),
        (Reverse, "HTTP/1.1 200 Established\n\n"),
        (Reverse, "220 mail.example ESMTP\n"),
    ])
}

/// HTTP/2 after an upgrade: header blocks of RFC 7541 appendices C.4.1 and C.4.2, the second in two frames.
fn h2c() -> Turns {
    let mut turns = turns(&[
        (Forward, "GET /up HTTP/1.1\nHost: h2.example\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n\n"),
        (Reverse, "HTTP/1.1 101 Switching Protocols\nUpgrade: h2c\n\n"),
        (Forward, "PRI * HTTP/2.0\n\nSM\n\n"),
    ]);
    turns[2].1.extend_from_slice(
        b"\0\0\0\x04\0\0\0\0\0\0\0\x11\x01\x05\0\0\0\x03\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\
          \0\0\x03\x01\x01\0\0\0\x05\x82\x86\x84\0\0\x09\x09\x04\0\0\0\x05\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
    );
    // The answers of streams 1 and 3, content of 3 between them.
    let answers =
        b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88\0\0\x05\0\0\0\0\0\x03HTTP/\0\0\x01\x01\x05\0\0\0\x03\x8d";
    turns.push((Reverse, answers.to_vec()));
    turns
}

fn smtp() -> Turns {
    turns(&[
        (Reverse, "220-mx.example ESMTP\n220 ready\n"),
        (Forward, "ehlo client.example\n"),
        (Reverse, "250-mx.example\n250-PIPELINING\n250 AUTH LOGIN\n"),
        (Forward, "AUTH LOGIN\n"),
        (Reverse, "334 VXNlcm5hbWU6\n"),
        (Forward, "QUIT\n"),
        (Reverse, "235 ok\n"),
        (Forward, "MAIL FROM:<a@client.example> SIZE=5\nRCPT TO:<b@mx.example>\nRCPT TO: c@mx.example\nDATA\n"),
        (Reverse, "250 ok\n550 no\n250 ok\n354 go\n"),
        (
            Forward,
            "Subject: one\n two\n\tthree\nFrom: A <a@client.example>\nTo: b@mx.example\nMessage-ID: <1@x>\n\nQUIT\n..\n.x\nDATA\n.\n",
        ),
        (Reverse, "250 queued\n"),
        (Forward, "MAIL FROM:<>\nRCPT TO:<d@mx.example>\n"),
        (Reverse, "250 ok\n250 ok\n"),
        (Forward, "BDAT 24\nSubject: in chunks\nTo: BDAT 30 LAST\nd@mx.example\n\nMAIL FROM:\n\nQUIT\n"),
        (Reverse, "250 ok\n250 ok\n221 bye\n"),
    ])
}

fn sip() -> Turns {
    turns(&[
        (
            Forward,
            "\n\nINVITE sip:b@example.org SIP/2.0\nv: SIP/2.0/TCP h;branch=1, SIP/2.0/TCP i\nf: \"A <x>\" <sip:a@example.org;p=1>;tag=1\nt: sip:b@example.org;x=y\ni: id1\nCSeq: 1  INVITE\nm: <sip:a@h,x>,<sip:z>\nUser-Agent: ua\n folded\nc: application/sdp\nAuthorization: Digest username=\"example\"\nl: 81\n\nv=0\no=a\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0 96\na=rtpmap:96 opus/48000\n",
        ),
        (
            Reverse,
            "SIP/2.0 100 Trying\nCall-ID: id1\nCSeq: 1 INVITE\nFrom: <sip:a@example.org>;tag=1\nTo: <sip:b@example.org>\n\nSIP/2.0 200 OK\nCall-ID: id1\nCSeq: 1 INVITE\nFrom: <sip:a@example.org>;tag=1\nTo: <sip:b@example.org>;tag=2\nServer: srv\nContent-Length: 4\n\nSIP/",
        ),
        (
            Forward,
            "ACK sip:b@example.org SIP/2.0\nCall-ID: id1\nCSeq: 1 ACK\n\nBYE sip:b@example.org SIP/2.0\nCall-ID: id1\nCSeq: 2 BYE\n\n",
        ),
        (Reverse, "SIP/2.0 200 OK\nCall-ID: id1\nCSeq: 2 BYE\n\n"),
    ])
}

/// The same with values so long that they are cut.
fn long(turns: &Turns) -> Turns {
    let longer = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("example", &"example".repeat(100)).into_bytes();
    turns.iter().map(|(direction, bytes)| (*direction, longer(bytes))).collect()
}

fn conversations() -> [(&'static str, [u16; 2], Turns, usize); 4] {
    [
        ("http", [40_000, 12_345], http(), 4),
        ("h2c", [40_000, 80], h2c(), 3),
        ("smtp", [40_000, 25], smtp(), 2),
        ("sip", [40_000, 5060], sip(), 3),
    ]
}

#[test]
fn conversations_are_read() {
    for (slug, ports, turns, count) in conversations() {
        let found = transactions(ports, Transport::Stream, whole(&turns));
        assert_eq!(found.len(), count, "{slug}: {found:#?}");
    }
}

#[test]
fn octet_by_octet_gives_the_same() {
    for (slug, ports, turns, _) in conversations() {
        let octets = turns.iter().flat_map(|(direction, bytes)| bytes.chunks(1).map(|b| (*direction, b)));
        let found = transactions(ports, Transport::Stream, octets);
        assert_eq!(found, transactions(ports, Transport::Stream, whole(&turns)), "{slug}");
    }
}

#[test]
fn what_is_cut_is_the_same_octet_by_octet() {
    for (slug, ports, turns, _) in conversations() {
        let turns = long(&turns);
        let octets = turns.iter().flat_map(|(direction, bytes)| bytes.chunks(1).map(|b| (*direction, b)));
        let found = transactions(ports, Transport::Stream, octets);
        assert_eq!(found, transactions(ports, Transport::Stream, whole(&turns)), "{slug}");
        assert!(found.iter().any(|(_, is_cut)| *is_cut), "{slug}");
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        which in 0..4usize,
        is_long in any::<bool>(),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let (_, ports, turns, _) = conversations().into_iter().nth(which).unwrap();
        let turns = if is_long { long(&turns) } else { turns };
        let found = transactions(ports, Transport::Stream, cut(&turns, &cuts));
        prop_assert_eq!(found, transactions(ports, Transport::Stream, whole(&turns)));
    }

    /// Octets changed, left out and doubled: whatever is found, it is found without a panic, and within bounds.
    #[test]
    fn broken_streams_do_no_harm(
        which in 0..4usize,
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>(), 0..4u8), 1..8),
        gaps in prop::collection::vec((any::<Index>(), any::<bool>(), 0..100_000u64), 0..4),
        snapped in any::<bool>(),
        is_datagram in any::<bool>(),
    ) {
        let (_, ports, mut turns, _) = conversations().into_iter().nth(which).unwrap();
        for (turn, place, value, kind) in changes {
            let turn = turn.index(turns.len());
            let bytes = &mut turns[turn].1;
            if bytes.is_empty() {
                continue;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.truncate(at),
                2 => bytes.extend_from_within(..at),
                _ => drop(bytes.drain(..at)),
            }
        }
        let pieces = cut(&turns, &cuts);
        let mut pools = Pools::default();
        let mut session = Session::default();
        session.begin(ports);
        let transport = if is_datagram { Transport::Datagram } else { Transport::Stream };
        let gaps: Vec<_> = gaps.into_iter().map(|(at, forward, missing)| (at.index(pieces.len() + 1), forward, missing)).collect();
        for (index, (direction, bytes)) in pieces.into_iter().enumerate() {
            for &(at, forward, missing) in &gaps {
                if at == index {
                    session.gap(if forward { Forward } else { Reverse }, missing, &mut pools);
                }
            }
            session.feed(Input { bytes, direction, transport, hinted: false, snapped }, Timestamp::ZERO, &mut pools);
            session.settle(&mut pools, &mut |_, _| {});
        }
        session.finish(&mut pools, &mut |_, _| {});
        session.recycle(&mut pools);
        prop_assert!(!session.is_done() && session.is_empty());
    }
}
