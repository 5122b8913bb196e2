// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made handshakes of DTLS.

use proptest::prelude::*;

use super::{super::super::testing, *};

const DTLS_1_2: u16 = 0xfefd;

/// A record in the clear, or of a later epoch.
fn record(kind: u8, epoch: u16, fragment: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend([0, 0, 0, 0, 0, 7]); // sequence number
    record.extend(vector16(fragment));
    record
}

/// Octets of a message from `start` to `end`, as a fragment.
fn fragment(message: &[u8], number: u16, start: usize, end: usize) -> Vec<u8> {
    let u24 = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let body = &message[4..];
    [&message[..4], &number.to_be_bytes(), &u24(start), &u24(end - start), &body[start..end]].concat()
}

/// A datagram with the message in one piece.
fn whole(message: &[u8], number: u16) -> Vec<u8> {
    record(22, 0, &fragment(message, number, 0, message.len() - 4))
}

/// Datagrams with pieces of a message of so many octets.
fn pieces(message: &[u8], number: u16, size: usize) -> Vec<Vec<u8>> {
    let len = message.len() - 4;
    (0..len).step_by(size).map(|at| record(22, 0, &fragment(message, number, at, len.min(at + size)))).collect()
}

fn client(cookie: &[u8], extensions: &[u8]) -> Vec<u8> {
    let mut body = DTLS_1_2.to_be_bytes().to_vec();
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend(vector8(cookie));
    body.extend(vector16(&numbers(&[0xc02b, 0x1301])));
    body.extend([1, 0]); // no compression
    body.extend(vector16(extensions));
    handshake(1, &body)
}

fn offer() -> Vec<u8> {
    [server_name(b"a.bc"), extension(43, &vector8(&numbers(&[0xfefc, DTLS_1_2])))].concat()
}

fn verify_request() -> Vec<u8> {
    handshake(3, &[&[0xfe, 0xff][..], &vector8(&[9; 20])].concat())
}

fn server() -> Vec<u8> {
    server_hello(DTLS_1_2, [5; 32], 0xc02b, &extension(16, &vector16(&vector8(b"webrtc"))))
}

fn datagrams(parts: &[(Direction, Vec<u8>)]) -> (Vec<Tls>, Feed) {
    run_on(Transport::Datagram, &parts.iter().map(|(direction, bytes)| (*direction, &bytes[..])).collect::<Vec<_>>())
}

#[test]
fn a_handshake_with_a_cookie_is_one_transaction() {
    let certificate = certificate::message(&certificate::leaf(), 9);
    let parts = [
        (Forward, whole(&client(&[], &offer()), 0)),
        (Reverse, whole(&verify_request(), 0)),
        (Forward, whole(&client(&[9; 20], &offer()), 1)),
        (Reverse, [whole(&server(), 1), whole(&certificate, 2)].concat()),
    ];
    let (found, feed) = datagrams(&parts);
    let [tls] = &found[..] else { panic!("{found:?}") };
    assert_eq!(feed, Feed::More);
    assert_eq!(text(tls.server_name.as_bytes(&tls.memory)), "a.bc");
    assert_eq!((tls.client_version, tls.version, tls.cipher_suite), (Some(DTLS_1_2), Some(DTLS_1_2), Some(0xc02b)));
    assert_eq!(tls.alpn_chosen.as_bytes(&tls.memory), b"webrtc");
    // Versions of DTLS count down: 1.3 is the highest.
    assert_eq!(text(tls.ja4.as_bytes()).get(..10), Some("dd3d020200"));
    assert_eq!((tls.resumption, tls.certificate_key_bits), (Some(0), Some(2048)));
    // The first of the two hellos was not captured.
    let (found, _) = datagrams(&parts[1..]);
    assert_eq!((found.len(), found[0].client_version, found[0].certificate_key_bits), (1, Some(DTLS_1_2), Some(2048)));
}

#[test]
fn versions_of_all_times_are_recognised() {
    for version in [[1, 0], [0xfe, 0xff], [0xfe, 0xfd]] {
        let mut hello = whole(&client(&[], &offer()), 0);
        hello[1..3].copy_from_slice(&version);
        hello[25..27].copy_from_slice(&version);
        let (found, _) = datagrams(&[(Forward, hello)]);
        assert_eq!(found.len(), 1, "{version:?}");
        assert_eq!(found[0].client_version, Some(u16::from_be_bytes(version)));
    }
}

