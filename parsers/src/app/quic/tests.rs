// SPDX-License-Identifier: MIT OR Apache-2.0
//! The samples of the RFCs, and packets made by hand, with the protection put on by the tests.

use proptest::prelude::*;
use weir_flow::{
    Timestamp,
    app::{AppFields, Fields, Quic},
};

use super::{
    super::{Direction, Feed, Input, Parser as _, Pools, Probe, Session, Transport},
    Parser,
    frames::MAX_MESSAGE,
    header,
    keys::Keys,
    samples,
};
use Direction::{Forward, Reverse};

const CLIENT: [u8; 5] = *b"klien";
const CHOSEN: [u8; 8] = *b"original";
const SERVER: [u8; 6] = *b"server";

const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;
const DRAFT_29: u32 = 0xff00_001d;

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// An integer of variable length, in four octets.
fn variable(number: usize) -> [u8; 4] {
    (number as u32 | 0x8000_0000).to_be_bytes()
}

fn vector8(octets: &[u8]) -> Vec<u8> {
    [&[octets.len() as u8][..], octets].concat()
}

fn vector16(octets: &[u8]) -> Vec<u8> {
    [&(octets.len() as u16).to_be_bytes()[..], octets].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = (body.len() as u32).to_be_bytes();
    [&[kind][..], &len, body].concat()
}

/// A ClientHello with so many octets in an extension that nobody knows.
fn client_hello(more: usize) -> Vec<u8> {
    let agent = b"Chrome/130.0 test";
    let mut parameters = vec![0x01, 2, 0x67, 0x10]; // max_idle_timeout 10000
    parameters.extend([0x71, 0x29]); // user_agent
    parameters.extend(vector8(agent));
    parameters.extend([0x0f, 0]); // initial_source_connection_id, empty
    let extensions = [
        extension(0, &vector16(&[&[0][..], &vector16(b"quic.example.org")].concat())), // server_name
        extension(0x2345, &vec![0xee; more]),
        extension(16, &vector16(b"\x02h3\x05h3-29")), // application_layer_protocol_negotiation
        extension(43, &vector8(&[3, 4])),             // supported_versions
        extension(13, &vector16(&[4, 3])),            // signature_algorithms
        extension(0x39, &parameters),
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend(vector16(&[0x13, 1, 0x13, 2]));
    body.extend([1, 0]); // no compression
    body.extend(vector16(&extensions));
    handshake(1, &body)
}

fn server_hello(more: usize) -> Vec<u8> {
    let extensions = [extension(43, &[3, 4]), extension(51, &vec![0; more])].concat();
    let mut body = vec![3, 3];
    body.extend([5; 32]); // random
    body.push(0); // no session
    body.extend([0x13, 2, 0]);
    body.extend(vector16(&extensions));
    handshake(2, &body)
}

fn crypto(offset: usize, octets: &[u8]) -> Vec<u8> {
    [&[6][..], &variable(offset), &variable(octets.len()), octets].concat()
}

/// An Initial packet that is to be made.
#[derive(Clone)]
struct Initial {
    is_client: bool,
    version: u32,
    /// What the keys are made of.
    cid: Vec<u8>,
    destination: Vec<u8>,
    source: Vec<u8>,
    token: Vec<u8>,
    number: u32,
    text: Vec<u8>,
}

impl Initial {
    fn of_client(text: Vec<u8>) -> Self {
        Self {
            is_client: true,
            version: V1,
            cid: CHOSEN.to_vec(),
            destination: CHOSEN.to_vec(),
            source: CLIENT.to_vec(),
            token: Vec::new(),
            number: 3,
            text,
        }
    }

    fn of_server(text: Vec<u8>) -> Self {
        let (destination, source) = (CLIENT.to_vec(), SERVER.to_vec());
        Self { is_client: false, destination, source, ..Self::of_client(text) }
    }

    /// The packet, padded by frames so that it has `size` octets at least.
    fn packet(&self, size: usize) -> Vec<u8> {
        let rules = header::rules(self.version).unwrap();
        let mut header = vec![if rules.is_second { 0xd1 } else { 0xc1 }]; // Initial, packet number of two octets
        header.extend(self.version.to_be_bytes());
        header.extend([vector8(&self.destination), vector8(&self.source)].concat());
        header.extend(variable(self.token.len()));
        header.extend(&self.token);
        let mut text = self.text.clone();
        text.resize(text.len().max(size.saturating_sub(header.len() + 4 + 2 + 16)), 0);
        header.extend(variable(2 + text.len() + 16));
        let keys = if self.is_client { Keys::of_client(&rules, &self.cid) } else { Keys::of_server(&rules, &self.cid) };
        keys.protect(&header, self.number, &text)
    }

    fn datagram(&self) -> Vec<u8> {
        self.packet(1200)
    }
}

/// A packet whose content nobody can read: of these type bits, with a long header.
fn opaque(first: u8, destination: &[u8], source: &[u8], len: usize) -> Vec<u8> {
    let header = [&[first, 0, 0, 0, 1][..], &vector8(destination), &vector8(source), &variable(len)].concat();
    [header, vec![0xaa; len]].concat()
}

fn zero_rtt() -> Vec<u8> {
    opaque(0xd0, &CHOSEN, &CLIENT, 60)
}

/// The hello of `message` in pieces of `size` octets, each in a datagram of its own.
fn in_datagrams(initial: &Initial, message: &[u8], size: usize) -> Vec<Vec<u8>> {
    let pieces = message.chunks(size).enumerate();
    pieces
        .map(|(nth, piece)| {
            Initial { text: crypto(nth * size, piece), number: nth as u32, ..initial.clone() }.datagram()
        })
        .collect()
}

struct Flow {
    session: Session,
    pools: Pools,
    closed: Vec<Quic>,
    feed: Feed,
}

impl Flow {
    fn new() -> Self {
        let mut session = Session::default();
        session.begin([40_000, 443]);
        Self { session, pools: Pools::default(), closed: Vec::new(), feed: Feed::More }
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8], snapped: bool) {
        let input = Input { bytes, direction, transport: Transport::Datagram, hinted: false, snapped };
        self.feed = self.session.feed(input, Timestamp::ZERO, &mut self.pools);
        self.session.settle(&mut self.pools, &mut |app, _| take(app.to_owned(), &mut self.closed));
    }

    fn finish(mut self) -> (Vec<Quic>, Feed) {
        self.session.finish(&mut self.pools, &mut |app, _| take(app.to_owned(), &mut self.closed));
        (self.closed, self.feed)
    }
}

