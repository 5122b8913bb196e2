// SPDX-License-Identifier: MIT OR Apache-2.0
//! Damaged input: captures and IPFIX messages that are cut and changed at random. Nothing panics, and what was counted
//! still adds up. The same on every run: the damage is drawn from a seed.

mod common;

use std::{fs, io::Write};

use weir_flow::Timestamp;
use weir_metering::{MeterConfig, capture, meter};

use common::Lines;

/// Runs of each kind; `WEIR_DAMAGE_RUNS` asks for more.
fn runs() -> u64 {
    std::env::var("WEIR_DAMAGE_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

/// A small generator (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Cuts at a multiple of 97 octets and changes a few.
fn damaged(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let cut = (97 * random.below(whole.len() / 97 + 2)).min(whole.len());
    let mut bytes = whole[..cut].to_vec();
    for _ in 0..random.below(8) {
        let at = random.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    bytes
}

fn captures() -> Vec<std::path::PathBuf> {
    let mut captures = weir_pcaps::bundled();
    if let Some(corpus) = weir_pcaps::corpus("damaged captures of the corpus") {
        captures.extend(weir_pcaps::corpus_captures(&corpus));
    }
    captures
}

#[test]
fn damaged_captures_are_metered_up_to_the_damage() {
    let captures = captures();
    let mut random = Random(1);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut metered = 0;
    for run in 0..runs() {
        // Every capture has its turn; the order among them does not matter.
        let path = &captures[(run as usize * 7919) % captures.len()];
        let bytes = damaged(&fs::read(path).unwrap(), &mut random);
        file.as_file().set_len(0).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file.write_all(&bytes).unwrap();
        let Ok(mut source) = capture::open(file.path().to_str().unwrap()) else { continue };
        let outcome = meter(&mut *source, &MeterConfig::default(), vec![Lines::default()]).unwrap();
        assert!(outcome.ledger.closes(), "run {run}, {}: {:?}", path.display(), outcome.ledger);
        metered += outcome.ledger.metered.metered_packets;
    }
    assert!(metered > 1000, "the damage left nothing");
}

#[test]
fn a_cut_capture_gives_a_prefix_of_its_packets() {
    for path in weir_pcaps::bundled() {
        let whole = fs::read(&path).unwrap();
        let count = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            let mut source = capture::open(file.path().to_str().unwrap()).ok()?;
            let outcome = meter(&mut *source, &MeterConfig::default(), vec![Lines::default()]).unwrap();
            Some((outcome.ledger.metered.delivered_packets, outcome.damage.is_some()))
        };
        let all = count(&whole).unwrap();
        assert!(!all.1, "{} is damaged", path.display());
        let mut before = 0;
        for step in 1..20 {
            let cut = whole.len() * step / 20;
            if let Some((packets, _)) = count(&whole[..cut]) {
                assert!((before..=all.0).contains(&packets), "{} cut at {cut}", path.display());
                before = packets;
            }
        }
    }
}

#[test]
fn damaged_messages_are_collected_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.ipfix");
    let destination = format!("file:{}", path.display()).parse().unwrap();
    let config = weir_export::ExporterConfig { destinations: vec![destination], ..Default::default() };
    let exporter = weir_export::Exporter::start(&config).unwrap();
    let mut sinks = vec![exporter.sink()];
    for capture in weir_pcaps::bundled() {
        let mut source = capture::open(capture.to_str().unwrap()).unwrap();
        sinks = meter(&mut *source, &MeterConfig::default(), sinks).unwrap().sinks;
    }
    let (_, reports) = exporter.finish(sinks);
    assert!(reports.iter().all(|r| r.error.is_none()));

    let whole = fs::read(&path).unwrap();
    let mut random = Random(2);
    let (mut records, mut errors) = (0, 0);
    for _ in 0..runs() {
        let bytes = damaged(&whole, &mut random);
        let mut sink = Lines::default();
        // As a file, whose messages must follow each other, and as datagrams, of which each stands for itself.
        let (snapshot, result) = weir_collector::read(&bytes[..], weir_ipfix::WEIR, &mut sink);
        assert!(snapshot.decoded.closes(&snapshot.held), "{:?}", snapshot.decoded);
        assert_eq!(snapshot.decoded.records, sink.0.iter().filter(|b| **b == b'\n').count() as u64);
        records += snapshot.decoded.records;
        errors += u64::from(result.is_err());
        let mut decoder = weir_collector::Decoder::new(weir_collector::Limits::default(), weir_ipfix::WEIR);
        let peer = weir_collector::Peer::Udp("127.0.0.1:9".parse().unwrap());
        for datagram in datagrams(&whole) {
            let datagram = if random.below(4) == 0 { damaged(datagram, &mut random) } else { datagram.to_vec() };
            decoder.message(peer, &datagram, Timestamp::from_secs(1_800_000_000), &mut sink);
        }
        assert!(decoder.counters().closes(decoder.held()), "{:?}", decoder.counters());
        records += decoder.counters().records;
    }
    assert!(records > 1000 && errors > 100, "{records} records, {errors} errors: the damage was not real");
}

/// The first messages of a file.
fn datagrams(mut file: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let (Ok(header), true) = (weir_ipfix::message::Header::parse(file), found.len() < 8) {
        let (message, rest) = file.split_at(usize::from(header.length));
        found.push(message);
        file = rest;
    }
    found
}