#[test]
fn a_handshake_of_dtls_1_3_with_a_retry_is_two() {
    let chosen = extension(43, &[0xfe, 0xfc]);
    let retry = server_hello(DTLS_1_2, super::super::hello::RETRY_RANDOM, 0x1301, &chosen);
    let cookie = [offer(), extension(44, &vector16(&[9; 20]))].concat();
    let parts = [
        (Forward, whole(&client(&[], &offer()), 0)),
        (Forward, whole(&client(&[], &offer()), 0)), // again
        (Reverse, whole(&retry, 0)),
        (Forward, whole(&client(&[], &cookie), 1)),
        // The rest of the flight is encrypted.
        (Reverse, [whole(&server_hello(DTLS_1_2, [5; 32], 0x1301, &chosen), 1), vec![0x2e, 1, 2, 3]].concat()),
    ];
    let (found, feed) = datagrams(&parts);
    let [first, second] = &found[..] else { panic!("{found:?}") };
    assert_eq!((first.hello_retry, first.version, feed), (Some(1), Some(0xfefc), Feed::Done));
    assert_eq!((second.hello_retry, second.version, second.resumption), (None, Some(0xfefc), Some(0)));
    assert_eq!(text(first.ja4.as_bytes()).get(..10), Some("dd3d020200"));
    assert_eq!(text(second.ja4.as_bytes()).get(..10), Some("dd3d020300"));
}

#[test]
fn what_ends_a_handshake_without_a_certificate() {
    let hello = || (Forward, whole(&client(&[], &extension(35, &[7; 40])), 0));
    let run = |behind: Vec<u8>| {
        let (found, feed) = datagrams(&[hello(), (Reverse, whole(&server(), 0)), (Reverse, behind)]);
        (found[0].resumption, feed)
    };
    assert_eq!(run(whole(&handshake(14, &[]), 1)), (Some(0), Feed::More)); // ServerHelloDone
    assert_eq!(run(record(20, 0, &[1])), (Some(2), Feed::Done)); // the ticket is good
    assert_eq!(run(record(22, 1, &[9; 40])), (Some(2), Feed::Done));
    assert_eq!(run(whole(&handshake(4, &[0; 10]), 1)), (Some(2), Feed::Done));
    // A later message: the Certificate may still come.
    assert_eq!(run(whole(&handshake(12, &[0; 10]), 2)), (None, Feed::More));
    // What is not DTLS: a binding request of STUN, media.
    assert_eq!(run(vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]), (None, Feed::More));
    assert_eq!(run(vec![0x80, 0x60, 1, 2, 3, 4]), (None, Feed::More));
    let (found, feed) = datagrams(&[hello(), (Reverse, record(21, 0, &[2, 40]))]);
    assert_eq!((found[0].alert, feed), (Some(40), Feed::Done));
}

/// A handshake until the server has said all, of a client whose hello has these extensions more.
fn begun(extensions: &[u8]) -> Vec<(Direction, Vec<u8>)> {
    let certificate = certificate::message(&certificate::leaf(), 9);
    vec![
        (Forward, whole(&client(&[], &[&offer()[..], extensions].concat()), 0)),
        (Reverse, [whole(&server(), 0), whole(&certificate, 1), whole(&handshake(14, &[]), 2)].concat()),
    ]
}

#[test]
fn the_certificate_of_the_client_may_come_in_pieces_and_late() {
    let certificate = certificate::message(&certificate::of_client(), 9);
    let exchange = (Forward, whole(&handshake(16, &[7; 66]), 2));
    let mut answer: Vec<_> = pieces(&certificate, 1, 100).into_iter().map(|piece| (Forward, piece)).collect();
    answer.reverse();
    let (found, feed) = datagrams(&[begun(&[]), vec![exchange], answer].concat());
    assert_eq!((certificate::told_of_client(&found[0]), feed), (certificate::of_alice(), Feed::Done));
    // What comes in its place, and what is encrypted.
    for other in [whole(&handshake(16, &[7; 66]), 1), record(20, 0, &[1]), record(22, 1, &[9; 40])] {
        let (found, feed) = datagrams(&[begun(&[]), vec![(Forward, other)]].concat());
        assert_eq!((found[0].client_certificate_subject.as_bytes(&found[0].memory), feed), (&b""[..], Feed::Done));
    }
}

/// A packet of media: version 2, type 111, number, time, source, and what is encrypted.
fn media(number: u8) -> Vec<u8> {
    [&[0x80, 111, 0, number, 0, 0, number, 0, 1, 2, 3, 4][..], &[0x5a; 60]].concat()
}

