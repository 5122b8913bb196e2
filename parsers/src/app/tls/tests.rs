// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made hellos, with fingerprints that their authors published.

use weir_flow::{
    Timestamp,
    app::{AppRef, Tls},
};

use super::super::{Direction, Feed, Input, Pools, Session, Transport};

/// Cipher suites and extensions of the hello in the JA4 specification.
const SUITES: [u16; 16] = [
    0x5a5a, // reserved
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f,
    0x0035,
];

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &vector16(name)].concat(); // host_name
    extension(0, &vector16(&entry))
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind, len[1], len[2], len[3]][..], body].concat()
}

fn client_hello(version: u16, suites: &[u16], extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]); // random
    body.extend(vector8(&[9; 32])); // session
    body.extend(vector16(&numbers(suites)));
    body.extend([1, 0]); // no compression
    if let Some(extensions) = extensions {
        body.extend(vector16(extensions));
    }
    handshake(1, &body)
}

fn server_hello(version: u16, random: [u8; 32], suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend(random);
    body.push(0); // no session
    body.extend(suite.to_be_bytes());
    body.push(0); // no compression
    body.extend(vector16(extensions));
    handshake(2, &body)
}

/// Records of at most `size` octets of one handshake message.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|f| [&[22, 3, 1][..], &vector16(f)].concat()).collect()
}

/// A hello as a browser sends it.
fn modern() -> Vec<u8> {
    let mut extensions = extension(0x2a2a, &[]); // reserved
    extensions.extend(server_name(b"Www.Example.ORG"));
    for kind in [0x0017, 0xff01, 0x0023, 0x0005, 0x0012, 0x0033, 0x002d, 0x001b, 0x4469, 0x0015] {
        extensions.extend(extension(kind, &[]));
    }
    extensions.extend(extension(10, &vector16(&numbers(&[0x3a3a, 29, 23, 24]))));
    extensions.extend(extension(11, &vector8(&[0])));
    extensions.extend(extension(16, &vector16(b"\x02h2\x08http/1.1")));
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
    extensions.extend(extension(13, &vector16(&numbers(&signatures))));
    extensions.extend(extension(43, &vector8(&numbers(&[0x1a1a, 0x0304, 0x0303]))));
    extensions.extend(extension(0x6a6a, &[0])); // reserved
    client_hello(0x0303, &SUITES, Some(&extensions))
}

fn tls13(random: [u8; 32]) -> Vec<u8> {
    server_hello(0x0303, random, 0x1301, &[extension(51, &[0, 29]), extension(43, &[3, 4])].concat())
}

use Direction::{Forward, Reverse};

/// What is found, and what the session wanted last.
fn run(parts: &[(Direction, &[u8])]) -> (Vec<Tls>, Feed) {
    let mut session = Session::default();
    let mut pools = Pools::default();
    session.begin([40_000, 4000]);
    let mut found = Vec::new();
    let mut feed = Feed::More;
    let mut take = |app: AppRef<'_>, _| match app {
        AppRef::Tls(tls) => found.push(tls.clone()),
        _ => unreachable!("not TLS"),
    };
    for &(direction, bytes) in parts {
        let input = Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false };
        feed = session.feed(input, Timestamp::ZERO, &mut pools);
        session.settle(&mut pools, &mut take);
    }
    session.finish(&mut pools, &mut take);
    (found, feed)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap_or_default()
}