fn take(app: AppFields, closed: &mut Vec<Quic>) {
    if let AppFields::Quic(quic) = app {
        closed.push(*quic);
    }
}

fn run<T: AsRef<[u8]>>(datagrams: &[(Direction, T)]) -> (Vec<Quic>, Feed) {
    let mut flow = Flow::new();
    for (direction, bytes) in datagrams {
        flow.feed(*direction, bytes.as_ref(), false);
    }
    flow.finish()
}

/// The one transaction of a flow that is over.
fn whole<T: AsRef<[u8]>>(datagrams: &[(Direction, T)]) -> Quic {
    let (found, feed) = run(datagrams);
    assert_eq!(feed, Feed::Done);
    one(found)
}

fn one(mut found: Vec<Quic>) -> Quic {
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn name(quic: &Quic) -> &str {
    std::str::from_utf8(quic.server_name.as_bytes(&quic.memory)).unwrap()
}

fn probe(bytes: &[u8], hinted: bool) -> Probe {
    Parser::probe(Input { bytes, direction: Forward, transport: Transport::Datagram, hinted, snapped: false })
}

#[test]
fn samples_of_rfc_9001_and_rfc_9369() {
    for (version, client, server) in
        [(V1, samples::CLIENT_1, samples::SERVER_1), (V2, samples::CLIENT_2, samples::SERVER_2)]
    {
        let quic = whole(&[(Forward, unhex(client)), (Reverse, unhex(server))]);
        let m = &quic.memory;
        assert_eq!(name(&quic), "example.com");
        assert_eq!(
            (quic.version, quic.client_version, quic.server_version),
            (Some(version), Some(version), Some(version))
        );
        assert_eq!(quic.alpn.iter(m).collect::<Vec<_>>(), [b"alpn"]);
        assert_eq!((quic.cipher_suite, quic.hello_read, quic.token_length), (Some(0x1301), Some(1), None));
        assert_eq!(hex(quic.original_cid.as_bytes(m)), "8394c8f03e515708");
        assert_eq!(
            (hex(quic.server_cid.as_bytes(m)), hex(quic.client_cid.as_bytes(m))),
            ("f067a5502a4262b5".into(), String::new())
        );
        // 771,4865-4866,0-65281-10-16-5-51-43-13-45-28-57,29-23-24,
        assert_eq!(hex(quic.ja3.as_bytes(m)), "41bc9ae914d6cb3bd0bd0a5453ab7d7f");
        assert_eq!(quic.ja4.as_bytes(m).escape_ascii().to_string(), "q13d0211an_62ed6f6ca7ad_4d634acda6c0");
        // 771,4865,51-43
        assert_eq!(hex(quic.ja3s.as_bytes(m)), "eb1d94daa7e0344597e756a1fb6e7054");
        assert_eq!(quic.packets.iter(m).collect::<Vec<_>>(), [0x81, 0x81]);
        assert_eq!(quic.extensions.iter(m).collect::<Vec<_>>(), [0, 65281, 10, 16, 5, 51, 43, 13, 45, 28, 57]);
        assert_eq!(quic.extension_lengths.iter(m).collect::<Vec<_>>(), [16, 1, 8, 7, 5, 38, 3, 16, 2, 2, 50]);
    }
}

#[test]
fn retries_of_the_rfcs_give_the_identifier_of_the_keys_that_follow() {
    for (version, client, retry) in
        [(V1, samples::CLIENT_1, samples::RETRY_1), (V2, samples::CLIENT_2, samples::RETRY_2)]
    {
        let retried = unhex("f067a5502a4262b5");
        let again = Initial {
            version,
            cid: retried.clone(),
            destination: retried.clone(),
            source: Vec::new(),
            token: b"token".to_vec(),
            ..Initial::of_client(crypto(0, &client_hello(9)))
        };
        let answer = Initial {
            version,
            cid: retried.clone(),
            destination: Vec::new(),
            ..Initial::of_server(crypto(0, &server_hello(4)))
        };
        let quic = whole(&[
            (Forward, unhex(client)),
            (Reverse, unhex(retry)),
            (Forward, again.datagram()),
            (Reverse, answer.packet(0)),
        ]);
        let m = &quic.memory;
        assert_eq!((name(&quic), quic.token_length, quic.cipher_suite), ("example.com", Some(5), Some(0x1302)));
        assert_eq!((quic.retry_cid.as_bytes(m), quic.server_cid.as_bytes(m)), (&retried[..], &SERVER[..]));
        assert_eq!(quic.packets.iter(m).collect::<Vec<_>>(), [0x81, 0x88, 0x81, 0x81]);
    }
}

#[test]
fn a_hello_over_datagrams_is_the_same_in_any_order() {
    let message = client_hello(3000);
    let datagrams = in_datagrams(&Initial::of_client(Vec::new()), &message, 1100);
    let expected = one(run(&[(Forward, Initial::of_client(crypto(0, &message)).packet(0))]).0);
    assert_eq!((name(&expected), expected.hello_read), ("quic.example.org", Some(1)));
    assert_eq!(expected.user_agent.as_bytes(&expected.memory), b"Chrome/130.0 test");
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let quic = one(run(&order.map(|nth| (Forward, &datagrams[nth]))).0);
        assert_eq!(
            (quic.ja4.as_bytes(&quic.memory), name(&quic)),
            (expected.ja4.as_bytes(&expected.memory), name(&expected))
        );
        assert_eq!(quic.packets.iter(&quic.memory).count(), 3);
    }
    // Without one of them there is what the first says.
    let quic = one(run(&[(Forward, &datagrams[0]), (Forward, &datagrams[2])]).0);
    assert_eq!((name(&quic), quic.hello_read, quic.version), ("", None, Some(V1)));
}