#[test]
fn media_follow_on_the_same_path() {
    // use_srtp (RFC 5764 section 4.1.1): one profile, no key identifier.
    let offer = begun(&extension(14, &[0, 2, 0, 1, 0]));
    let end = [
        (Forward, [whole(&handshake(16, &[7; 66]), 1), record(20, 0, &[1]), record(22, 1, &[9; 40])].concat()),
        (Reverse, [record(20, 0, &[1]), record(22, 1, &[9; 40])].concat()),
        (Reverse, vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), // STUN
    ];
    let mut flow = testing::Flow::new(Transport::Datagram, [40_000, 4000]);
    // As with ICE: STUN comes first, too.
    for (direction, bytes) in end[2..].iter().chain(&offer).chain(&end) {
        assert_eq!(flow.feed(*direction, bytes), Feed::More);
    }
    assert_eq!(flow.application(), Some("tls"));
    for number in 1..4 {
        assert_eq!(flow.feed(Forward, &media(number)), Feed::More);
    }
    assert_eq!(flow.application(), Some("rtp"));
    let slugs: Vec<_> = flow.finish().iter().map(|(app, _)| app.borrow().slug()).collect();
    assert_eq!(slugs, ["stun", "tls", "rtp"]);
    // Nothing is waited for that was not offered, and nothing for ever.
    assert_eq!(datagrams(&[begun(&[]), end[..1].to_vec()].concat()).1, Feed::Done);
    let idle = vec![(Forward, record(23, 1, &[9; 40])); 70];
    assert_eq!(datagrams(&[offer, end[..2].to_vec(), idle].concat()).1, Feed::Done);
}

#[test]
fn what_is_put_together_is_bounded_and_told() {
    let mut session = Session::default();
    let mut pools = Pools::default();
    session.begin([40_000, 4000]);
    let mut most = 0;
    let mut feed = |bytes: &[u8]| {
        let input = Input { bytes, direction: Reverse, transport: Transport::Datagram, hinted: false, snapped: false };
        let feed = session.feed(input, Timestamp::ZERO, &mut pools);
        most = most.max(pools.budget().charged());
        feed
    };
    feed(&whole(&server(), 0));
    // Certificates of every number, of which nothing but every second octet comes.
    let certificate = handshake(11, &[0xff; 9000]);
    for number in 1..40 {
        for at in 0..60 {
            feed(&record(22, 0, &fragment(&certificate, number, 2 * at, 2 * at + 1)));
        }
    }
    let limit = 4 * 8192 + 2048;
    assert!((8192..limit).contains(&most), "{most}");
}

#[test]
fn hellos_that_lie_are_refused_or_left() {
    let good = whole(&client(&[], &offer()), 0);
    assert_eq!(datagrams(&[(Forward, good.clone())]).0.len(), 1);
    for (at, octet) in [(0, 23), (1, 3), (4, 1), (13, 11), (22, 0xff), (25, 3)] {
        let mut odd = good.clone();
        odd[at] = octet;
        assert_eq!(datagrams(&[(Forward, odd)]).0, [], "{at}");
    }
    for len in 0..good.len() {
        assert_eq!(datagrams(&[(Forward, good[..len].to_vec())]).0, [], "{len}");
    }
    // In a record behind it.
    let (found, _) = datagrams(&[(Forward, [&good[..], &[22, 0xfe, 0xfd, 0]].concat())]);
    assert_eq!(found[0].ja3.as_bytes().len(), 16);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Fragments of a flight in any order, some of them twice, give the same as the messages in one piece.
    #[test]
    fn fragments_come_in_any_order(
        size in 80_usize..900,
        order in prop::collection::vec(any::<u32>(), 80),
        again in any::<prop::sample::Index>(),
    ) {
        let (hello, answer) = (client(&[], &offer()), server());
        let certificate = certificate::message(&certificate::leaf(), 20_000);
        let expected = datagrams(&[
            (Forward, whole(&hello, 0)),
            (Reverse, whole(&answer, 0)),
            (Reverse, whole(&certificate::message(&certificate::leaf(), 9), 1)),
        ]);
        // Of the Certificate, what is wanted, and a bit more.
        let flight: Vec<_> = [pieces(&answer, 0, size), pieces(&certificate, 1, size)].concat().into_iter().take(40).collect();
        let mut flight: Vec<_> = flight.into_iter().zip(order.iter().copied()).collect();
        let twice = (flight[again.index(flight.len())].0.clone(), 7);
        flight.push(twice);
        flight.sort_by_key(|(_, key)| *key);
        let mut parts: Vec<_> = pieces(&hello, 0, size).into_iter().map(|piece| (Forward, piece)).collect();
        parts.reverse();
        parts.extend(flight.into_iter().map(|(piece, _)| (Reverse, piece)));
        let is_wanted = 40 * size > certificate::leaf().len() + 200;
        if is_wanted {
            prop_assert_eq!(datagrams(&parts), expected);
        }
    }
}
