// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made messages, and those of BEP 5.

use proptest::prelude::*;
use weir_flow::app::{AppFields, Bittorrent};

use super::{
    super::{Direction, Feed, Probe, Transport, testing},
    Parser,
};
use testing::{Flow, Part};

use Direction::{Forward, Reverse};

const PORTS: [u16; 2] = [40_000, 50_000];

fn handshake(peer: &[u8; 20]) -> Vec<u8> {
    [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05"[..], &[0xab; 20], peer].concat()
}

fn bittorrent(transport: Transport, parts: &[Part]) -> Bittorrent {
    match testing::read(transport, PORTS, parts).swap_remove(0) {
        (AppFields::Bittorrent(bittorrent), false) => *bittorrent,
        other => panic!("{other:?}"),
    }
}

fn connection() -> Vec<Part> {
    vec![
        (Forward, [&handshake(b"-AA1000-123456789012")[..], &[0, 0, 0, 1, 2]].concat()),
        (Reverse, [&handshake(b"-BB2000-123456789012")[..], &[0, 0, 0, 1, 1]].concat()),
    ]
}

#[test]
fn peers() {
    let found = bittorrent(Transport::Stream, &connection());
    assert_eq!((found.kind.as_bytes(), found.info_hash.as_bytes()), (&b"peer"[..], &[0xab; 20][..]));
    assert_eq!(found.source_id.as_bytes(), b"-AA1000-123456789012");
    assert_eq!(found.destination_id.as_bytes(), b"-BB2000-123456789012");
    let mut flow = Flow::new(Transport::Stream, PORTS);
    assert_eq!(flow.feed(Forward, &connection()[0].1), Feed::More);
    assert_eq!(flow.feed(Reverse, b"something else"), Feed::Done);
    testing::assert_the_same_in_any_pieces(PORTS, &connection());
}

/// The examples of BEP 5.
const EXAMPLES: [&str; 9] = [
    "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
    "d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
    "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
    "d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re",
    "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
    "d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
    "d2:ip6:abcdef1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:v4:LT011:y1:re",
];

#[test]
fn the_distributed_hash_table() {
    let queries = EXAMPLES.iter().filter(|example| example.contains("1:q")).map(|e| (Forward, e.as_bytes().to_vec()));
    let parts: Vec<Part> = queries.chain([(Reverse, EXAMPLES[1].as_bytes().to_vec())]).collect();
    let found = bittorrent(Transport::Datagram, &parts);
    assert_eq!((found.kind.as_bytes(), found.info_hash.as_bytes()), (&b"dht"[..], &b"mnopqrstuvwxyz123456"[..]));
    assert_eq!(found.source_id.as_bytes(), b"abcdefghij0123456789");
    assert_eq!(found.destination_id.as_bytes(), b"mnopqrstuvwxyz123456");
    let queries: Vec<&[u8]> = found.query.iter(&found.memory).collect();
    assert_eq!(queries, [&b"ping"[..], b"find_node", b"get_peers", b"announce_peer"]);
    for example in EXAMPLES {
        assert_eq!(testing::claimed_by(Transport::Datagram, example.as_bytes()), ["bittorrent"], "{example}");
    }
}

#[test]
fn a_tracker() {
    let connect = [&[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80][..], &[0; 4], &[1, 2, 3, 4]].concat();
    let mut announce = [&[5; 8][..], &[0, 0, 0, 1], &[1, 2, 3, 4], &[0xcd; 20], b"-CC3000-123456789012"].concat();
    announce.resize(98, 0);
    assert_eq!(testing::claimed_by(Transport::Datagram, &connect), ["bittorrent"]);
    let parts = [(Forward, connect), (Reverse, vec![0; 16]), (Forward, announce), (Reverse, vec![0; 26])];
    let found = bittorrent(Transport::Datagram, &parts);
    assert_eq!((found.kind.as_bytes(), found.info_hash.as_bytes()), (&b"tracker"[..], &[0xcd; 20][..]));
    assert_eq!(found.source_id.as_bytes(), b"-CC3000-123456789012");
    assert_eq!(found.query.iter(&found.memory).collect::<Vec<_>>(), [&b"connect"[..], b"announce"]);
}

#[test]
fn what_is_none() {
    let probe = |bytes: &str| testing::probe::<Parser>(Transport::Datagram, true, bytes.as_bytes());
    for bad in [
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:q", // no end
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qee", // an end too many
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:xe", // no kind of message
        "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe",       // no transaction
        "d1:ad2:id99:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", // a length that lies
        "d1:t2:aa1:yi1ee",                                         // a number
        "d1:t2:aa1:y1:q1:xe",                                      // a key without a value
        "d1:t2:aai1e1:qe",                                         // a key that is a number
    ] {
        assert_eq!(probe(bad), Probe::No, "{bad}");
    }
    let deep = format!("d1:a{}{}1:t1:a1:y1:qe", "l".repeat(2000), "e".repeat(2000));
    assert_eq!(probe(&deep), Probe::No);
    let long = format!("d1:al{}e1:t1:a1:y1:qe", "0:".repeat(2000));
    assert_eq!(probe(&long), Probe::No);
    let probe = |bytes: &[u8]| testing::probe::<Parser>(Transport::Stream, true, bytes);
    assert_eq!((probe(b"\x13Bit"), probe(b"\x13Bot"), probe(b"BitTorrent")), (Probe::More, Probe::No, Probe::No));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn damage_is_survived(
        datagrams in testing::damaged(EXAMPLES.iter().map(|e| (Forward, e.as_bytes().to_vec())).collect(), 0),
        stream in testing::damaged(connection(), 20),
        size in 1_usize..80,
    ) {
        testing::read(Transport::Datagram, PORTS, &datagrams);
        let whole = testing::read(Transport::Stream, PORTS, &stream);
        prop_assert_eq!(testing::read(Transport::Stream, PORTS, &testing::in_pieces(&stream, size)), whole);
    }

    #[test]
    fn anything_is_survived(parts in testing::anything()) {
        for transport in [Transport::Datagram, Transport::Stream] {
            let first = if transport == Transport::Stream { handshake(&[7; 20]) } else { EXAMPLES[0].into() };
            let parts: Vec<Part> = [vec![(Forward, first)], parts.clone()].concat();
            testing::read(transport, PORTS, &parts);
        }
    }
}
