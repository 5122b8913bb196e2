// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which information element carries which field: one table for each application protocol, [`flow`] for what every record
//! has, and [`stats`] for what is measured if it is asked for. Exporter, collector, JSON, columns and filter names are all made from these tables, so they cannot drift.
//!
//! Where CESNET or Flowmon have a number for a field, that number is used, since collectors in the field know it; else
//! IANA's; else one under [`WEIR`](crate::WEIR). What others send for the same field is an alias.

pub mod flow;

use std::{collections::HashMap, sync::LazyLock};

use crate::{AbstractType, Element};

const fn iana(id: u16) -> Element {
    Element::new(0, id)
}
const fn cesnet(id: u16) -> Element {
    Element::new(8057, id)
}
const fn flowmon(id: u16) -> Element {
    Element::new(39499, id)
}
const fn reverse(id: u16) -> Element {
    Element::new(crate::REVERSE, id)
}
const fn weir(id: u16) -> Element {
    Element::new(crate::WEIR, id)
}

/// One field of an application protocol.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Index of the field in its struct; see [`weir_flow::app::Fields`].
    pub field: usize,
    /// Name in filters, after the slug and a dot, and in column names, after the slug and an underscore.
    pub name: &'static str,
    /// Name in JSON records: IANA's where there is one.
    pub json: &'static str,
    /// The element that carries it.
    pub element: Element,
    /// Type of that element.
    pub kind: AbstractType,
    /// Whether the field holds several values: then it is a basicList of the element (RFC 6313).
    pub list: bool,
    /// Other elements that carry the same.
    pub aliases: &'static [Element],
}

/// Makes the table of one protocol: `field "json name" type = element, aliases;` and `[type]` for a list.
macro_rules! rows {
    ($fields:ident: $($field:ident $json:literal $kind:tt = $element:expr $(, $alias:expr)*;)*) => {
        /// The protocol's fields.
        pub const ROWS: &[$crate::mapping::Row] = &[$($crate::mapping::Row {
            field: weir_flow::app::$fields::field(stringify!($field)),
            name: stringify!($field),
            json: $json,
            element: $element,
            kind: rows!(@kind $kind),
            list: rows!(@list $kind),
            aliases: &[$($alias),*],
        }),*];

        /// The rows whose fields are set, a bit for each.
        pub(crate) fn present(fields: &weir_flow::app::$fields) -> u64 {
            let is_set = [$(weir_flow::Field::value(&fields.$field, &fields.memory).is_some()),*];
            is_set.iter().rev().fold(0, |present, is_set| present << 1 | u64::from(*is_set))
        }

        /// Writes the values of these rows in the order of the table; see [`ROWS`].
        pub(crate) fn write(
            fields: &weir_flow::app::$fields,
            present: u64,
            out: &mut $crate::encode::Cursor<'_>,
        ) {
            $(if present & (1 << const { weir_flow::app::$fields::field(stringify!($field)) }) != 0 {
                let value = weir_flow::Field::value(&fields.$field, &fields.memory);
                rows!(@write $kind, $element, value, out);
            })*
        }
    };
    (@write [$kind:ident], $element:expr, $value:ident, $out:ident) => {
        $out.list($element, $crate::AbstractType::$kind, $value)
    };
    (@write $kind:ident, $element:expr, $value:ident, $out:ident) => {
        $out.value($crate::AbstractType::$kind, $value)
    };
    (@kind [$kind:ident]) => { $crate::AbstractType::$kind };
    (@kind $kind:ident) => { $crate::AbstractType::$kind };
    (@list [$kind:ident]) => { true };
    (@list $kind:ident) => { false };
}

macro_rules! declare {
    ($($name:ident $slug:ident,)*) => {
        $(pub mod $slug;)*

        /// Slug and table of every protocol, in the order of [`weir_flow::app::SLUGS`].
        pub const PROTOCOLS: &[(&str, &[Row])] = &[$((stringify!($slug), $slug::ROWS)),*];
    };
}
weir_flow::app_protocols!(declare);
// Behind the macro that makes its table.
pub mod stats;

/// Slug of the statistics, which are no protocol: in filters and column names.
pub const STATS: &str = "stats";

/// The row of the statistics that an element belongs to, if any.
#[must_use]
pub fn lookup_stats(element: Element) -> Option<&'static Row> {
    static BY_ELEMENT: LazyLock<HashMap<Element, &'static Row>> = LazyLock::new(|| {
        let elements = |row: &'static Row| std::iter::once(&row.element).chain(row.aliases).map(move |of| (*of, row));
        stats::ROWS.iter().flat_map(elements).collect()
    });
    BY_ELEMENT.get(&element).copied()
}

