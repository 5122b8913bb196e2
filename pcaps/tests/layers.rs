// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may import whom: the table of rooms in ARCHITECTURE.md, enforced.

use cargo_metadata::{DependencyKind, MetadataCommand};

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

#[test]
fn no_room_imports_what_it_must_not() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in metadata.workspace_packages() {
        if ["weir-bench", "weir-pcaps"].contains(&package.name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|row| row.0 == package.name.as_str()) else {
            panic!("{} has no row in the table of rooms", package.name);
        };
        let rooms = package.dependencies.iter().filter(|d| d.name.starts_with("weir"));
        for dependency in rooms.filter(|d| d.kind != DependencyKind::Development) {
            assert!(allowed.contains(&dependency.name.as_str()), "{} imports {}", package.name, dependency.name);
        }
    }
}

#[test]
fn the_meter_stays_light() {
    let metadata = MetadataCommand::new().exec().unwrap();
    let resolve = metadata.resolve.unwrap();
    let name = |id| metadata.packages.iter().find(|p| p.id == id).map(|p| p.name.to_string()).unwrap();
    let node = |id| resolve.nodes.iter().find(|n| n.id == id).unwrap();
    let meter = metadata.packages.iter().find(|p| p.name.as_str() == "weir-meter").unwrap();
    let mut open = vec![meter.id.clone()];
    let mut seen = open.clone();
    while let Some(id) = open.pop() {
        for dependency in &node(id.clone()).deps {
            if dependency.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal) && !seen.contains(&dependency.pkg)
            {
                let found = name(dependency.pkg.clone());
                assert!(!NOT_IN_THE_METER.contains(&found.as_str()), "{} brings {found}", name(id.clone()));
                seen.push(dependency.pkg.clone());
                open.push(dependency.pkg.clone());
            }
        }
    }
    assert!(seen.len() > 5, "the walk found next to nothing");
}
