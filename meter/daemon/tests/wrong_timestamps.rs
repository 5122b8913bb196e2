// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures in which timestamps are wrong: what they do to the records of others.

#![expect(clippy::unwrap_used, reason = "a program that does not run fails the test")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const YEAR: u64 = 365 * 86_400;
const BEGIN: u64 = 1_700_000_000_000;
/// The host whose packets have wrong timestamps.
const WRONG: u8 = 77;

/// One datagram from a host, at a time in milliseconds.
fn record(host: u8, ms: u64) -> Vec<u8> {
    let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, host, 10, 1, 0, host];
    let frame = [&[2; 12][..], &[0x08, 0x00], &ip, &[0x10, 0, 0x20, 0, 0, 8, 0, 0]].concat();
    let len = frame.len() as u32;
    let header = [(ms / 1_000) as u32, (ms % 1_000) as u32 * 1_000, len, len];
    [header.map(u32::to_le_bytes).as_flattened(), &frame].concat()
}

fn capture(path: &Path, packets: &[(u8, u64)]) {
    let mut file = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).as_flattened().to_vec();
    packets.iter().for_each(|(host, ms)| file.extend(record(*host, *ms)));
    fs::write(path, file).unwrap();
}

/// Twenty hosts, each with a packet in every second of its own time; every third is silent for 40 seconds at a time.
fn traffic() -> Vec<(u8, u64)> {
    let packets = (0..12_000_u64).map(|i| ((i % 20) as u8, BEGIN + i * 50));
    packets.filter(|(host, ms)| !host.is_multiple_of(3) || ((ms - BEGIN) / 40_000).is_multiple_of(2)).collect()
}

struct Metered {
    /// Records of all hosts but one, in the order of their text; and of that one.
    others: Vec<String>,
    own: Vec<String>,
    ledger: String,
    summary: String,
}

fn meter(test: &str, packets: &[(u8, u64)], workers: &str) -> Metered {
    let [path, ledger] =
        [".pcap", ".json"].map(|name| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}{name}")));
    capture(&path, packets);
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-meter"));
    command.args(["-r", path.to_str().unwrap(), "--export", "json:-", "--workers", workers]);
    let Output { status, stdout, stderr } = command.args(["--ledger", ledger.to_str().unwrap()]).output().unwrap();
    let summary = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{summary}");
    let mut lines: Vec<_> = String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    let (own, others) = lines.into_iter().partition(|line| line.contains(&format!("10.0.0.{WRONG}\"")));
    Metered { others, own, ledger: fs::read_to_string(ledger).unwrap(), summary }
}

#[test]
fn a_packet_of_the_next_year_changes_no_record_but_its_own() {
    let right = traffic();
    for workers in ["1", "2", "3", "8"] {
        let expected = meter("ahead", &right, workers);
        assert!(expected.others.iter().any(|line| line.contains("\"flowEndReason\":1")), "idle timeout");
        assert!(expected.others.iter().any(|line| line.contains("\"flowEndReason\":2")), "active timeout");
        let mut wrong = right.clone();
        wrong.insert(right.len() / 2, (WRONG, right[right.len() / 2].1 + YEAR * 1_000));
        let found = meter("ahead", &wrong, workers);
        assert_eq!(found.others, expected.others, "{workers} workers");
        // It has its own time.
        assert!(found.own.len() == 1 && found.own[0].contains("\"flowStartMilliseconds\":17315"), "{:?}", found.own);
        assert!(found.ledger.contains("\"packets_dated_ahead\": 1,"), "{}", found.ledger);
        assert!(found.ledger.contains("\"clock_steps_forward\": 0,"), "{}", found.ledger);
        assert!(found.summary.contains("  1 packets dated far ahead"), "{}", found.summary);
        assert!(found.summary.contains(", over 599.950 s\n"), "{}", found.summary);
    }
}

#[test]
fn a_clock_that_is_set_back_ends_no_record() {
    // An hour back in the middle.
    let right: Vec<_> = (0..12_000).map(|i| ((i % 20) as u8, BEGIN + i * 50)).collect();
    let mut stepped = right.clone();
    stepped[6_000..].iter_mut().for_each(|(_, ms)| *ms -= 3_600_000);
    let [expected, found] = [&right, &stepped].map(|packets| meter("back", packets, "1"));
    // 600 s of traffic: cut once; timeouts are longer once by the ten seconds that it takes to believe it.
    assert_eq!((expected.others.len(), found.others.len()), (2 * 20, 2 * 20), "{:?}", found.others);
    assert!(found.ledger.contains("\"clock_steps_back\": 1,"), "{}", found.ledger);
    assert!(found.summary.contains("1 times that the clock of the packets went back"), "{}", found.summary);
    for workers in ["2", "3", "8"] {
        assert_eq!(meter("back", &stepped, workers).others, found.others, "{workers} workers");
    }
}
