// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hand-made certificates, and `x509-parser` as the judge of what they say.

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::app::tls::certificate::read;

/// An element: tag, length, value.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let len = value.len() as u32;
    let length = match len {
        0..=0x7f => vec![len as u8],
        0x80..=0xff => vec![0x81, len as u8],
        _ => vec![0x82, (len >> 8) as u8, len as u8],
    };
    [&[tag][..], &length, value].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

const CN: &[u8] = &[0x55, 4, 3];
const O: &[u8] = &[0x55, 4, 10];
const C: &[u8] = &[0x55, 4, 6];

/// A relative name: type, tag of the string, string.
fn relative(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    tlv(0x31, &sequence(&[tlv(6, kind), tlv(tag, value)]))
}

/// 1.2.840.113549.1.1.11 with NULL: sha256WithRSAEncryption.
fn rsa_with_sha256() -> Vec<u8> {
    sequence(&[tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), tlv(5, &[])])
}

/// A key of RSA with a modulus of so many octets.
fn rsa_key(octets: usize) -> Vec<u8> {
    let key = sequence(&[tlv(2, &[&[0][..], &vec![0x81; octets]].concat()), tlv(2, &[1, 0, 1])]);
    let algorithm = sequence(&[tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), tlv(5, &[])]);
    sequence(&[algorithm, tlv(3, &[&[0][..], &key].concat())])
}

/// What varies in certificates.
#[derive(Clone, Debug)]
struct Made {
    serial: Vec<u8>,
    issuer: Vec<Vec<u8>>,
    not_before: Vec<u8>,
    not_after: Vec<u8>,
    subject: Vec<Vec<u8>>,
    key: Vec<u8>,
    names: Vec<u8>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            serial: vec![0, 0x9a, 0x55], // positive, so a zero in front
            issuer: vec![relative(C, 0x13, b"CZ"), relative(O, 0x0c, b"Weir"), relative(CN, 0x0c, b"Weir CA")],
            not_before: tlv(0x17, b"240229235959Z"),
            not_after: tlv(0x18, b"20991231000000Z"),
            subject: vec![relative(O, 0x0c, b"Weir, a.s."), relative(CN, 0x13, b"www.example.org")],
            key: rsa_key(256),
            names: [
                tlv(0x82, b"www.example.org"),
                tlv(0x87, &[192, 0, 2, 1]),
                tlv(0xa4, &tlv(0x30, &[])), // a directory name
                tlv(0x87, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
                tlv(0x81, b"a@example.org"),
            ]
            .concat(),
        }
    }
}

impl Made {
    fn der(&self) -> Vec<u8> {
        let usage = sequence(&[tlv(6, &[0x55, 0x1d, 15]), tlv(1, &[0xff]), tlv(4, &[3, 2, 5, 0xa0])]); // critical
        let alternative = sequence(&[tlv(6, &[0x55, 0x1d, 17]), tlv(4, &tlv(0x30, &self.names))]);
        let signed = sequence(&[
            tlv(0xa0, &tlv(2, &[2])), // version 3
            tlv(2, &self.serial),
            rsa_with_sha256(),
            sequence(&self.issuer),
            sequence(&[self.not_before.clone(), self.not_after.clone()]),
            sequence(&self.subject),
            self.key.clone(),
            tlv(0xa3, &sequence(&[usage, alternative])),
        ]);
        sequence(&[signed, rsa_with_sha256(), tlv(3, &[&[0][..], &[0x5a; 256]].concat())])
    }

    fn read(&self) -> Tls {
        read_der(&self.der())
    }
}

fn read_der(der: &[u8]) -> Tls {
    let mut tls = Tls::default();
    read(der, &mut tls, &mut Vec::new());
    tls
}

/// A Certificate message with this leaf, and an issuer of so many octets.
pub(super) fn message(leaf: &[u8], issuer: usize) -> Vec<u8> {
    let of = |der: &[u8]| [&(der.len() as u32).to_be_bytes()[1..], der].concat();
    let list = [of(leaf), of(&vec![0x30; issuer])].concat();
    handshake(11, &of(&list))
}

pub(super) fn leaf() -> Vec<u8> {
    Made::default().der()
}

fn names(tls: &Tls) -> Vec<&str> {
    tls.certificate_alternative_names.iter(&tls.memory).map(text).collect()
}

