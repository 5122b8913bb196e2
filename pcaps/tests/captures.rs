// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every capture through the meter: the ledger closes, records are the same again and with any number of workers, packets
//! and octets are those that an independent program counted, and the records are those of the golden file.
//!
//! A capture has golden records if there is a file for them beside it; `BLESS=1` writes those files anew.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

mod common;

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex, thread};

use serde_json::Value;
use weir_flow::{Packet, SourceState};
use weir_metering::{MeterConfig, Outcome, capture, meter};

use common::Lines;

/// Meters a capture with some workers; `None` if it cannot even be opened.
fn play(path: &Path, workers: usize, config: &MeterConfig) -> Option<Outcome<Lines>> {
    let path = path.to_str().unwrap();
    let mut source = capture::open(path).ok()?;
    let sinks = (0..workers).map(|_| Lines::default()).collect();
    meter(&mut *source, config, sinks).ok()
}

/// The records of an outcome, one a line, in the order of their text: workers finish in any order.
fn sorted_lines(outcome: &Outcome<Lines>) -> Vec<String> {
    let texts = outcome.sinks.iter().map(|s| String::from_utf8(s.0.clone()).unwrap());
    let mut lines: Vec<String> = texts.flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// Runs `check` over all captures, on all cores, and lists what it says.
fn over(captures: &[std::path::PathBuf], check: impl Fn(&Path) -> Result<(), String> + Sync) {
    let next = Mutex::new(captures.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(path) = next.lock().unwrap().next() else { return };
                    if let Err(what) = check(path) {
                        failures.lock().unwrap().push(format!("{}: {what}", path.display()));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), captures.len(), failures.join("\n"));
}

/// What holds for any capture at all.
fn sound(path: &Path) -> Result<(), String> {
    let config = MeterConfig::default();
    let packets = count_packets(path);
    let Some(one) = play(path, 1, &config) else {
        return if packets == 0 { Ok(()) } else { Err("opened once, not again".into()) };
    };
    let ledger = one.ledger;
    if !ledger.closes() {
        return Err(format!("the ledger does not close: {ledger:?}"));
    }
    if ledger.metered.delivered_packets != packets {
        return Err(format!("{} packets delivered of {packets}", ledger.metered.delivered_packets));
    }
    let (lines, again, two) = (
        sorted_lines(&one),
        play(path, 1, &MeterConfig { hash_seed: Some(1), ..config }).map(|o| sorted_lines(&o)),
        play(path, 2, &config),
    );
    if again.as_ref() != Some(&lines) {
        return Err("another run gives other records".into());
    }
    let Some(two) = two else { return Err("two workers cannot open it".into()) };
    if two.ledger != ledger {
        return Err(format!("two workers count {:?}, one {ledger:?}", two.ledger));
    }
    if sorted_lines(&two) != lines {
        return Err("two workers give other records".into());
    }
    let (mut packets, mut octets) = (0, 0);
    for line in &lines {
        let record: Value = serde_json::from_str(line).map_err(|e| format!("{e} in {line}"))?;
        let number = |name: &str| record[name].as_u64().unwrap_or(0);
        packets += number("packetDeltaCount") + number("reversePacketDeltaCount");
        octets += number("octetDeltaCount") + number("reverseOctetDeltaCount");
    }
    if (packets, octets) != (ledger.metered.metered_packets, ledger.metered.metered_octets) {
        return Err(format!("records hold {packets} packets and {octets} octets, the ledger {ledger:?}"));
    }
    Ok(())
}

fn count_packets(path: &Path) -> u64 {
    let Ok(mut source) = capture::open(path.to_str().unwrap()) else { return 0 };
    let mut packets = 0;
    while let Ok(SourceState::More | SourceState::Idle) =
        source.poll(&mut |batch: &[Packet<'_>]| packets += batch.len() as u64)
    {}
    packets
}

#[test]
fn bundled_captures_are_metered_soundly() {
    let captures = weir_pcaps::bundled();
    assert!(captures.len() >= 10, "captures are missing");
    over(&captures, sound);
}

#[test]
fn corpus_captures_are_metered_soundly() {
    let Some(corpus) = weir_pcaps::corpus("corpus_captures_are_metered_soundly") else { return };
    over(&weir_pcaps::corpus_captures(&corpus), sound);
}

type Sums = BTreeMap<(String, String, u64, u64, u64), (u64, u64)>;

/// Packets and octets of each direction, as the independent program counted them.
fn expected(path: &Path) -> Option<Sums> {
    let expected: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let mut sums = Sums::new();
    for flow in expected["flows"].as_array()? {
        let text = |name: &str| flow[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| flow[name].as_u64().unwrap_or(0);
        // Later fragments stand there with port zero: whole datagrams are compared where there are any.
        let key = (text("src"), text("dst"), number("proto"), number("sport"), number("dport"));
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + number("packets"), sum.1 + number("bytes"));
    }
    Some(sums)
}

fn metered(lines: &[String]) -> Sums {
    let mut sums = Sums::new();
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| record[name].as_u64().unwrap_or(0);
        let address = |side: &str| {
            let of = |version: &str| record[format!("{side}{version}Address")].as_str().map(str::to_owned);
            of("IPv4").or_else(|| of("IPv6")).unwrap()
        };
        let (src, dst) = (address("source"), address("destination"));
        let (src_port, dst_port) = (number("sourceTransportPort"), number("destinationTransportPort"));
        let protocol = number("protocolIdentifier");
        let mut add = |key, packets, octets| {
            if packets > 0 {
                let sum = sums.entry(key).or_default();
                *sum = (sum.0 + packets, sum.1 + octets);
            }
        };
        add(
            (src.clone(), dst.clone(), protocol, src_port, dst_port),
            number("packetDeltaCount"),
            number("octetDeltaCount"),
        );
        add(
            (dst, src, protocol, dst_port, src_port),
            number("reversePacketDeltaCount"),
            number("reverseOctetDeltaCount"),
        );
    }
    sums
}

fn without_ports(sums: &Sums) -> Sums {
    let mut whole = Sums::new();
    for ((src, dst, protocol, ..), (packets, octets)) in sums {
        let sum = whole.entry((src.clone(), dst.clone(), *protocol, 0, 0)).or_default();
        *sum = (sum.0 + packets, sum.1 + octets);
    }
    whole
}

#[test]
fn bundled_captures_agree_with_an_independent_count() {
    let mut compared = 0;
    for path in weir_pcaps::bundled() {
        let Some(expected) = expected(&path.with_extension("expected.json")) else { continue };
        let outcome = play(&path, 1, &MeterConfig::default()).unwrap();
        let metered = metered(&sorted_lines(&outcome));
        if metered != expected {
            assert_eq!(without_ports(&metered), without_ports(&expected), "{}", path.display());
        }
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} captures have an expected result");
}

#[test]
fn bundled_captures_give_their_golden_records() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut protocols: Vec<&str> = weir_flow::app::SLUGS.to_vec();
    for path in weir_pcaps::bundled() {
        let golden = path.with_extension("flows.jsonl");
        let Ok(expected) = fs::read_to_string(&golden) else { continue };
        let outcome = play(&path, 1, &MeterConfig::default()).unwrap();
        let text = String::from_utf8(outcome.sinks[0].0.clone()).unwrap();
        protocols.retain(|slug| !text.contains(&format!("\"applicationName\":\"{slug}\"")));
        if bless {
            fs::write(&golden, text).unwrap();
            continue;
        }
        let difference = text.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert_eq!(difference, None, "{}: another record (BLESS=1 writes it anew)", path.display());
        assert_eq!(text.lines().count(), expected.lines().count(), "{}: records (BLESS=1)", path.display());
    }
    assert!(protocols.is_empty(), "no golden records of {protocols:?}");
}

#[test]
fn link_types_that_are_not_decoded_are_counted_as_such() {
    let Some(corpus) = weir_pcaps::corpus("link_types_that_are_not_decoded_are_counted_as_such") else { return };
    let listed = fs::read_to_string(weir_pcaps::folder().join("known-differences.txt")).unwrap();
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.split_once(": link type").map(|l| l.0)).collect();
    over(&weir_pcaps::corpus_captures(&corpus), |path| {
        let Some(outcome) = play(path, 1, &MeterConfig::default()) else { return Ok(()) };
        let name = path.file_name().unwrap().to_str().unwrap();
        let unsupported = outcome.ledger.ignored.unsupported_link_type > 0;
        match (unsupported, listed.contains(&name)) {
            (true, false) => Err("is not listed in known-differences.txt".into()),
            (false, true) => Err("is listed in known-differences.txt without need".into()),
            _ => Ok(()),
        }
    });
}