#[test]
fn frames_of_all_kinds_and_packets_behind_each_other_are_read() {
    let message = client_hello(100);
    let text = [
        vec![1, 1, 0, 0, 0],                      // PING, PING, padding
        vec![2, 0x40, 9, 3, 2, 1, 4, 0, 5, 6],    // ACK of two more ranges
        crypto(50, &message[50..]),               // the end
        vec![3, 9, 0, 0, 1, 1, 2, 3],             // ACK with counts of ECN
        vec![0x1c, 0x0a, 0, 3, b'b', b'a', b'd'], // CONNECTION_CLOSE
        crypto(0, &message[..30]),                // the start
        crypto(20, &message[20..50]),             // overlaps
    ]
    .concat();
    let first = Initial { version: DRAFT_29, ..Initial::of_client(text[..15].to_vec()) };
    let second = Initial { number: 4, text: text[15..].to_vec(), ..first.clone() };
    let mut coalesced = first.packet(0);
    coalesced.extend(second.packet(1200));
    coalesced.extend([0x40, 1, 2, 3]); // short header
    let quic = one(run(&[(Reverse, coalesced)]).0);
    assert_eq!((name(&quic), quic.version), ("quic.example.org", Some(DRAFT_29)));
    assert_eq!(quic.packets.iter(&quic.memory).collect::<Vec<_>>(), [0x81]);
}