#[test]
fn all_that_is_asked_for_is_read() {
    let tls = Made::default().read();
    let of = |bytes: &'_ [u8]| text(bytes).to_owned();
    let m = &tls.memory;
    assert_eq!(of(tls.certificate_subject.as_bytes(m)), "CN=www.example.org,O=Weir\\, a.s.");
    assert_eq!(of(tls.certificate_issuer.as_bytes(m)), "CN=Weir CA,O=Weir,C=CZ");
    assert_eq!(of(tls.certificate_subject_name.as_bytes(m)), "www.example.org");
    assert_eq!(of(tls.certificate_organization.as_bytes(m)), "Weir, a.s.");
    assert_eq!(of(tls.certificate_issuer_name.as_bytes(m)), "Weir CA");
    assert_eq!(names(&tls), ["www.example.org", "192.0.2.1", "2001:db8::1", "a@example.org"]);
    // 2024-02-29 23:59:59 and 2099-12-31 00:00:00.
    assert_eq!(
        (tls.certificate_not_before.get(), tls.certificate_not_after.get()),
        (Some(1_709_251_199), Some(4_102_358_400))
    );
    assert_eq!(tls.certificate_serial.as_bytes(m), [0x9a, 0x55]);
    assert_eq!(tls.certificate_sha256.as_bytes(m), &Sha256::digest(leaf())[..]);
    assert_eq!(tls.certificate_key_bits, Some(2048));
    assert_eq!(of(tls.certificate_key_algorithm.as_bytes(m)), "1.2.840.113549.1.1.1");
    assert_eq!(of(tls.certificate_signature_algorithm.as_bytes(m)), "1.2.840.113549.1.1.11");
}

#[test]
fn names_are_escaped_and_decoded() {
    let name = |subject: Vec<Vec<u8>>| {
        let tls = Made { subject, ..Made::default() }.read();
        text(tls.certificate_subject.as_bytes(&tls.memory)).to_owned()
    };
    assert_eq!(name(vec![]), "");
    assert_eq!(name(vec![relative(CN, 0x0c, b" #a\0\"<>;+\\b ")]), "CN=\\ #a\\00\\\"\\<\\>\\;\\+\\\\b\\ ");
    assert_eq!(name(vec![relative(CN, 0x0c, b"#a")]), "CN=\\#a");
    // BMPString and UniversalString.
    assert_eq!(name(vec![relative(CN, 0x1e, &[0, b'a', 0x01, 0x0d])]), "CN=a\u{10d}");
    assert_eq!(name(vec![relative(CN, 0x1c, &[0, 0, 0, b'a', 0, 1, 0xf6, 0])]), "CN=a\u{1f600}");
    // Two attributes in one relative name, of which one has no short name.
    let two = tlv(
        0x31,
        &[sequence(&[tlv(6, CN), tlv(12, b"a")]), sequence(&[tlv(6, &[0x2b, 0x81, 0]), tlv(12, b"b")])].concat(),
    );
    assert_eq!(name(vec![relative(C, 0x13, b"CZ"), two]), "CN=a+1.3.128=b,C=CZ");
    // More than are kept: the least specific ones are left out.
    let many: Vec<_> = (0..40_u8).map(|i| relative(CN, 12, &[b'0' + i / 10, b'0' + i % 10])).collect();
    let written = name(many);
    assert!(written.starts_with("CN=39,CN=38,") && written.ends_with(",CN=08"), "{written}");
}

#[test]
fn keys_have_lengths() {
    let bits = |algorithm: &[u8], key: &[u8]| {
        let key = sequence(&[sequence(&[tlv(6, algorithm)]), tlv(3, &[&[0][..], key].concat())]);
        Made { key, ..Made::default() }.read().certificate_key_bits
    };
    let ec = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let point = |first: u8, octets: usize| [&[first][..], &vec![1; octets]].concat();
    assert_eq!(bits(&ec, &point(4, 64)), Some(256));
    assert_eq!(bits(&ec, &point(2, 48)), Some(384));
    assert_eq!(bits(&ec, &point(4, 132)), Some(521));
    assert_eq!(bits(&[0x2b, 0x65, 112], &[1; 32]), Some(256)); // Ed25519
    assert_eq!(bits(&[0x2a, 3], &[1; 32]), None);
    assert_eq!(bits(&ec, &[]), None);
    assert_eq!(Made { key: rsa_key(0), ..Made::default() }.read().certificate_key_bits, None);
    // What follows is read nevertheless.
    assert_eq!(names(&Made { key: tlv(0x30, &[]), ..Made::default() }.read()).len(), 4);
}

