// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made handshakes, with fingerprints that their authors published.

mod certificate;
mod dtls;

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
    server_hello_of(version, random, &[], suite, extensions)
}

fn server_hello_of(version: u16, random: [u8; 32], session: &[u8], suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend(random);
    body.extend(vector8(session));
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
    run_on(Transport::Stream, parts)
}

fn run_on(transport: Transport, parts: &[(Direction, &[u8])]) -> (Vec<Tls>, Feed) {
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
        let input = Input { bytes, direction, transport, hinted: false, snapped: false };
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
    assert_eq!((tls.alert, tls.resumption, tls.ech, tls.hello_retry), (None, Some(0), None, None));
    assert_eq!(tls.client_versions.iter(&tls.memory).collect::<Vec<_>>(), [0x0304, 0x0303]);
    assert_eq!(tls.cipher_suites.as_bytes(&tls.memory), numbers(&SUITES));
    assert_eq!(tls.groups.as_bytes(&tls.memory), numbers(&[0x3a3a, 29, 23, 24]));
    assert_eq!(tls.point_formats.as_bytes(&tls.memory), [0]);
    let types = tls.extension_types.as_bytes(&tls.memory);
    let lengths = tls.extension_lengths.as_bytes(&tls.memory);
    assert_eq!((types.len(), lengths.len()), (2 * 18, 2 * 18));
    // A reserved one without data, then the name.
    assert_eq!((&types[..4], &lengths[..4]), (&[0x2a, 0x2a, 0, 0][..], &[0, 0, 0, 20][..]));
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
fn ja3s_that_others_published() {
    let ja3s = |version, suite, kinds: &[u16]| {
        let extensions: Vec<_> = kinds.iter().flat_map(|&kind| extension(kind, &[])).collect();
        let (found, _) = run(&[(Reverse, &records(&server_hello(version, [5; 32], suite, &extensions), 999))]);
        hex(found[0].ja3s.as_bytes())
    };
    // 769,49172,65281-11 and 771,60,65281: of two command and control servers, in the README of JA3.
    assert_eq!(ja3s(0x0301, 49172, &[65281, 11]), "623de93db17d313345d7ea481e7443cf");
    assert_eq!(ja3s(0x0303, 60, &[65281]), "80b3a14bccc8598a1f3bbe83e71f735f");
}

/// What the authors of JA4 give for a capture of Chrome over QUIC:
/// `q13d0310h3_1301,1302,1303_000a,000d,001b,002b,002d,0033,0039,4469_0403,0804,0401,0503,0805,0501,0806,0601,0201`.
#[test]
fn ja4_of_other_carriers() {
    use super::{
        fingerprint::{Carrier, Scratch},
        hello::read_client_of,
    };
    let mut extensions = server_name(b"a.bc");
    for kind in [0x000a, 0x001b, 0x002d, 0x0033, 0x0039, 0x4469, 0x7a7a] {
        extensions.extend(extension(kind, &[]));
    }
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201];
    extensions.extend(extension(13, &vector16(&numbers(&signatures))));
    extensions.extend(extension(16, &vector16(&vector8(b"h3"))));
    extensions.extend(extension(43, &vector8(&numbers(&[0x0304]))));
    let hello = client_hello(0x0303, &[0x1301, 0x1302, 0x1303], Some(&extensions));
    let mut scratch = Scratch::default();
    for (carrier, character) in [(Carrier::Tcp, 't'), (Carrier::Quic, 'q'), (Carrier::Tcp, 't')] {
        let mut tls = Tls::default();
        read_client_of(carrier, &hello[4..], &mut tls, &mut scratch);
        assert_eq!(text(tls.ja4.as_bytes()), format!("{character}13d0310h3_55b375c5d22e_cd85d2d88918"));
    }
}

