// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures replayed over a wire with tcpreplay give the records that they give when they are read from a file.
//!
//! Replayed are all bundled captures of Ethernet whose frames are there in full and fit on the wire; not those with snapped
//! packets, of other link layers, or of a loopback with frames larger than those of an Ethernet. They are put together in one
//! file, a microsecond between packets, so that no timeout comes between those who lie minutes apart in one way of reading and
//! not in the other.
//!
//! Records must be the same but for times, `flowId` (a hash that is of one process), and `ingressInterface`, which only those of
//! an interface have.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    LAYERS, assert_closes,
    common::{METER, netns::Wire, number},
    ended, lost, meter_of, peers,
};

/// Largest frame that the wire carries here: 1500 octets, an Ethernet header, two VLAN tags.
const LARGEST: usize = 1522;
/// Octets of a capture file's header, and of a packet's header in it.
const FILE_HEADER: usize = 24;
/// Octets of a packet's header in it.
const PACKET_HEADER: usize = 16;
/// Link type of Ethernet.
const ETHERNET: u32 = 1;

/// Frames of a capture file, if all of them can be sent.
fn frames_of(path: &Path) -> Option<Vec<Vec<u8>>> {
    let file = fs::read(path).unwrap();
    // All that are bundled were written by a machine of this byte order.
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert!([0xa1b2_c3d4, 0xa1b2_3c4d].contains(&word(0)), "{}", path.display());
    let mut frames = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let [captured, on_the_wire] = [word(at + 8), word(at + 12)].map(|octets| octets as usize);
        at += PACKET_HEADER + captured;
        frames.push(file[at - captured..at].to_vec());
        if captured < on_the_wire || captured > LARGEST {
            return None;
        }
    }
    (word(20) == ETHERNET).then_some(frames)
}

/// Captures that lie in a folder or in one of its folders.
fn captures_in(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(captures_in(&path));
        } else if path.extension().is_some_and(|ending| ending == "pcap") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Writes frames as a capture file, a microsecond between them.
fn write(frames: &[Vec<u8>], to: &Path) {
    let mut file: Vec<u8> = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (micros, frame) in (0..).zip(frames) {
        let octets = u32::try_from(frame.len()).unwrap();
        for word in [1_700_000_000_u32, micros, octets, octets] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    fs::write(to, file).unwrap();
}

/// What names of fields that measure time have in them.
const TIMES: [&str; 8] =
    ["Milliseconds", "Microseconds", "ResponseTime", "TimeTo", "Jitter", "ClockRate", "RoundTrip", "Duration"];

/// Records without what depends on when they were made, in an order of their own.
fn timeless(records: Vec<Value>) -> Vec<String> {
    let strip = |mut record: Value| {
        record.as_object_mut().unwrap().retain(|name, _| {
            !TIMES.iter().any(|time| name.contains(time)) && !["flowId", "ingressInterface"].contains(&name.as_str())
        });
        record.to_string()
    };
    let mut lines: Vec<_> = records.into_iter().map(strip).collect();
    lines.sort();
    lines
}

fn records_of_file(file: &Path) -> Vec<Value> {
    let output = Command::new(METER).args(["-q", "--export", "json:-", "-r"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_replayed_capture_gives_the_records_of_the_file() {
    if !peers::are_there(&["tcpreplay"]) {
        return;
    }
    let captures = captures_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pcaps"));
    let frames: Vec<Vec<u8>> = captures.iter().filter_map(|path| frames_of(path)).flatten().collect();
    assert!(frames.len() > 5000, "the captures were not found: {} frames", frames.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.pcap");
    write(&frames, &file);
    let expected = timeless(records_of_file(&file));
    assert!(expected.len() > 2000, "{} records", expected.len());
    for layer in LAYERS {
        let Some(wire) = Wire::new() else { return };
        // Room for two tags, of which the system knows none when it is told what to send.
        wire.left.ip(&format!("link set {} mtu 1508", Wire::LEFT));
        wire.right.ip(&format!("link set {} mtu 1508", Wire::RIGHT));
        // All of them fit into its rings.
        let meter = meter_of(&wire, layer, "--memory 256MiB");
        let interface = format!("--intf1={}", Wire::LEFT);
        let printed = peers::run(&wire.left, "tcpreplay", &["-q", "--pps=30000", &interface, file.to_str().unwrap()]);
        assert!(printed.contains(&format!("Successful packets:        {}", frames.len())), "{printed}");
        meter.wait_for_packets(frames.len() as u64);
        let (ledger, records) = ended(meter);
        assert_eq!(
            (number(&ledger, "capture", "offered_packets"), lost(&ledger)),
            (frames.len() as u64, 0),
            "{printed}"
        );
        assert_closes(&ledger, layer);
        let interface: Value = serde_json::from_str(&wire.right.ip(&format!("-j link show {}", Wire::RIGHT))).unwrap();
        assert!(records.iter().all(|record| record["ingressInterface"] == interface[0]["ifindex"]), "{layer}");
        let found = timeless(records);
        let differ =
            |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).take(3).cloned().collect::<Vec<_>>();
        assert!(
            found == expected,
            "{layer}: only live: {:#?}\nonly of the file: {:#?}",
            differ(&found, &expected),
            differ(&expected, &found)
        );
    }
}