#[test]
fn both_sides_are_read_and_then_nothing_more() {
    let hello = server_hello(1300);
    let mut first = Initial::of_server(crypto(0, &hello[..700])).packet(0);
    first.extend(opaque(0xe0, &CLIENT, &SERVER, 300)); // Handshake
    let second = Initial::of_server(crypto(700, &hello[700..])).datagram();
    let client = Initial::of_client(crypto(0, &client_hello(0))).datagram();
    let quic = whole(&[(Forward, &client), (Reverse, &second), (Reverse, &first)]);
    assert_eq!((quic.cipher_suite, quic.server_cid.as_bytes(&quic.memory)), (Some(0x1302), &SERVER[..]));
    assert_eq!(quic.packets.iter(&quic.memory).collect::<Vec<_>>(), [0x81, 0x81, 0x81]);
    // Who begins is not who was seen first.
    assert_eq!(whole(&[(Reverse, &client), (Forward, &second), (Forward, &first)]), quic);
    // The server's hello was not captured, but the client has it.
    for later in [vec![0x40, 7, 7, 7], opaque(0xe0, &SERVER, &CLIENT, 30)] {
        let quic = whole(&[(Forward, client.clone()), (Forward, later)]);
        assert_eq!((name(&quic), quic.cipher_suite), ("quic.example.org", None));
    }
    // A server's packets are not the end; its silence is bounded.
    let mut datagrams = vec![(Forward, client)];
    datagrams.extend(vec![(Reverse, vec![0x40, 7, 7, 7]); 14]);
    assert_eq!(run(&datagrams).1, Feed::More);
    datagrams.push((Reverse, vec![0x40, 7, 7, 7]));
    assert_eq!(run(&datagrams).1, Feed::Done);
}

#[test]
fn what_asks_for_another_hello_gives_the_cipher_suite_alone() {
    let mut retry = server_hello(2);
    retry[6..38].copy_from_slice(&crate::app::tls::hello::RETRY_RANDOM);
    let client = Initial::of_client(crypto(0, &client_hello(0))).datagram();
    let quic = whole(&[(Forward, client), (Reverse, Initial::of_server(crypto(0, &retry)).packet(0))]);
    assert_eq!((quic.cipher_suite, quic.ja3s.as_bytes(&quic.memory)), (Some(0x1302), &[][..]));
}

#[test]
fn early_data_is_counted_also_before_the_hello() {
    let client = Initial::of_client(crypto(0, &client_hello(0)));
    let mut together = client.packet(900);
    together.extend(opaque(0xd0, &CHOSEN, &CLIENT, 300));
    let answer = Initial::of_server(crypto(0, &server_hello(0))).packet(0);
    let quic = whole(&[(Forward, zero_rtt()), (Forward, together), (Forward, zero_rtt()), (Reverse, answer)]);
    assert_eq!((name(&quic), quic.zero_rtt, quic.multiplexed), ("quic.example.org", Some(3), None));
    assert_eq!(quic.packets.iter(&quic.memory).collect::<Vec<_>>(), [0x82, 0x83, 0x82, 0x81]);
}

