// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records as JSON objects, one a line.
//!
//! Names are those of the mapping tables. Addresses are text, times integers in the unit that the name says, octets
//! hexadecimal, lists arrays. Text that is not UTF-8 gets U+FFFD in place of each bad octet.

use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use weir_flow::{FlowRecord, Value};

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
    out.extend_from_slice(b"}\n");
}

fn write_value(kind: AbstractType, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(v) => print(format_args!("{v}"), out),
        Value::Signed(v) => print(format_args!("{v}"), out),
        Value::Float(v) if v.is_finite() => print(format_args!("{v}"), out),
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Text(text) => write_text(text, out),
        Value::Octets(octets) => {
            out.push(b'"');
            for octet in octets {
                print(format_args!("{octet:02x}"), out);
            }
            out.push(b'"');
        }
        Value::Ipv4(octets) => print(format_args!("\"{}\"", Ipv4Addr::from(octets)), out),
        Value::Ipv6(octets) => print(format_args!("\"{}\"", Ipv6Addr::from(octets)), out),
        Value::Time(ts) => {
            let number = match kind {
                AbstractType::DateTimeSeconds => ts.as_secs(),
                AbstractType::DateTimeMicroseconds => ts.as_micros(),
                AbstractType::DateTimeNanoseconds => ts.as_nanos(),
                _ => ts.as_millis(),
            };
            print(format_args!("{number}"), out);
        }
        Value::List(list) => {
            let mut separator = b'[';
            for item in (0..list.count()).filter_map(|i| list.at(i)) {
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

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                c if c.is_control() => print(format_args!("\\u{:04x}", u32::from(c)), out),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
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
        http.request_target.set(b"/a\"b\\c\n\x01\xff\xc3\xa9");
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
}
