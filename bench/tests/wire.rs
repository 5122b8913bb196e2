// SPDX-License-Identifier: MIT OR Apache-2.0
//! A trial on a wire of its own. Without the rights or programs for that, the test says so and passes.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
};

use serde_json::Value;
use weir_bench::wire::lab::Wire;

const PROGRAM: &str = env!("CARGO_BIN_EXE_weir-bench");

/// What is missing, if anything.
fn obstacle() -> Option<String> {
    if let Err(error) = Wire::new(1) {
        return Some(format!("no wire: {error:#}"));
    }
    let meter = Path::new(PROGRAM).with_file_name("weir-meter");
    (!meter.is_file()).then(|| format!("{} was not built", meter.display()))
}

fn wire(arguments: &str, json: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("wire").args(arguments.split(' ')).arg("--json").arg(json);
    command.output().unwrap()
}

fn namespaces_of(id: u32) -> usize {
    let prefix = format!("weir-bench-{id}-");
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count()
}

#[test]
fn what_is_sent_is_metered_or_lost_by_a_counter() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let json: PathBuf = env::temp_dir().join(format!("weir-bench-wire-test-{}.json", process::id()));
    for arguments in ["--rate 20000 --seconds 1", "--rate max --seconds 1 --queues 2 --traffic mix"] {
        let output = wire(arguments, &json);
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments}: {text}{errors}");
        assert!(text.lines().any(|line| line.starts_with('✓') && line.contains("sent = ")), "{text}");
        let trial: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
        let number = |value: &Value| value.as_u64().unwrap();
        let sent = number(&trial["sent"]["packets"]);
        assert!(sent > 0);
        assert_eq!(sent, number(&trial["metered_packets"]) + number(&trial["lost_packets"]), "{trial:#}");
        assert_eq!(trial["closes"], true);
    }
    fs::remove_file(json).unwrap();
    assert_eq!(namespaces_of(process::id()), 0);
}

#[test]
fn a_receiver_that_does_not_start_fails_the_trial_and_nothing_stays() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let child = Command::new(PROGRAM)
        .args(["wire", "--rate", "1000", "--seconds", "1", "--weir", "/bin/false"])
        .stdout(process::Stdio::piped())
        .stderr(process::Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the receiver has ended"), "{output:?}");
    assert_eq!(namespaces_of(id), 0);
}

#[test]
fn a_rate_that_is_none_is_said() {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return;
    }
    let output = wire("--rate fast", Path::new("/dev/null"));
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("neither a number nor max"));
}