#[test]
fn one_side_alone_gives_what_it_says() {
    let hello = records(&server_hello(0x0303, [5; 32], 0xc02f, &[]), 999);
    let (found, feed) = run(&[(Reverse, &hello)]);
    assert_eq!((found[0].version, found[0].cipher_suite), (Some(0x0303), Some(0xc02f)));
    assert_eq!((found[0].client_version, found[0].resumption, feed), (None, None, Feed::More));
    // It was not a ClientHello that went the other way, and none is to come; nor is a certificate.
    let data = [23, 3, 3, 0, 40];
    let (_, feed) = run(&[(Reverse, &hello), (Forward, &data), (Reverse, &data)]);
    assert_eq!(feed, Feed::Done);
}

#[test]
fn a_second_hello_is_a_second_transaction() {
    let retry = super::hello::RETRY_RANDOM;
    let mut first = records(&server_hello(0x0303, retry, 0x1302, &extension(43, &[3, 4])), 999);
    first.extend([20, 3, 3, 0, 1, 1]); // change_cipher_spec
    let client = records(&modern(), 16_384);
    let (found, feed) = run(&[(Forward, &client), (Reverse, &first)]);
    assert_eq!((found[0].version, found[0].cipher_suite, feed), (Some(0x0304), Some(0x1302), Feed::More));
    assert_eq!((found[0].hello_retry, found[0].resumption), (Some(1), None));
    let second = records(&tls13([5; 32]), 999);
    // The request of the server shaped it: another extension.
    let shaped = client_hello(0x0303, &SUITES[..3], Some(&extension(44, &[0, 1, 2])));
    let shaped = [&[20, 3, 3, 0, 1, 1][..], &records(&shaped, 200)].concat();
    let (found, feed) = run(&[(Forward, &client), (Reverse, &first), (Forward, &shaped), (Reverse, &second)]);
    let [before, after] = &found[..] else { panic!("{found:?}") };
    assert_eq!((before.cipher_suite, before.hello_retry, feed), (Some(0x1302), Some(1), Feed::Done));
    assert_eq!((after.cipher_suite, after.hello_retry, after.resumption), (Some(0x1301), None, Some(0)));
    let ja3s = |tls: &Tls| tls.ja3s.clone();
    assert_eq!((ja3s(before) == ja3s(after), before.ja4 == after.ja4), (false, false));
    // It was not captured: what the server says at last counts.
    let (found, feed) = run(&[(Forward, &client), (Reverse, &first), (Reverse, &second)]);
    assert_eq!((found.len(), found[0].cipher_suite, feed), (1, Some(0x1301), Feed::Done));
}

