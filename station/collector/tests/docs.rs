// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables of counters in docs/collector.md are those of the code. `BLESS=1` writes them.

use std::{fmt::Write, fs, path::Path};

use weir_collector::{Decoded, Received};

const MARK: &str = "<!-- counters -->\n";

#[test]
fn the_page_lists_every_counter_with_its_definition() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/collector.md");
    let page = fs::read_to_string(&path).unwrap();
    let (text, tables) = page.split_once(MARK).unwrap();
    let mut expected = String::new();
    for (title, counters) in [("Sockets", Received::DEFINITIONS), ("Decoding", Decoded::DEFINITIONS)] {
        write!(expected, "\n### {title}\n\n| counter | what it counts |\n|---|---|\n").unwrap();
        for (name, definition) in counters {
            writeln!(expected, "| `{name}` | {definition} |").unwrap();
        }
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{text}{MARK}{expected}")).unwrap();
    } else {
        assert_eq!(tables, expected, "run with BLESS=1");
    }
}
