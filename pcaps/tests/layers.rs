// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may import whom: the table of rooms in ARCHITECTURE.md, enforced.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

use std::process::Command;

use serde_json::Value;

/// Each room, and the rooms that it may import. Arrows go down only; `bench` and `pcaps` see everything and are seen by
/// nobody.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("weir-flow", &[]),
    ("weir-ipfix", &["weir-flow"]),
    ("weir-parsers", &["weir-flow"]),
    ("weir-metering", &["weir-flow", "weir-parsers"]),
    ("weir-xdp", &["weir-flow"]),
    ("weir-export", &["weir-flow", "weir-ipfix"]),
    ("weir-meter", &["weir-flow", "weir-parsers", "weir-metering", "weir-xdp", "weir-export"]),
    ("weir-collector", &["weir-flow", "weir-ipfix"]),
    ("weir-store", &["weir-flow", "weir-ipfix"]),
    ("weir-analysis", &["weir-flow"]),
    ("weir-ui", &["weir-flow", "weir-store", "weir-analysis"]),
    ("weir", &["weir-flow", "weir-ipfix", "weir-collector", "weir-store", "weir-analysis", "weir-ui"]),
];

/// Crates that would make the meter too heavy for a router.
const NOT_IN_THE_METER: &[&str] = &["tokio", "arrow", "parquet", "datafusion", "async-std", "hyper"];

/// What `cargo metadata` says; with `--no-deps`, of this workspace alone.
fn metadata(arguments: &[&str]) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(weir_pcaps::folder())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn no_room_imports_what_it_must_not() {
    for package in list(&metadata(&["--no-deps"])["packages"]) {
        let name = package["name"].as_str().unwrap();
        if ["weir-bench", "weir-pcaps"].contains(&name) {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|row| row.0 == name) else {
            panic!("{name} has no row in the table of rooms");
        };
        for dependency in list(&package["dependencies"]).iter().filter(|d| d["kind"] != "dev") {
            let room = dependency["name"].as_str().unwrap();
            assert!(!room.starts_with("weir") || allowed.contains(&room), "{name} imports {room}");
        }
    }
}

#[test]
fn the_meter_stays_light() {
    let metadata = metadata(&[]);
    let packages = list(&metadata["packages"]);
    let nodes = list(&metadata["resolve"]["nodes"]);
    let name = |id: &Value| packages.iter().find(|p| p["id"] == *id).unwrap()["name"].as_str().unwrap();
    let mut open: Vec<&Value> = packages.iter().filter(|p| p["name"] == "weir-meter").map(|p| &p["id"]).collect();
    let mut seen = open.clone();
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|n| n["id"] == *id).unwrap();
        for dependency in list(&node["deps"]) {
            let is_normal = list(&dependency["dep_kinds"]).iter().any(|k| k["kind"].is_null());
            if is_normal && !seen.contains(&&dependency["pkg"]) {
                let found = name(&dependency["pkg"]);
                assert!(!NOT_IN_THE_METER.contains(&found), "{} brings {found}", name(id));
                seen.push(&dependency["pkg"]);
                open.push(&dependency["pkg"]);
            }
        }
    }
    assert!(seen.len() > 5, "the walk found next to nothing");
}
