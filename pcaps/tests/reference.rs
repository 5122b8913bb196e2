// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reference of protocols, `docs/protocols/`, is made from the tables, what is written at the fields, and the heads of the
//! parsers: `BLESS=1` writes it, and this test fails when it is stale.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

use std::{collections::HashMap, fmt::Write, fs};

use weir_ipfix::{Element, WEIR, mapping, registry};
use weir_parsers::app::{IDENTITIES, Transport};

fn page(slug: &str, rows: &[mapping::Row]) -> String {
    let identity = IDENTITIES.iter().find(|i| i.slug == slug).unwrap();
    let transports: Vec<_> = identity
        .transports
        .iter()
        .map(|t| match t {
            Transport::Stream => "TCP",
            Transport::Datagram => "UDP",
        })
        .collect();
    let mut text = format!("# {slug}\n\n");
    let _ = writeln!(
        text,
        "Looked for on {}, by content on any port{}. {} of an incomplete message\n{} kept for each direction, and at most {} open at once.\n",
        transports.join(" and "),
        asked_first(identity.port_hints),
        counted("At most ", identity.max_buffered, "octet", "Nothing"),
        if identity.max_buffered > 1 { "are" } else { "is" },
        if identity.max_open == 1 {
            "one transaction is".into()
        } else {
            format!("{} transactions are", identity.max_open)
        },
    );
    text.push_str(&head(slug));
    text.push_str("\n## Fields\n\n");
    text.push_str(
        "| in filters | column | in JSON | information element | type | what it is |\n|---|---|---|---|---|---|\n",
    );
    let meanings = meanings(slug);
    for row in rows {
        let meaning = meanings.get(row.name);
        assert!(meaning.is_some(), "{slug}.{}: what is it?", row.name);
        let kind = format!("{:?}", row.kind);
        let kind = format!("{}{}", kind[..1].to_lowercase(), &kind[1..]);
        let list = if row.list { "basicList of " } else { "" };
        let _ = writeln!(
            text,
            "| `{slug}.{}` | `{slug}_{}` | `{}` | {} | {list}{kind} | {} |",
            row.name,
            row.name,
            row.json,
            element(row.element),
            meaning.map_or("", |meaning| meaning.as_str())
        );
    }
    let _ = writeln!(
        text,
        "\nMade from `parsers/src/app/{slug}/mod.rs`, `flow/src/app/{slug}.rs` and `ipfix/src/mapping/{slug}.rs`:\n\
         `BLESS=1 cargo test -p weir-pcaps --test reference`."
    );
    text
}

fn asked_first(ports: &[u16]) -> String {
    let listed: Vec<_> = ports.iter().map(u16::to_string).collect();
    match ports.len() {
        0 => String::new(),
        1 => format!("; asked first on port {}", listed.join("")),
        _ => format!("; asked first on ports {}", listed.join(", ")),
    }
}

fn counted(before: &str, number: usize, what: &str, none: &str) -> String {
    match number {
        0 => none.into(),
        1 => format!("{before}1 {what}"),
        _ => format!("{before}{number} {what}s"),
    }
}

fn source(path: &str) -> String {
    fs::read_to_string(weir_pcaps::folder().join("..").join(path)).unwrap()
}

/// What the head of the parser says: documents, what is parsed, what is not, bounds.
fn head(slug: &str) -> String {
    let source = source(&format!("parsers/src/app/{slug}/mod.rs"));
    let lines = source.lines().filter_map(|line| line.strip_prefix("//!"));
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// What is written at each field.
fn meanings(slug: &str) -> HashMap<String, String> {
    let (mut meanings, mut lines) = (HashMap::new(), Vec::new());
    for line in source(&format!("flow/src/app/{slug}.rs")).lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            lines.push(doc.trim().replace('|', "\\|"));
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")) {
            meanings.insert(name.to_owned(), lines.join(" "));
            lines.clear();
        } else {
            lines.clear();
        }
    }
    meanings
}

fn element(element: Element) -> String {
    let owner = match element.enterprise {
        0 => "IANA",
        8057 => "CESNET",
        39499 => "Flowmon",
        WEIR => return format!("Weir {}/{}", element.enterprise, element.id),
        _ => "",
    };
    let name = registry::lookup(element).map_or("", |row| row.0);
    format!("{owner} {}/{} {name}", element.enterprise, element.id)
}

#[test]
fn the_reference_of_protocols_is_fresh() {
    let folder = weir_pcaps::folder().join("../docs/protocols");
    for (slug, rows) in mapping::PROTOCOLS {
        let path = folder.join(format!("{slug}.md"));
        let text = page(slug, rows);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
        } else {
            assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "{slug}: BLESS=1 writes it anew");
        }
    }
}