#[test]
fn a_second_hello_comes_after_early_data() {
    let early = [extension(42, &[]), extension(41, &[0; 9])].concat();
    let hello = records(&client_hello(0x0303, &SUITES, Some(&early)), 16_384);
    let data = [&[23, 3, 3][..], &vector16(&[9; 700])].concat();
    let forward = [&hello[..], &[20, 3, 3, 0, 1, 1], &data, &data].concat();
    let retry = records(&server_hello(0x0303, super::hello::RETRY_RANDOM, 0x1302, &extension(43, &[3, 4])), 999);
    let again = records(&modern(), 16_384);
    let server = records(&tls13([5; 32]), 999);
    let (found, feed) = run(&[(Forward, &forward), (Reverse, &retry), (Forward, &again), (Reverse, &server)]);
    assert_eq!((found.len(), feed), (2, Feed::Done));
    assert_eq!(text(found[1].ja4.as_bytes()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    // Without an offer of early data, what is encrypted says that no hello follows.
    let hello = records(&modern(), 16_384);
    let (found, _) = run(&[(Forward, &hello), (Forward, &data), (Forward, &again)]);
    assert_eq!(found.len(), 1);
}

#[test]
fn resumption_is_told_by_what_the_server_says() {
    let resumption = |client: &[u8], server: &[u8], behind: &[u8]| {
        let server = [&records(server, 999), behind].concat();
        let (found, feed) = run(&[(Forward, &records(client, 999)), (Reverse, &server)]);
        // Where the server has shown a certificate, the client may have to as well.
        let is_asked = (found[0].version, found[0].resumption) == (Some(0x0303), Some(0));
        assert_eq!((found.len(), feed), (1, if is_asked { Feed::More } else { Feed::Done }));
        found[0].resumption
    };
    let plain = client_hello(0x0303, &SUITES, Some(&server_name(b"a.bc")));
    let ticket = client_hello(0x0303, &SUITES, Some(&extension(35, &[7; 40])));
    let no_ticket = client_hello(0x0303, &SUITES, Some(&extension(35, &[])));
    let echo = server_hello_of(0x0303, [5; 32], &[9; 32], 0xc02f, &[]);
    let other = server_hello_of(0x0303, [5; 32], &[8; 32], 0xc02f, &[]);
    let none = server_hello(0x0303, [5; 32], 0xc02f, &[]);
    let change = [20, 3, 3, 0, 1, 1];
    let done = records(&handshake(14, &[]), 9); // ServerHelloDone
    let new_ticket = records(&handshake(4, &[0; 10]), 99); // NewSessionTicket
    assert_eq!(resumption(&plain, &echo, &[]), Some(1));
    assert_eq!(resumption(&no_ticket, &echo, &[]), Some(1));
    assert_eq!(resumption(&ticket, &echo, &[]), Some(2));
    assert_eq!(resumption(&ticket, &none, &change), Some(2));
    assert_eq!(resumption(&ticket, &none, &new_ticket), Some(2));
    assert_eq!(resumption(&ticket, &other, &done), Some(0));
    assert_eq!(resumption(&plain, &none, &done), Some(0));
    let chosen = |kinds: &[u8]| server_hello_of(0x0303, [5; 32], &[9; 32], 0x1301, kinds);
    let psk = chosen(&[extension(43, &[3, 4]), extension(41, &[0, 0])].concat());
    assert_eq!(resumption(&plain, &psk, &[]), Some(3));
    assert_eq!(resumption(&plain, &chosen(&extension(43, &[3, 4])), &[]), Some(0));
}

#[test]
fn what_is_chosen_and_what_is_hidden() {
    let chosen = extension(16, &vector16(&vector8(b"h2")));
    let (found, _) = run(&[(Reverse, &records(&server_hello(0x0303, [5; 32], 0xc02f, &chosen), 999))]);
    assert_eq!(found[0].alpn_chosen.as_bytes(&found[0].memory), b"h2");
    let ech = |kind| {
        let hello = client_hello(0x0303, &SUITES, Some(&extension(kind, &[0; 9])));
        run(&[(Forward, &records(&hello, 999))]).0[0].ech
    };
    assert_eq!([0xfe0d, 0xffce, 0xff01].map(ech), [Some(1), Some(2), None]);
}

#[test]
fn a_gap_loses_the_side_that_has_it() {
    let mut session = Session::default();
    let mut pools = Pools::default();
    session.begin([40_000, 4000]);
    let mut feed = |session: &mut Session, direction, bytes: &[u8]| {
        let input = Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false };
        let feed = session.feed(input, Timestamp::ZERO, &mut pools);
        if feed == Feed::More && direction == Forward {
            session.gap(Forward, 9, &mut pools);
        }
        feed
    };
    assert_eq!(feed(&mut session, Forward, &records(&modern(), 16_384)), Feed::More);
    assert_eq!(feed(&mut session, Forward, &[1, 2, 3]), Feed::More);
    assert_eq!(feed(&mut session, Reverse, &records(&tls13([5; 32]), 16_384)), Feed::Done);
}

#[test]
fn a_server_that_knows_no_tls_is_recognised() {
    let mut session = Session::default();
    let mut pools = Pools::default();
    session.begin([40_000, 4000]);
    let mut slugs = Vec::new();
    let client = records(&modern(), 16_384);
    let server = b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n";
    for (direction, bytes) in [(Forward, &client[..]), (Reverse, server)] {
        let input = Input { bytes, direction, transport: Transport::Stream, hinted: false, snapped: false };
        session.feed(input, Timestamp::ZERO, &mut pools);
        session.settle(&mut pools, &mut |app, _| slugs.push(app.slug()));
    }
    session.finish(&mut pools, &mut |app, _| slugs.push(app.slug()));
    assert_eq!(slugs, ["tls", "http"]);
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