/// The table of a protocol by slug; empty if there is no such protocol.
#[must_use]
pub fn rows_of(slug: &str) -> &'static [Row] {
    PROTOCOLS.iter().find(|p| p.0 == slug).map_or(&[], |p| p.1)
}

/// The field that an element carries: slug of the protocol and its row. `None` if no application field.
#[must_use]
pub fn lookup(element: Element) -> Option<(&'static str, &'static Row)> {
    static BY_ELEMENT: LazyLock<HashMap<Element, (&'static str, &'static Row)>> = LazyLock::new(|| {
        let mut map = HashMap::new();
        for (slug, rows) in PROTOCOLS {
            for row in *rows {
                for element in std::iter::once(&row.element).chain(row.aliases) {
                    map.insert(*element, (*slug, row));
                }
            }
        }
        map
    });
    BY_ELEMENT.get(&element).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_field_of_every_protocol_has_one_row() {
        for ((slug, rows), known) in PROTOCOLS.iter().zip(weir_flow::app::SLUGS) {
            assert_eq!(slug, known);
            let fields: Vec<_> = rows.iter().map(|r| r.field).collect();
            assert_eq!(fields, (0..fields.len()).collect::<Vec<_>>(), "{slug}: rows in the order of the fields");
            let mut app = weir_flow::app::AppFields::new(slug).unwrap();
            assert!(!app.assign(fields.len(), weir_flow::Value::Unsigned(0)), "{slug}: a field has no row");
        }
    }

    #[test]
    fn names_in_json_begin_with_the_protocol() {
        for (slug, rows) in PROTOCOLS {
            for row in *rows {
                // RTCP goes with RTP; `reverse` stands in front, as of all elements (RFC 5103).
                let forward = row.json.strip_prefix("reverse").map(|rest| rest[..1].to_lowercase() + &rest[1..]);
                let name = forward.as_deref().unwrap_or(row.json);
                let what = name.strip_prefix(slug).or(name.strip_prefix("rtcp").filter(|_| *slug == "rtp"));
                assert!(what.is_some_and(|what| what.starts_with(|c: char| c.is_ascii_uppercase())), "{}", row.json);
            }
        }
    }

    #[test]
    fn no_element_carries_two_fields() {
        let mut seen = HashSet::new();
        for (slug, rows) in PROTOCOLS {
            for row in *rows {
                for element in std::iter::once(&row.element).chain(row.aliases) {
                    assert!(seen.insert(*element), "{slug}.{}: {element:?}", row.name);
                }
            }
        }
        for row in stats::ROWS {
            for element in std::iter::once(&row.element).chain(row.aliases) {
                assert!(seen.insert(*element), "{}: {element:?}", row.name);
            }
        }
        for row in flow::ROWS.iter().chain(flow::READ_ONLY) {
            assert!(!seen.contains(&row.element), "{}", row.name);
        }
    }

    #[test]
    fn every_statistic_has_one_row_of_the_type_of_the_registry() {
        use weir_flow::app::Fields;
        let fields: Vec<_> = stats::ROWS.iter().map(|row| row.field).collect();
        assert_eq!(fields, (0..weir_flow::Statistics::FIELDS.len()).collect::<Vec<_>>());
        assert!(fields.len() <= 64 && weir_flow::Statistics::SLUG == STATS);
        for row in stats::ROWS.iter().filter(|row| row.element.enterprise != crate::WEIR) {
            let (name, kind) = crate::registry::lookup(row.element).unwrap();
            let is_of_burst = [1050, 1051, 1054, 1055].contains(&row.element.id) && row.element.enterprise == 8057;
            assert!(kind == row.kind || is_of_burst, "{}: {name}", row.name);
            if row.element.enterprise != crate::REVERSE {
                assert_eq!(name, row.json, "{}", row.name);
            }
        }
    }

    #[test]
    fn statistics_are_documented_as_they_are() {
        let text = include_str!("../../../docs/statistics.md");
        for row in stats::ROWS {
            let kind = format!("{:?}", row.kind);
            let kind = format!("{}{}", kind[..1].to_lowercase(), &kind[1..]);
            let kind = if row.list { format!("list of {kind}") } else { kind };
            let Element { enterprise, id } = row.element;
            let line = format!("| `{}` | {} | {enterprise}/{id} | {kind} |", row.name, row.json);
            assert!(text.contains(&line), "docs/statistics.md lacks: {line}");
        }
    }

    #[test]
    fn known_elements_have_the_type_of_the_registry() {
        for (slug, rows) in PROTOCOLS {
            for row in rows.iter().filter(|r| r.element.enterprise != crate::WEIR) {
                let (name, kind) = crate::registry::lookup(row.element).unwrap();
                assert_eq!(kind, row.kind, "{slug}.{}: {name}", row.name);
            }
        }
    }
}