#[test]
fn a_refused_version_is_followed_by_another() {
    let client = Initial::of_client(crypto(0, &client_hello(0)));
    let reserved = |version| {
        let mut refused = Initial { version, ..client.clone() }.datagram();
        refused[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
        refused
    };
    // What is no version is written by the rules of one of two.
    for version in [V1, DRAFT_29] {
        let quic = one(run(&[(Forward, reserved(version))]).0);
        assert_eq!((name(&quic), quic.version), ("quic.example.org", Some(0x1a2a_3a4a)));
    }
    let offer = |versions: &[u32]| {
        let versions: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
        [&[0xca, 0, 0, 0, 0][..], &vector8(&CLIENT), &vector8(&CHOSEN), &versions].concat()
    };
    let again = Initial { version: V2, source: b"other".to_vec(), ..client.clone() }.datagram();
    let answer = Initial { version: V2, ..Initial::of_server(crypto(0, &server_hello(0))) }.packet(0);
    for first in [reserved(V1), client.datagram()] {
        let refused = header::Long::read(&first, false).unwrap().version;
        let quic = whole(&[
            (Forward, first),
            (Reverse, offer(&[V2, 0xbaba_baba, V1])),
            (Forward, again.clone()),
            (Reverse, answer.clone()),
        ]);
        assert_eq!((quic.version, quic.client_version, quic.server_version), (Some(V2), Some(refused), Some(V2)));
        assert_eq!(quic.offered_versions.iter(&quic.memory).collect::<Vec<_>>(), [V2, 0xbaba_baba, V1]);
        assert_eq!(quic.alpn.iter(&quic.memory).collect::<Vec<_>>(), [&b"h3"[..], b"h3-29"]);
        assert_eq!((quic.cipher_suite, quic.multiplexed), (Some(0x1302), None));
    }
    // One without a version that is known is none.
    assert_eq!(probe(&offer(&[V2, 7]), false), Probe::Yes);
    assert_eq!([probe(&offer(&[7]), true), probe(&offer(&[]), true)], [Probe::No; 2]);
}

#[test]
fn compatible_negotiation_is_seen_by_the_server_version() {
    let client = Initial::of_client(crypto(0, &client_hello(0))).datagram();
    let answer = Initial { version: V2, ..Initial::of_server(crypto(0, &server_hello(0))) }.packet(0);
    let quic = whole(&[(Forward, client), (Reverse, answer)]);
    assert_eq!((quic.version, quic.server_version, quic.cipher_suite), (Some(V1), Some(V2), Some(0x1302)));
}

#[test]
fn another_connection_between_the_same_ports_is_noted_and_disturbs_nothing() {
    let pieces = in_datagrams(&Initial::of_client(Vec::new()), &client_hello(2000), 1100);
    let other = Initial {
        cid: b"another1".to_vec(),
        destination: b"another1".to_vec(),
        source: b"else".to_vec(),
        ..Initial::of_client(crypto(0, &client_hello(5)))
    };
    let quic = one(run(&[(Forward, &pieces[0]), (Forward, &other.datagram()), (Forward, &pieces[1])]).0);
    assert_eq!((name(&quic), quic.multiplexed, quic.hello_read), ("quic.example.org", Some(1), Some(1)));
    assert_eq!(quic.original_cid.as_bytes(&quic.memory), CHOSEN);
}

/// A CHLO with these values behind their tags.
fn chlo(values: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut message = b"CHLO".to_vec();
    message.extend([values.len() as u8, 0, 0, 0]);
    let mut end = 0_u32;
    for (tag, value) in values {
        end += value.len() as u32;
        message.extend(*tag);
        message.extend(end.to_le_bytes());
    }
    values.iter().for_each(|(_, value)| message.extend(*value));
    message
}

fn google_hello() -> Vec<u8> {
    chlo(&[(b"PAD\0", &[b'-'; 900]), (b"SNI\0", b"www.example.net"), (b"VER\0", b"Q0xx"), (b"UAID", b"Chrome/76")])
}

fn google(first: &[u8], version: &[u8; 4]) -> Vec<u8> {
    let mut datagram = first.to_vec();
    datagram.extend([0, 0, 0, 1]); // packet number
    datagram.extend([0x5a; 12]); // hash
    datagram.extend([0xa0, 1]); // STREAM with a length, stream 1
    datagram.extend(vector16(&google_hello()));
    assert!(datagram.windows(4).any(|four| four == version));
    datagram
}

#[test]
fn hellos_of_google_in_the_clear() {
    let public = [&[0x09][..], &CHOSEN, b"Q043"].concat();
    let long = [&[0xc3][..], b"Q046", &[0x50], &CHOSEN].concat();
    for (version, first) in [(b"Q043", public), (b"Q046", long)] {
        let datagram = google(&first, version);
        let quic = whole(&[(Forward, &datagram)]);
        assert_eq!((name(&quic), quic.version), ("www.example.net", Some(u32::from_be_bytes(*version))));
        assert_eq!(quic.user_agent.as_bytes(&quic.memory), b"Chrome/76");
        assert_eq!((quic.original_cid.as_bytes(&quic.memory), quic.hello_read), (&CHOSEN[..], Some(1)));
        // One cut short gives what it has.
        for len in 0..datagram.len() {
            let (found, _) = run(&[(Forward, &datagram[..len])]);
            assert!(found.iter().all(|quic| quic.hello_read.is_none()), "{len}");
        }
    }
}

#[test]
fn hellos_of_google_under_protection() {
    // CRYPTO is another number there.
    let text = |message: &[u8]| [&[8][..], &variable(0), &variable(message.len()), message].concat();
    let q050 = Initial { version: u32::from_be_bytes(*b"Q050"), ..Initial::of_client(text(&google_hello())) };
    let quic = whole(&[(Forward, q050.datagram())]);
    assert_eq!((name(&quic), quic.hello_read), ("www.example.net", Some(1)));
    let t051 = Initial { version: u32::from_be_bytes(*b"T051"), ..Initial::of_client(text(&client_hello(0))) };
    let quic = one(run(&[(Forward, t051.datagram())]).0);
    assert_eq!(name(&quic), "quic.example.org");
}

#[test]
fn a_packet_cut_by_the_capture_gives_what_there_is() {
    let datagram = Initial::of_client(crypto(0, &client_hello(800))).datagram();
    for (len, expected) in [(60, ""), (200, "quic.example.org")] {
        let mut flow = Flow::new();
        flow.feed(Forward, &datagram[..len], true);
        let quic = one(flow.finish().0);
        assert_eq!((name(&quic), quic.version, quic.hello_read), (expected, Some(V1), None), "{len}");
    }
}

#[test]
fn a_hello_beyond_the_bound_gives_its_beginning() {
    let message = client_hello(MAX_MESSAGE);
    let datagrams = in_datagrams(&Initial::of_client(Vec::new()), &message, 1100);
    let datagrams: Vec<_> = datagrams.iter().map(|datagram| (Forward, datagram)).collect();
    let quic = whole(&datagrams);
    assert_eq!((name(&quic), quic.hello_read, quic.ja4.as_bytes(&quic.memory)), ("quic.example.org", None, &[][..]));
}

#[test]
fn what_lies_apart_and_far_is_bounded_and_charged() {
    let mut flow = Flow::new();
    for nth in 0..30_u32 {
        let pieces: Vec<u8> = (0..60).flat_map(|piece| crypto(1000 + (nth as usize * 60 + piece) * 8, &[1])).collect();
        flow.feed(Forward, &Initial { number: nth, ..Initial::of_client(pieces) }.datagram(), false);
        assert!(flow.pools.budget().charged() < 8 << 10, "{}", flow.pools.budget().charged());
    }
    let mut flow = Flow::new();
    let far = Initial::of_client(crypto(MAX_MESSAGE - 1, &[1; 40])).datagram();
    flow.feed(Forward, &far, false);
    let charged = flow.pools.budget().charged();
    assert!((MAX_MESSAGE..40 << 10).contains(&charged), "{charged}");
    flow.session.recycle(&mut flow.pools);
    assert!(flow.pools.spare() < 8 << 10, "{}", flow.pools.spare());
}

#[test]
fn patience_with_a_client_is_bounded() {
    let pieces = in_datagrams(&Initial::of_client(Vec::new()), &client_hello(3000), 1100);
    let mut datagrams = vec![(Forward, pieces[0].clone())];
    datagrams.extend(vec![(Forward, vec![0x40; 40]); 31]);
    let quic = whole(&datagrams);
    assert_eq!((name(&quic), quic.hello_read), ("quic.example.org", None));
    datagrams.pop();
    assert_eq!(run(&datagrams).1, Feed::More);
}

#[test]
fn garbage_under_a_good_header_gives_the_header() {
    let mut datagram = Initial::of_client(crypto(0, &client_hello(0))).datagram();
    datagram[300] ^= 1; // of the hello's padding: frames stay whole
    assert_eq!(name(&one(run(&[(Forward, &datagram)]).0)), "quic.example.org");
    datagram[8] ^= 1; // of what the keys are made of
    let quic = one(run(&[(Forward, &datagram)]).0);
    assert_eq!((name(&quic), quic.version, quic.client_version), ("", Some(V1), None));
}

#[test]
fn every_truncation_is_harmless() {
    let datagram = Initial::of_client(crypto(0, &client_hello(0))).datagram();
    for len in 0..datagram.len() {
        for snapped in [false, true] {
            let mut flow = Flow::new();
            flow.feed(Forward, &datagram[..len], snapped);
            let (found, _) = flow.finish();
            assert!(snapped || found.is_empty(), "{len}");
            assert!(found.iter().all(|quic| quic.ja4.as_bytes(&quic.memory).is_empty() || quic.hello_read.is_some()));
        }
    }
}

#[test]
fn what_is_not_quic_is_refused() {
    let mut small = Initial::of_client(crypto(0, &client_hello(0))).packet(0);
    assert_eq!([probe(&small, true), probe(&small, false)], [Probe::Yes, Probe::No]);
    small.resize(1200, 0);
    assert_eq!(probe(&small, false), Probe::Yes);
    // The fixed bit may be greased in a datagram of a client's size.
    small[0] &= !0x40;
    assert_eq!(probe(&small, false), Probe::Yes);
    assert_eq!(probe(&small[..400], true), Probe::No);
    let rtp = [&[0x80, 0, 0, 0, 1, 0, 0, 0, 0, 4, 9, 9, 9, 9][..], &[0x7f; 160]].concat();
    let dns = [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3][..], b"www\x07example\x03org\0\0\x01\0\x01"].concat();
    let dtls = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1][..], &[0; 59]].concat();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let ntp = [&[0xe3, 0, 6, 0x20][..], &[0; 44]].concat();
    let short = [&[0x45][..], &[0x99; 1300]].concat();
    let unknown = [&[0xc0, 0x12, 0x34, 0x56, 0x78, 8][..], &CHOSEN, &[0], &[0; 1300]].concat();
    for junk in [&rtp, &dns, &dtls, &stun, &ntp, &short, &unknown, &vec![0xff; 1300], &vec![0; 1300], &Vec::new()] {
        assert_eq!([probe(junk, false), probe(junk, true)], [Probe::No; 2], "{:02x?}", &junk[..junk.len().min(16)]);
    }
}