#[test]
fn times_are_in_utc_or_not_read() {
    let time = |tag: u8, value: &[u8]| {
        Made { not_before: tlv(tag, value), ..Made::default() }.read().certificate_not_before.get()
    };
    assert_eq!(time(0x17, b"700101000000Z"), Some(0));
    assert_eq!(time(0x17, b"7001010000Z"), Some(0));
    assert_eq!(time(0x17, b"491231235959Z"), Some(2_524_607_999));
    assert_eq!(time(0x17, b"500101000000Z"), Some(-631_152_000));
    assert_eq!(time(0x18, b"99991231235959Z"), Some(253_402_300_799));
    assert_eq!(time(0x18, b"00000101000000Z"), Some(-62_167_219_200));
    let odd: [&[u8]; 7] =
        [b"240101000000", b"240101000000+0100", b"241301000000Z", b"24010100000xZ", b"Z", b"", b"2401010000000Z"];
    for odd in odd {
        assert_eq!(time(0x17, odd), None, "{}", odd.escape_ascii());
    }
}

#[test]
fn every_truncation_gives_what_came_before() {
    let der = leaf();
    // The outer lengths follow, so that only what is within is cut.
    for len in 0..der.len() {
        let tls = read_der(&der[..len]);
        assert_eq!((tls.certificate_sha256.as_bytes(&tls.memory).len(), tls.certificate_key_bits), (0, None));
    }
    // A public key in place of a certificate (RFC 7250).
    let tls = read_der(&rsa_key(256));
    assert!(tls.certificate_sha256.as_bytes(&tls.memory).is_empty());
    // A length that lies, with junk behind: only what is declared counts.
    let mut junk = der.clone();
    junk.extend([0xff; 9]);
    assert_eq!(names(&read_der(&junk)).len(), 4);
}

#[test]
fn the_certificate_comes_after_the_server_hello() {
    let client = records(&modern(), 16_384);
    let hello = server_hello(0x0303, [5; 32], 0xc02f, &[]);
    // The issuer is larger than what is kept; nobody waits for it.
    let flight = [&hello[..], &message(&leaf(), 60_000), &handshake(14, &[])].concat();
    let whole = [&records(&hello, 999), &records(&message(&leaf(), 9), 16_384)[..]].concat();
    let (expected, feed) = run(&[(Forward, &client), (Reverse, &whole)]);
    assert_eq!((names(&expected[0]).len(), expected[0].resumption, feed), (4, Some(0), Feed::More));
    for size in [1, 3, 100, 16_384] {
        let server = records(&flight, size);
        let (found, feed) = run(&[(Forward, &client), (Reverse, &server)]);
        assert_eq!((&found, feed), (&expected, Feed::More), "{size}");
        for piece in [1, 7, 1400] {
            let mut parts = vec![(Forward, &client[..])];
            parts.extend(server.chunks(piece).map(|piece| (Reverse, piece)));
            assert_eq!(run(&parts).0, expected, "{size} {piece}");
        }
    }
    // Data for the application in front of it (RFC 4680).
    let supplemental = [&hello[..], &handshake(23, &[0; 50]), &message(&leaf(), 9)].concat();
    assert_eq!(run(&[(Forward, &client), (Reverse, &records(&supplemental, 99))]).0, expected);
    // In TLS 1.3 what comes then is encrypted, whatever it looks like.
    let hidden = [&records(&tls13([5; 32]), 999), &whole[..]].concat();
    assert_eq!(names(&run(&[(Forward, &client), (Reverse, &hidden)]).0[0]).len(), 0);
}

/// A certificate that differs from the server's.
pub(super) fn of_client() -> Vec<u8> {
    Made {
        serial: vec![0x17],
        subject: vec![relative(O, 0x0c, b"Weir"), relative(CN, 0x0c, b"alice")],
        issuer: vec![relative(CN, 0x0c, b"Weir Users")],
        ..Made::default()
    }
    .der()
}

