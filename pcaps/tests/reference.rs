// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reference of protocols, `docs/protocols/`, is made from the tables: `BLESS=1` writes it, and this test fails when it
//! is stale.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails the test")]

use std::{fmt::Write, fs};

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
    let ports: Vec<_> = identity.port_hints.iter().map(u16::to_string).collect();
    let mut text = format!("# {slug}\n\n");
    let _ = writeln!(
        text,
        "Looked for on {}, by content on any port; asked first on ports {}. At most {} octets of an incomplete message are\n\
         kept for each direction, and at most {} transactions are open at once. What is parsed, what is not, and by which\n\
         documents: the head of `parsers/src/app/{slug}/mod.rs`.\n",
        transports.join(" and "),
        ports.join(", "),
        identity.max_buffered,
        identity.max_open
    );
    text.push_str("| in filters | column | in JSON | information element | type |\n|---|---|---|---|---|\n");
    for row in rows {
        let kind = format!("{:?}", row.kind);
        let kind = format!("{}{}", kind[..1].to_lowercase(), &kind[1..]);
        let list = if row.list { "basicList of " } else { "" };
        let _ = writeln!(
            text,
            "| `{slug}.{}` | `{slug}_{}` | `{}` | {} | {list}{kind} |",
            row.name,
            row.name,
            row.json,
            element(row.element)
        );
    }
    text.push_str("\nMade from `ipfix/src/mapping/`: `BLESS=1 cargo test -p weir-pcaps --test reference`.\n");
    text
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