/// A frame of a hello: a piece, of which the last octets may come again in another one; or others in between.
fn pieces(message: &[u8], cuts: &[usize], overlaps: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % message.len()).chain([0, message.len()]).collect();
    at.sort_unstable();
    at.dedup();
    let overlap = |nth: usize| overlaps.get(nth).copied().unwrap_or(0);
    at.windows(2)
        .enumerate()
        .map(|(nth, window)| {
            let end = (window[1] + overlap(nth)).min(message.len());
            crypto(window[0], &message[window[0]..end])
        })
        .collect()
}

/// Fields without what depends on the number of datagrams.
fn timeless(mut quic: Quic) -> Quic {
    quic.packets = Default::default();
    quic
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hellos_are_the_same_in_any_pieces(
        more in 0_usize..2500,
        // So few that the server is still waited for after all of them.
        cuts in prop::collection::vec(any::<usize>(), 0..10),
        overlaps in prop::collection::vec(0_usize..300, 0..10),
        order in prop::collection::vec(any::<u32>(), 24),
        each in 1_usize..4,
        again in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let message = client_hello(more);
        let first = (Forward, Initial::of_client(crypto(0, &message)).datagram());
        let hello = server_hello(more / 2);
        let last = (Reverse, Initial::of_server(crypto(0, &hello)).packet(0));
        let expected = timeless(whole(&[first, last.clone()]));
        let mut frames: Vec<_> = pieces(&message, &cuts, &overlaps).into_iter().zip(&order).collect();
        frames.sort_by_key(|(_, place)| **place);
        let mut datagrams: Vec<_> = frames.chunks(each).enumerate().map(|(nth, frames)| {
            let text = frames.iter().flat_map(|(frame, _)| [&[1, 0][..], frame].concat()).collect();
            (Forward, Initial { number: nth as u32, ..Initial::of_client(text) }.datagram())
        }).collect();
        for again in again {
            let repeated = datagrams[again % datagrams.len()].clone();
            datagrams.insert(again % (datagrams.len() + 1), repeated);
        }
        datagrams.push(last);
        prop_assert_eq!(timeless(whole(&datagrams)), expected);
    }

    #[test]
    fn octets_at_random_do_no_harm(
        datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300), 0_usize..8), 0..40),
        snapped in any::<bool>(),
    ) {
        let initial = Initial::of_client(crypto(0, &client_hello(1500)[..900])).datagram();
        let starts = [
            initial.clone(), Vec::new(), vec![0xc0, 0, 0, 0, 1, 8], vec![0xc3, b'Q', b'0', b'4', b'6', 0x50],
            vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [&[9][..], b"12345678Q043CHLO"].concat(), zero_rtt(),
            vec![0xf0, 0, 0, 0, 1, 0, 4],
        ];
        let mut flow = Flow::new();
        for (is_reverse, octets, start) in datagrams {
            let bytes = [&starts[start][..], &octets].concat();
            flow.feed(if is_reverse { Reverse } else { Forward }, &bytes, snapped);
        }
        flow.session.recycle(&mut flow.pools);
    }

    #[test]
    fn frames_at_random_do_no_harm(
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 3, 6, 8, 0x1c, 0x40, 0x80, 0xff, 7]), 0..200), 1..20),
        google in any::<bool>(),
    ) {
        let mut flow = Flow::new();
        for text in texts {
            let version = if google { u32::from_be_bytes(*b"Q050") } else { V1 };
            flow.feed(Forward, &Initial { version, ..Initial::of_client(text) }.datagram(), false);
        }
        flow.finish();
    }
}

#[test]
fn a_state_used_again_is_as_new() {
    let mut pools = Pools::default();
    let long = in_datagrams(&Initial::of_client(Vec::new()), &client_hello(2000), 1100);
    let short = Initial::of_client(crypto(0, &client_hello(0))).datagram();
    let mut run = |datagrams: &[&Vec<u8>]| {
        let mut session = Session::default();
        let mut closed = Vec::new();
        session.begin([40_000, 443]);
        for bytes in datagrams {
            let input =
                Input { bytes, direction: Forward, transport: Transport::Datagram, hinted: false, snapped: false };
            session.feed(input, Timestamp::ZERO, &mut pools);
        }
        session.finish(&mut pools, &mut |app, _| take(app.to_owned(), &mut closed));
        session.recycle(&mut pools);
        closed
    };
    let fresh = run(&[&short]);
    // Left in the middle.
    assert_eq!(run(&[&long[0]]).len(), 1);
    assert_eq!(run(&[&short]), fresh);
    assert!(fresh[0].memory().held() > 0);
}
