// SPDX-License-Identifier: MIT OR Apache-2.0
//! A capture on standard input, with one worker and with several; and whoever reads standard output has had enough.

#![expect(clippy::unwrap_used, reason = "a program that does not run fails the test")]

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

fn weir_meter(input: Stdio, workers: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-meter"));
    command.args(["-r", "-", "--export", "json:-", "--quiet", "--workers", workers]);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn sorted_lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<_> = String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn standard_input_may_have_several_workers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pcaps/office.pcap");
    let from_file = |workers| sorted_lines(&weir_meter(File::open(&path).unwrap().into(), workers).output().unwrap());
    let one = from_file("1");
    assert!(one.len() > 10, "{}", one.len());
    for workers in ["2", "3", "8"] {
        assert_eq!(from_file(workers), one, "{workers} workers");
    }
    // Through a pipe, in pieces.
    let mut child = weir_meter(Stdio::piped(), "2").spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for piece in std::fs::read(&path).unwrap().chunks(1_000) {
        pipe.write_all(piece).unwrap();
        pipe.flush().unwrap();
    }
    drop(pipe);
    assert_eq!(sorted_lines(&child.wait_with_output().unwrap()), one);
}

#[test]
fn a_reader_may_have_had_enough_and_what_it_did_not_take_is_counted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pcaps/office.pcap");
    let ledger = std::env::temp_dir().join(format!("weir-had-enough-{}.json", std::process::id()));
    let run = |quiet: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-meter"));
        command.args(["--export", "json:-", "--ledger"]).arg(&ledger).args(quiet).arg("-r").arg(&path);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    };
    let output = run(&[]);
    let summary = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{summary}");
    let counters = std::fs::read_to_string(&ledger).unwrap();
    let counter = |name: &str| -> u64 {
        let of = |line: &str| line.trim().strip_prefix(&format!("\"{name}\": "))?.trim_end_matches(',').parse().ok();
        counters.lines().find_map(of).unwrap()
    };
    let (created, sent) = (counter("records_created"), counter("records_sent"));
    let lost = counter("records_not_sent") + counter("records_dropped_queue");
    assert!(sent == 0 && lost == created && created > 10, "{counters}");
    assert!(summary.contains("not sent, since their reader had enough"), "{summary}");
    assert!(!summary.to_lowercase().contains("broken pipe"), "{summary}");
    let output = run(&["--quiet"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&ledger).unwrap();
}
