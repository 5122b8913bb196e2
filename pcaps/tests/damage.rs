// SPDX-License-Identifier: MIT OR Apache-2.0
//! Damaged input: captures and IPFIX messages that are cut and changed at random. Nothing panics, and what was counted
//! still adds up. The same on every run: the damage is drawn from a seed.

mod common;

use std::{fs, io::Write};

use weir_flow::Timestamp;
use weir_ipfix::decode::{Draft, Plan, sets, templates};
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
        let Ok(source) = capture::open(file.path().to_str().unwrap()) else { continue };
        let outcome = meter(vec![source], &MeterConfig::default(), vec![Lines::default()], &|_| ());
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
            let source = capture::open(file.path().to_str().unwrap()).ok()?;
            let outcome = meter(vec![source], &MeterConfig::default(), vec![Lines::default()], &|_| ());
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
fn damaged_messages_are_decoded_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.ipfix");
    let destination = format!("file:{}", path.display()).parse().unwrap();
    let config = weir_export::ExporterConfig { destinations: vec![destination], ..Default::default() };
    let exporter = weir_export::Exporter::start(&config).unwrap();
    let mut sinks = vec![exporter.sink()];
    for capture in weir_pcaps::bundled() {
        let source = capture::open(capture.to_str().unwrap()).unwrap();
        sinks = meter(vec![source], &MeterConfig::default(), sinks, &|_| ()).sinks;
    }
    let (_, reports) = exporter.finish(sinks);
    assert!(reports.iter().all(|r| r.error.is_none()));

    let whole = fs::read(&path).unwrap();
    let mut random = Random(2);
    let mut records = 0;
    for _ in 0..runs() {
        records += decode(&damaged(&whole, &mut random));
    }
    assert!(records > 1000, "the damage left nothing");
}

/// Decodes a file of messages as far as lengths can be believed; gives the number of records.
fn decode(bytes: &[u8]) -> usize {
    let (mut at, mut records) = (0, 0);
    let mut plans = std::collections::HashMap::new();
    let mut draft = Draft::default();
    while let Ok(header) = weir_ipfix::message::Header::parse(&bytes[at..]) {
        let message = &bytes[at..at + usize::from(header.length)];
        at += message.len();
        for set in sets(message, weir_ipfix::message::HEADER_LEN).flatten() {
            if set.id <= 3 {
                for template in templates(set, set.id == 3).flatten() {
                    plans.insert(template.id, Plan::new(&template, weir_ipfix::WEIR));
                }
            } else if let Some(plan) = plans.get(&set.id) {
                let mut offset = 0;
                while set.body.len() - offset >= plan.min_record_len().max(1) {
                    let Ok(next) = plan.decode(set.body, offset, &mut draft) else { break };
                    draft.settle(Some(Timestamp::ZERO));
                    offset = next;
                    records += 1;
                }
            }
        }
    }
    records
}
