// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records as JSON objects, one a line.
//!
//! Names are those of the mapping tables. Addresses are text, times integers in the unit that the name says, octets
//! hexadecimal, lists arrays. Text that is not UTF-8 gets U+FFFD in place of each bad octet.

use std::{io::Write, net::Ipv6Addr};

use weir_flow::{FlowRecord, Value, app::Fields};

use crate::{
    AbstractType,
    mapping::{self, flow},
};

/// Appends one record as a JSON object and a line feed.
pub fn write_line(record: &FlowRecord<'_>, out: &mut Vec<u8>) {
    let mut separator = b'{';
    let mut name = |name: &str, out: &mut Vec<u8>| {
        out.push(separator);
        separator = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    };
    for row in flow::ROWS {
        if let Some(value) = (row.get)(record) {
            name(row.name, out);
            write_value(row.kind, value, out);
        }
    }
    if let Some(app) = record.app {
        name("applicationName", out);
        write_text(app.slug().as_bytes(), out);
        for row in mapping::rows_of(app.slug()) {
            if let Some(value) = app.value(row.field) {
                name(row.json, out);
                write_value(row.kind, value, out);
            }
        }
    }
    if let Some(statistics) = record.statistics {
        for row in mapping::stats::ROWS {
            if let Some(value) = statistics.value(row.field) {
                name(row.json, out);
                write_value(row.kind, value, out);
            }
        }
    }
    out.extend_from_slice(b"}\n");
}

fn write_value(kind: AbstractType, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(v) => write_number(v, out),
        Value::Signed(v) => print(format_args!("{v}"), out),
        Value::Float(v) if v.is_finite() => print(format_args!("{v}"), out),
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Text(text) => write_text(text, out),
        Value::Octets(octets) => {
            out.push(b'"');
            for octet in octets {
                out.extend([octet >> 4, octet & 0xf].map(|digit| digit + if digit < 10 { b'0' } else { b'a' - 10 }));
            }
            out.push(b'"');
        }
        Value::Ipv4(octets) => {
            let mut separator = b'"';
            for octet in octets {
                out.push(separator);
                separator = b'.';
                write_number(octet.into(), out);
            }
            out.push(b'"');
        }
        Value::Ipv6(octets) => print(format_args!("\"{}\"", Ipv6Addr::from(octets)), out),
        Value::Time(ts) => {
            let number = match kind {
                AbstractType::DateTimeSeconds => ts.as_secs(),
                AbstractType::DateTimeMicroseconds => ts.as_micros(),
                AbstractType::DateTimeNanoseconds => ts.as_nanos(),
                _ => ts.as_millis(),
            };
            write_number(number, out);
        }
        Value::List(list) => {
            let mut separator = b'[';
            for item in list.iter() {
                out.push(separator);
                separator = b',';
                write_value(kind, item, out);
            }
            if separator == b'[' {
                out.push(b'[');
            }
            out.push(b']');
        }
    }
}

/// Writes a text with its quotes; what is no UTF-8 as replacement characters.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_valid(chunk.valid(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Text between quotes: runs of what stands for itself, and escapes.
fn write_valid(text: &str, out: &mut Vec<u8>) {
    let mut written = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| matches!(c, '"' | '\\') || c.is_control()) {
        out.extend_from_slice(text.get(written..at).unwrap_or_default().as_bytes());
        written = at + c.len_utf8();
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c => print(format_args!("\\u{:04x}", u32::from(c)), out),
        }
    }
    out.extend_from_slice(text.get(written..).unwrap_or_default().as_bytes());
}

/// A number in decimal. Formatting by the standard library took most of the time of a record.
pub fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut left = number;
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
        start -= 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Writing to memory cannot fail.
fn print(arguments: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use weir_flow::{FlowKey, app::Http};

    use super::*;

    #[test]
    fn a_record_is_one_line_of_json() {
        let mut http = Http::default();
        http.request_target.set(b"/a\"b\\c\n\x01\xff\xc3\xa9", &mut http.memory);
        http.status_code = Some(200);
        let record = FlowRecord {
            key: FlowKey::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 1, 80, 6),
            app: Some((&http).into()),
            ..FlowRecord::default()
        };
        let mut out = Vec::new();
        write_line(&record, &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with("{\"sourceIPv4Address\":\"192.0.2.1\",\"destinationIPv4Address\":\"192.0.2.2\","));
        let end = ",\"applicationName\":\"http\",\"httpRequestTarget\":\"/a\\\"b\\\\c\\n\\u0001\u{fffd}é\",\"httpStatusCode\":200}\n";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn numbers_and_octets_are_written_in_full() {
        for number in [0, 7, 10, 99, 1_000_000, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
        let mut out = Vec::new();
        write_value(AbstractType::OctetArray, Value::Octets(&[0x00, 0x9a, 0xbf]), &mut out);
        write_value(AbstractType::Ipv4Address, Value::Ipv4([0, 10, 255, 1]), &mut out);
        assert_eq!(out, b"\"009abf\"\"0.10.255.1\"");
    }
}
