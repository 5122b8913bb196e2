// SPDX-License-Identifier: MIT OR Apache-2.0
//! The comparison as it is run, with what is always there: the bounds, and a program that is no meter.
#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_weir-bench");

fn compare(name: &str, arguments: &[&str]) -> (Output, PathBuf) {
    let folder = env::temp_dir().join(format!("weir-bench-test-{}-{name}", process::id()));
    let mut command = Command::new(PROGRAM);
    command.args(["compare", "--dir"]).arg(&folder).args(arguments);
    (command.output().unwrap(), folder)
}

#[test]
fn the_bounds_count_what_is_in_every_trace() {
    let (output, folder) = compare("bounds", &["--quick", "--weir", PROGRAM, "--only", "floor,reading"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().filter(|line| line.starts_with("  ") && line.ends_with(" exact")).count(), 3 * 5, "{text}");
    assert!(!text.contains("NOT"), "{text}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_meter_that_fails_is_a_failure_and_all_is_reported_nevertheless() {
    let out = |ending: &str| env::temp_dir().join(format!("weir-bench-test-{}.{ending}", process::id()));
    let (json, svg) = (out("json"), out("svg"));
    let (output, folder) = compare(
        "figures",
        &[
            "--weir",
            &format!("x={PROGRAM}"),
            "--only",
            "x,floor",
            "--traces",
            "u1k,u10k",
            "--packets",
            "2000",
            "--rounds",
            "2",
            "--json",
            json.to_str().unwrap(),
            "--svg",
            svg.to_str().unwrap(),
        ],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("failed:") && text.contains("RFC 6645"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let subjects = value["traces"][0]["subjects"].as_array().unwrap();
    let floor = subjects.iter().find(|s| s["subject"] == "floor").unwrap();
    assert_eq!((floor["runs"].as_array().unwrap().len(), &floor["is_exact"]), (2, &true.into()));
    let meter = subjects.iter().find(|s| s["subject"] == "x").unwrap();
    assert!(meter["failure"].is_string() && meter["is_exact"] == false);
    assert!(fs::read_to_string(&svg).unwrap().ends_with("</svg>\n"));
    fs::remove_file(json).unwrap();
    fs::remove_file(svg).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn traces_that_are_not_there_are_named() {
    let (output, _) = compare("none", &["--weir", PROGRAM, "--traces", "u7"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("u7") && text.contains("u1k, u10k"), "{text}");
}