#[test]
fn both_hellos_are_one_transaction_and_the_end() {
    let server = [&[22, 3, 3][..], &vector16(&tls13([5; 32])), &[20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 9]].concat();
    let (found, feed) = run(&[(Forward, &records(&modern(), 16_384)), (Reverse, &server), (Forward, &[0xff; 9])]);
    assert_eq!(feed, Feed::Done);
    let [tls] = &found[..] else { panic!("{found:?}") };
    assert_eq!(text(tls.server_name.as_bytes(&tls.memory)), "Www.Example.ORG");
    assert_eq!(tls.alpn.iter(&tls.memory).map(text).collect::<Vec<_>>(), ["h2", "http/1.1"]);
    assert_eq!((tls.client_version, tls.version, tls.cipher_suite), (Some(0x0303), Some(0x0304), Some(0x1301)));
    // The example of the JA4 specification.
    assert_eq!(text(tls.ja4.as_bytes()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    // MD5 of "771,4865,51-43".
    assert_eq!(hex(tls.ja3s.as_bytes()), "eb1d94daa7e0344597e756a1fb6e7054");
    assert_eq!(tls.alert, None);
}

#[test]
fn ja3_of_its_authors() {
    let mut extensions = server_name(b"a.bc");
    extensions.extend(extension(10, &vector16(&numbers(&[23, 24, 25]))));
    extensions.extend(extension(11, &vector8(&[0])));
    let suites = [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
    let hello = client_hello(0x0301, &suites, Some(&extensions));
    // 769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0
    assert_eq!(hex(run(&[(Forward, &records(&hello, 999))]).0[0].ja3.as_bytes()), "ada70206e40642a3e4461f35503241d5");
    let hello = client_hello(0x0301, &[4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99], None);
    let (found, _) = run(&[(Forward, &records(&hello, 999))]);
    // 769,4-5-10-9-100-98-3-6-19-18-99,,,
    assert_eq!(hex(found[0].ja3.as_bytes()), "de350869b8c85de67a350c8d186f11e6");
    assert_eq!(text(found[0].ja4.as_bytes()).get(..10), Some("t10i110000"));
    assert!(text(found[0].ja4.as_bytes()).ends_with("_000000000000"));
}

#[test]
fn a_hello_in_many_records_is_the_same_hello() {
    let whole = run(&[(Forward, &records(&modern(), 16_384))]).0;
    for size in [1, 2, 3, 5, 100] {
        assert_eq!(run(&[(Forward, &records(&modern(), size))]).0, whole, "{size}");
    }
}

#[test]
fn one_side_alone_gives_what_it_says() {
    let (found, feed) = run(&[(Reverse, &records(&server_hello(0x0303, [5; 32], 0xc02f, &[]), 999))]);
    assert_eq!((found[0].version, found[0].cipher_suite), (Some(0x0303), Some(0xc02f)));
    assert_eq!((found[0].client_version, feed), (None, Feed::More));
    // It was not a ClientHello that went the other way, and none is to come.
    let (_, feed) =
        run(&[(Reverse, &records(&server_hello(0x0303, [5; 32], 0xc02f, &[]), 999)), (Forward, &[23, 3, 3, 0, 40])]);
    assert_eq!(feed, Feed::Done);
}

#[test]
fn after_a_retry_request_the_server_hello_counts() {
    let retry = super::hello::RETRY_RANDOM;
    let mut first = records(&server_hello(0x0303, retry, 0x1302, &extension(43, &[3, 4])), 999);
    first.extend([20, 3, 3, 0, 1, 1]); // change_cipher_spec
    let client = records(&modern(), 16_384);
    let (found, feed) = run(&[(Forward, &client), (Reverse, &first)]);
    assert_eq!((found[0].version, found[0].cipher_suite, feed), (Some(0x0304), Some(0x1302), Feed::More));
    let second = records(&tls13([5; 32]), 999);
    let (found, feed) = run(&[(Forward, &client), (Reverse, &first), (Forward, &client), (Reverse, &second)]);
    assert_eq!((found.len(), found[0].cipher_suite, feed), (1, Some(0x1301), Feed::Done));
}

#[test]
fn a_fatal_alert_ends_the_handshake() {
    let warning = [21, 3, 1, 0, 2, 1, 112]; // unrecognized_name
    let fatal = [21, 3, 1, 0, 2, 2, 40]; // handshake_failure
    let client = records(&modern(), 16_384);
    let (found, feed) = run(&[(Forward, &client), (Reverse, &warning)]);
    assert_eq!((found[0].alert, feed), (Some(112), Feed::More));
    let (found, feed) = run(&[(Forward, &client), (Reverse, &warning), (Reverse, &fatal)]);
    assert_eq!((found[0].alert, found[0].version, feed), (Some(40), None, Feed::Done));
}

#[test]
fn a_draft_gives_its_raw_version() {
    // Before draft 22 the ServerHello has neither session nor compression method.
    let mut body = vec![0x7f, 0x12];
    body.extend([5; 32]);
    body.extend([0x13, 0x01]);
    body.extend(vector16(&extension(51, &[0, 29])));
    let (found, _) = run(&[(Reverse, &records(&handshake(2, &body), 999))]);
    assert_eq!((found[0].version, found[0].cipher_suite), (Some(0x7f12), Some(0x1301)));
    // MD5 of "32530,4865,51".
    assert_eq!(found[0].ja3s.as_bytes().len(), 16);
}

#[test]
fn lying_lengths_give_what_came_before_and_no_fingerprint() {
    let mut lying = server_name(b"a.bc");
    lying.extend([0, 16, 0xff, 0xff, 0, 0]); // ALPN of 65535 octets
    let (found, _) = run(&[(Forward, &records(&client_hello(0x0303, &SUITES, Some(&lying)), 999))]);
    assert_eq!(
        (text(found[0].server_name.as_bytes(&found[0].memory)), found[0].client_version),
        ("a.bc", Some(0x0303))
    );
    assert_eq!((found[0].ja3.as_bytes(), found[0].ja4.as_bytes()), (&[][..], &[][..]));
    // A name that goes beyond its own extension leaves the others whole.
    let inner = [extension(0, &[0, 9, 0, 0, 9, b'a']), extension(16, &vector16(b"\x02h2"))].concat();
    let (found, _) = run(&[(Forward, &records(&client_hello(0x0303, &SUITES, Some(&inner)), 999))]);
    assert!(found[0].server_name.is_empty());
    assert_eq!(found[0].alpn.iter(&found[0].memory).map(text).collect::<Vec<_>>(), ["h2"]);
    assert_eq!(found[0].ja3.as_bytes().len(), 16);
}

#[test]
fn every_truncation_of_a_body_is_harmless() {
    let hello = modern();
    for len in 0..hello.len() - 4 {
        let cut = handshake(1, &hello[4..4 + len]);
        let (found, _) = run(&[(Forward, &records(&cut, 16_384))]);
        assert!(found.iter().all(|tls| tls.ja3.as_bytes().is_empty() || len == 32 + 2 + 33 + 34 + 2), "{len}");
    }
}

#[test]
fn a_hello_that_is_too_long_is_given_up() {
    let long = client_hello(0x0303, &SUITES, Some(&extension(21, &[0; 30_000])));
    let (found, _) = run(&[(Forward, &records(&long, 16_384))]);
    assert_eq!(hex(found[0].ja3.as_bytes()).len(), 32);
    let longer = client_hello(0x0303, &SUITES, Some(&extension(21, &[0; 33_000])));
    let parts: Vec<_> = records(&longer, 16_384);
    let parts: Vec<_> = parts.chunks(1400).map(|p| (Forward, p)).collect();
    assert_eq!(run(&parts).0, []);
}

#[test]
fn protocols_with_odd_ends_are_given_in_hexadecimal() {
    let alpn = |name: &[u8]| {
        let hello = client_hello(0x0303, &[47], Some(&extension(16, &vector16(&vector8(name)))));
        let (found, _) = run(&[(Forward, &records(&hello, 999))]);
        text(found[0].ja4.as_bytes()).get(8..10).map(str::to_owned)
    };
    assert_eq!(alpn(b"h").as_deref(), Some("hh"));
    assert_eq!(alpn(&[0xab, b'x', 0xcd]).as_deref(), Some("ad"));
    assert_eq!(alpn(b"").as_deref(), Some("00"));
}

#[test]
fn what_is_not_tls_is_refused() {
    let mut dtls = records(&modern(), 16_384);
    dtls[1..3].copy_from_slice(&[0xfe, 0xfd]);
    let mut certificate = records(&modern(), 16_384);
    certificate[5] = 11;
    let mut short = records(&modern(), 16_384);
    short[6..9].copy_from_slice(&[0, 0, 10]); // a hello of ten octets
    let ssl2 = [0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16, 1, 0, 0x80, 3, 0, 0x80, 7, 0, 0xc0, 6, 0, 0x40, 2, 0, 0x80];
    for junk in [&dtls[..], &certificate, &short, &ssl2, b"\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00", &[22; 99]] {
        assert_eq!(run(&[(Forward, junk)]).0, [], "{junk:02x?}");
    }
}
