// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made conversations.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Rtsp};

use super::{
    super::{Direction, Probe, Transport, testing},
    Parser,
};
use testing::Part;

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 8554];

fn part(direction: Direction, text: &str) -> Part {
    (direction, text.replace('\n', "\r\n").into_bytes())
}

fn connection() -> Vec<Part> {
    vec![
        part(
            Forward,
            "OPTIONS rtsp://192.0.2.1:8554/a RTSP/1.0\nCSeq: 1\nUser-Agent: player/1\n\nDESCRIBE rtsp://192.0.2.1:8554/a RTSP/1.0\nCSeq: 2\n\n",
        ),
        part(
            Reverse,
            "RTSP/1.0 200 OK\nCSeq: 1\nPublic: OPTIONS, DESCRIBE\nServer: srv\n\nRTSP/1.0 200 OK\nCSeq: 2\nContent-Type: application/sdp\nContent-Length: 5\n\nv=0\n",
        ),
        part(Forward, "SETUP rtsp://192.0.2.1:8554/a/t1 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n"),
        part(
            Reverse,
            "RTSP/1.0 200 OK\nCSeq: 3\nSession: abc;timeout=60\nTransport: RTP/AVP/TCP;interleaved=0-1;ssrc=1\n\n",
        ),
        (Reverse, [b"$\0\0\x08RTSP/1.0".to_vec(), part(Reverse, "OPTIONS * RTSP/1.0\nCSeq: 3\n\n").1].concat()),
        part(Forward, "PLAY rtsp://192.0.2.1:8554/a RTSP/1.0\nCSeq: 4\n\nRTSP/1.0 501 Not Implemented\nCSeq: 3\n\n"),
        part(Reverse, "RTSP/1.0 454 Session Not Found\nCSeq: 4\n\n"),
    ]
}

fn rtsp(parts: &[Part]) -> Vec<Rtsp> {
    let take = |(app, cut): (AppFields, bool)| match app {
        AppFields::Rtsp(rtsp) if !cut => *rtsp,
        other => panic!("{other:?}"),
    };
    testing::read(Transport::Stream, PORTS, parts).into_iter().map(take).collect()
}

#[test]
fn a_conversation() {
    let found = rtsp(&connection());
    let by = |method: &[u8], status| {
        let is_it = |r: &&Rtsp| r.method.as_bytes(&r.memory) == method && r.status_code == Some(status);
        found.iter().find(is_it).unwrap_or_else(|| panic!("{found:?}"))
    };
    assert_eq!(found.len(), 5);
    let options = by(b"OPTIONS", 200);
    assert_eq!(options.uri.as_bytes(&options.memory), b"rtsp://192.0.2.1:8554/a");
    assert_eq!(options.user_agent.as_bytes(&options.memory), b"player/1");
    assert_eq!(options.server.as_bytes(&options.memory), b"srv");
    let describe = by(b"DESCRIBE", 200);
    assert_eq!(describe.content_type.as_bytes(&describe.memory), b"application/sdp");
    let setup = by(b"SETUP", 200);
    assert_eq!(setup.transport.as_bytes(&setup.memory), b"RTP/AVP/TCP;interleaved=0-1;ssrc=1");
    assert_eq!((setup.session.as_bytes(&setup.memory), setup.cseq), (&b"abc"[..], Some(3)));
    // Of the server itself, with a number that the client has used, too.
    assert_eq!(by(b"OPTIONS", 501).uri.as_bytes(&by(b"OPTIONS", 501).memory), b"*");
    assert_eq!(by(b"PLAY", 454).cseq, Some(4));
}

#[test]
fn what_is_none_is_passed_over() {
    let parts =
        [part(Forward, "OPTIONS rtsp://a RTSP/1.0\nCSeq: 1\n\nnonsense\nTEARDOWN rtsp://a RTSP/1.0\nCSeq: 2\n\n")];
    assert_eq!(rtsp(&parts).len(), 2);
    testing::assert_the_same_in_any_pieces(PORTS, &parts);
}

#[test]
fn what_begins_so() {
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, true, bytes);
    let whole = &connection()[0].1;
    assert_eq!(probe(b"OPTIONS rtsp://a RTSP/1.0"), Probe::More);
    assert_eq!(probe(whole), Probe::Yes);
    for other in [
        &b"OPTIONS * HTTP/1.1\r\n\r\n"[..],
        b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        b"RTSP/1.0 2x0 OK\r\n",
        b"DESCRIBE rtsp://a\r\n",
        b"\x16\x03\x01",
    ] {
        assert_eq!(probe(other), Probe::No, "{other:?}");
        assert!(!testing::claimed_by(Transport::Stream, other).contains(&"rtsp"));
    }
    for message in connection().iter().filter(|part| part.1[0] != b'$') {
        assert_eq!(testing::claimed_by(Transport::Stream, &message.1), ["rtsp"], "{message:?}");
    }
    let long = [b"DESCRIBE rtsp://a/", &[b'x'; 600][..], b" RTSP/1.0\r\n\r\n"].concat();
    assert_eq!(probe(&long), Probe::Yes);
}

#[test]
fn pieces_do_not_matter() {
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_the_same_in_any_pieces(parts in testing::damaged(connection(), 45), size in 1_usize..100) {
        let whole = testing::read(Transport::Stream, PORTS, &parts);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&parts, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        let parts: Vec<Part> = [vec![connection().swap_remove(0)], parts].concat();
        testing::read(Transport::Stream, PORTS, &parts);
    }
}