/// What is told of the client's certificate: subject, issuer, serial number, digest.
pub(super) fn told_of_client(tls: &Tls) -> [String; 4] {
    let m = &tls.memory;
    [
        text(tls.client_certificate_subject.as_bytes(m)).to_owned(),
        text(tls.client_certificate_issuer.as_bytes(m)).to_owned(),
        hex(tls.client_certificate_serial.as_bytes(m)),
        hex(tls.client_certificate_sha256.as_bytes(m)),
    ]
}

pub(super) fn of_alice() -> [String; 4] {
    ["CN=alice,O=Weir".into(), "CN=Weir Users".into(), "17".into(), hex(&Sha256::digest(of_client()))]
}

const NONE: [String; 4] = [String::new(), String::new(), String::new(), String::new()];

/// Hello, Certificate, CertificateRequest, ServerHelloDone.
fn asking() -> Vec<u8> {
    let hello = server_hello(0x0303, [5; 32], 0xc02f, &[]);
    let flight = [&hello[..], &message(&leaf(), 9), &handshake(13, &[1, 1, 0, 0, 0, 0]), &handshake(14, &[])].concat();
    records(&flight, 16_384)
}

#[test]
fn the_certificate_of_the_client_comes_after_that_of_the_server() {
    let (client, server) = (records(&modern(), 16_384), asking());
    let exchange = handshake(16, &[7; 66]);
    let answer = [&message(&of_client(), 40_000)[..], &exchange].concat();
    for size in [1, 100, 16_384] {
        let answer = records(&answer, size);
        let (found, feed) = run(&[(Forward, &client), (Reverse, &server), (Forward, &answer)]);
        let [tls] = &found[..] else { panic!("{found:?}") };
        assert_eq!((told_of_client(tls), names(tls).len(), feed), (of_alice(), 4, Feed::Done), "{size}");
        for piece in [1, 50] {
            let mut parts = vec![(Forward, &client[..]), (Reverse, &server[..])];
            parts.extend(answer.chunks(piece).map(|piece| (Forward, piece)));
            assert_eq!(run(&parts), (found.clone(), Feed::Done), "{size} {piece}");
        }
    }
    // None is asked for; none fits, so that the list is empty; what lies; a session that is resumed; a refusal.
    let lying = handshake(11, &[0, 0, 9, 0, 0, 4, 1, 2, 3, 4]);
    let empty = handshake(11, &[0, 0, 0]);
    let refusal = [21, 3, 3, 0, 2, 2, 42];
    let change = [20, 3, 3, 0, 1, 1];
    for answer in [&records(&exchange, 999)[..], &records(&empty, 999), &records(&lying, 999), &refusal, &change] {
        let (found, feed) = run(&[(Forward, &client), (Reverse, &server), (Forward, answer)]);
        assert_eq!((found.len(), told_of_client(&found[0]), feed), (1, NONE, Feed::Done), "{answer:02x?}");
        assert_eq!(found[0].alert, (answer == refusal).then_some(42));
        assert_eq!(names(&found[0]).len(), 4);
    }
    // The end of a truncated one is left out.
    let mut cut = of_client();
    cut.truncate(40);
    let answer = records(&message(&cut, 9), 999);
    let (found, feed) = run(&[(Forward, &client), (Reverse, &server), (Forward, &answer)]);
    assert_eq!((told_of_client(&found[0]), feed), (NONE, Feed::Done));
}

#[test]
fn a_certificate_that_lies_is_left_out() {
    let client = records(&modern(), 16_384);
    let hello = server_hello(0x0303, [5; 32], 0xc02f, &[]);
    let lies: [&[u8]; 6] = [
        &[],
        &[0, 0, 0],                      // an empty list, as clients without a certificate send it
        &[0, 0, 9, 0, 0, 4, 1, 2, 3, 4], // a list longer than the message
        &[0, 0, 7, 0, 0, 9, 1, 2, 3, 4], // a certificate longer than the list
        &[0, 0, 3, 0, 0, 0],             // a certificate of no octets
        &[0, 0, 7, 0, 0, 4, 0x30, 0x80, 3, 4],
    ];
    for lie in lies {
        let server = records(&[&hello[..], &handshake(11, lie), &handshake(14, &[])].concat(), 16_384);
        let (found, feed) = run(&[(Forward, &client), (Reverse, &server)]);
        assert_eq!((found[0].version, found[0].resumption, feed), (Some(0x0303), Some(0), Feed::More), "{lie:?}");
        assert!(found[0].certificate_sha256.as_bytes(&found[0].memory).is_empty());
    }
    // Larger than what is kept.
    let large = records(&[&hello[..], &message(&vec![0x30; 40_000], 0)].concat(), 16_384);
    let (found, feed) = run(&[(Forward, &client), (Reverse, &large)]);
    assert_eq!((found[0].version, feed), (Some(0x0303), Feed::More));
}

fn text_of(tag: u8) -> impl Strategy<Value = (u8, Vec<u8>)> {
    "[a-zA-Z0-9 .*-]{0,20}".prop_map(move |text| (tag, text.into_bytes()))
}

fn made() -> impl Strategy<Value = Made> {
    let name = || {
        let part = (prop::sample::select(vec![CN, O, C]), prop_oneof![text_of(0x0c), text_of(0x13)]);
        prop::collection::vec(part.prop_map(|(kind, (tag, text))| relative(kind, tag, &text)), 0..4)
    };
    let names = prop::collection::vec(
        prop_oneof![
            text_of(0x82).prop_map(|(tag, text)| tlv(tag, &text)),
            any::<[u8; 4]>().prop_map(|address| tlv(0x87, &address)),
        ],
        1..5,
    );
    let time = (0_u32..100, 1_u32..13, 1_u32..29, 0_u32..24, 0_u32..60).prop_map(|(year, month, day, hour, minute)| {
        tlv(0x17, format!("{year:02}{month:02}{day:02}{hour:02}{minute:02}07Z").as_bytes())
    });
    (prop::collection::vec(1_u8..0x80, 1..20), name(), (time.clone(), time), name(), 64_usize..600, names).prop_map(
        |(serial, issuer, (not_before, not_after), subject, key, names)| Made {
            serial,
            issuer,
            not_before,
            not_after,
            subject,
            key: rsa_key(key),
            names: names.concat(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Where `x509-parser` reads a certificate, both read the same.
    #[test]
    fn x509_parser_says_the_same(made in made(), damage in any::<Option<(prop::sample::Index, u8)>>()) {
        let mut der = made.der();
        let is_whole = damage.is_none();
        if let Some((at, bits)) = damage {
            let at = at.index(der.len());
            der[at] ^= bits;
        }
        let tls = read_der(&der);
        let parsed = X509Certificate::from_der(&der);
        prop_assert!(parsed.is_ok() || !is_whole);
        // An unusual tag or name is a matter of opinion; what is whole is none.
        if let (true, Ok((_, theirs))) = (is_whole, parsed) {
            let last = |attributes: Vec<&[u8]>| attributes.last().map_or(Vec::new(), |value| value.to_vec());
            let m = &tls.memory;
            let subject = theirs.subject();
            prop_assert_eq!(
                tls.certificate_subject_name.as_bytes(m),
                last(subject.iter_common_name().map(|a| a.as_slice()).collect())
            );
            prop_assert_eq!(
                tls.certificate_organization.as_bytes(m),
                last(subject.iter_organization().map(|a| a.as_slice()).collect())
            );
            prop_assert_eq!(
                tls.certificate_issuer_name.as_bytes(m),
                last(theirs.issuer().iter_common_name().map(|a| a.as_slice()).collect())
            );
            prop_assert_eq!(tls.certificate_serial.as_bytes(m), theirs.raw_serial());
            prop_assert_eq!(tls.certificate_not_before.get(), Some(theirs.validity().not_before.timestamp()));
            prop_assert_eq!(tls.certificate_not_after.get(), Some(theirs.validity().not_after.timestamp()));
            prop_assert_eq!(
                text(tls.certificate_signature_algorithm.as_bytes(m)),
                theirs.signature_algorithm.algorithm.to_id_string()
            );
            let alternative = theirs.subject_alternative_name();
            let expected: Vec<_> = alternative.iter().flatten().flat_map(|names| &names.value.general_names).map(|name| match name {
                GeneralName::DNSName(name) => (*name).to_owned(),
                GeneralName::IPAddress(octets) => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(*octets).unwrap()).to_string(),
                other => format!("{other:?}"),
            }).filter(|name| !name.is_empty()).collect();
            prop_assert_eq!(names(&tls), expected);
        }
    }

    #[test]
    fn octets_at_random_do_no_harm(octets in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..900) {
        read_der(&octets);
        let mut der = leaf();
        let at = at.min(der.len());
        der.splice(at..(at + octets.len()).min(der.len()), octets);
        read_der(&der);
    }
}
