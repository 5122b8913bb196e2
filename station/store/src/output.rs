// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines in nfdump's shapes. Times are UTC.

use std::fmt::Write;

use weir_flow::{FlowRecord, IpVersion, Timestamp, Value, protocol};

use crate::{
    Error, StoredRecord,
    filter::{self, duration_millis},
    names,
    schema::{APP, AppColumn, address_text},
};

/// The shape of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// `firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows`.
    Csv,
    /// One array of objects, as the meter writes them: with the names of information elements.
    Json,
    /// One object a line, as the meter writes them.
    Ndjson,
    /// Nothing but the summary.
    Null,
    /// Lines of tags and text.
    Text(Vec<Segment>),
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// Text as it is.
    Literal(String),
    /// A tag of nfdump, by index in the table of tags.
    Tag(usize),
    /// An application field: `%{http.host}`.
    Field(&'static str),
}

const LINE: &str = "%ts %td %pr %sap -> %dap %pkt %byt %fl";
const FORMATS: &[(&str, &str)] = &[
    ("line", LINE),
    ("long", "%ts %td %pr %sap -> %dap %flg %tos %pkt %byt %fl"),
    ("extended", "%ts %td %pr %sap -> %dap %flg %tos %pkt %byt %pps %bps %bpp %fl"),
    ("biline", "%ts %td %pr %sap <-> %dap %opkt %ipkt %obyt %ibyt %fl"),
    ("bilong", "%ts %td %pr %sap <-> %dap %flg %tos %opkt %ipkt %obyt %ibyt %fl"),
];

impl Default for Format {
    fn default() -> Self {
        Self::Text(segments(LINE).unwrap_or_default())
    }
}

impl Format {
    /// Reads the name of a format, or `fmt:` and tags.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] if there is no such format or tag.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(format) = text.strip_prefix("fmt:") {
            return Ok(Self::Text(segments(format)?));
        }
        if let Some((_, format)) = FORMATS.iter().find(|f| f.0 == text) {
            return Ok(Self::Text(segments(format)?));
        }
        match text {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "null" => Ok(Self::Null),
            _ => Err(Error::Option {
                option: "-o",
                found: text.to_owned(),
                allowed: "line, long, extended, biline, bilong, csv, json, ndjson, null, fmt:TAGS".to_owned(),
            }),
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

fn segments(format: &str) -> Result<Vec<Segment>, Error> {
    let unknown = |tag: &str| Error::Option {
        option: "-o fmt:",
        found: tag.to_owned(),
        allowed: format!("{}, %{{FIELD}}", TAGS.iter().map(|t| t.name).collect::<Vec<_>>().join(", ")),
    };
    let mut segments = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (literal, tag) = rest.split_at(at);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal.to_owned()));
        }
        if let Some(name) = tag.strip_prefix("%{") {
            let Some((name, left)) = name.split_once('}') else { return Err(unknown(tag)) };
            let Some(column) = filter::resolve(name) else { return Err(unknown(name)) };
            segments.push(Segment::Field(&column.name));
            rest = left;
            continue;
        }
        let end = tag.char_indices().skip(1).find(|(_, c)| !c.is_ascii_alphanumeric()).map_or(tag.len(), |(i, _)| i);
        let (name, left) = tag.split_at(end);
        if let Some(index) = TAGS.iter().position(|t| t.name == name) {
            segments.push(Segment::Tag(index));
        } else if let Some((_, format)) = FORMATS.iter().find(|f| name.strip_prefix('%') == Some(f.0)) {
            segments.extend(self::segments(format)?);
        } else {
            return Err(unknown(name));
        }
        rest = left;
    }
    if !rest.is_empty() {
        segments.push(Segment::Literal(rest.to_owned()));
    }
    Ok(segments)
}

/// How numbers and addresses are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// Numbers in full (`-N`).
    pub(crate) plain: bool,
    /// IPv6 addresses in full (`-6`).
    pub(crate) full_v6: bool,
}

/// What a line shows: a record, or the sum of several.
pub(crate) struct Line {
    pub(crate) record: StoredRecord,
    pub(crate) flows: u64,
}

struct Tag {
    name: &'static str,
    header: &'static str,
    print: fn(&FlowRecord<'_>, u64, Style) -> String,
}

macro_rules! tags {
    ($($name:literal $header:literal $print:expr;)*) => {
        const TAGS: &[Tag] = &[$(Tag { name: $name, header: $header, print: $print }),*];
    };
}

tags! {
    "%ts" "Date first seen        " |r, _, _| time_text(r.start());
    "%tfs" "Date first seen        " |r, _, _| time_text(r.start());
    "%te" "Date last seen         " |r, _, _| time_text(r.end());
    "%td" " Duration" |r, _, _| format!("{:>9}", seconds(duration_millis(r)));
    "%pr" "Proto" |r, _, _| format!("{:<5}", names::protocol(r.key.protocol));
    "%sa" "     Src IP Addr" |r, _, s| address(r, true, s);
    "%da" "     Dst IP Addr" |r, _, s| address(r, false, s);
    "%sap" "     Src IP Addr:Port " |r, _, s| address_port(r, true, s);
    "%dap" "     Dst IP Addr:Port " |r, _, s| address_port(r, false, s);
    "%sp" "Src Pt" |r, _, _| format!("{:>6}", r.key.src_port);
    "%dp" "Dst Pt" |r, _, _| format!("{:>6}", dst_port(r));
    "%it" "ICMP-T" |r, _, _| format!("{:>6}", r.icmp_type_code.unwrap_or(0) >> 8);
    "%ic" "ICMP-C" |r, _, _| format!("{:>6}", r.icmp_type_code.unwrap_or(0) & 0xff);
    "%pkt" " Packets" |r, _, s| format!("{:>8}", scaled(r.forward.packets, s));
    "%ipkt" "  In Pkt" |r, _, s| format!("{:>8}", scaled(r.forward.packets, s));
    "%opkt" " Out Pkt" |r, _, s| format!("{:>8}", scaled(r.reverse.packets, s));
    "%byt" "   Bytes" |r, _, s| format!("{:>8}", scaled(r.forward.octets, s));
    "%ibyt" " In Byte" |r, _, s| format!("{:>8}", scaled(r.forward.octets, s));
    "%obyt" "Out Byte" |r, _, s| format!("{:>8}", scaled(r.reverse.octets, s));
    "%fl" "Flows" |_, flows, _| format!("{flows:>5}");
    "%flg" "   Flags" |r, _, _| flags(r.forward.tcp_flags);
    "%tos" "Tos" |r, _, _| format!("{:>3}", r.class_of_service);
    "%stos" "STos" |r, _, _| format!("{:>4}", r.class_of_service);
    "%in" " Input" |r, _, _| format!("{:>6}", r.ingress_interface);
    "%out" "Output" |r, _, _| format!("{:>6}", r.egress_interface);
    "%svln" "SVlan" |r, _, _| format!("{:>5}", r.vlan);
    "%pps" "     pps" |r, _, s| format!("{:>8}", scaled(per_second(r.forward.packets, 1, duration_millis(r)), s));
    "%bps" "     bps" |r, _, s| format!("{:>8}", scaled(per_second(r.forward.octets, 8, duration_millis(r)), s));
    "%bpp" "   Bpp" |r, _, _| format!("{:>6}", r.forward.octets.checked_div(r.forward.packets).unwrap_or(0));
    "%ra" "       Router IP" |r, _, _| format!("{:>16}", r.origin.exporter.map_or("0.0.0.0".to_owned(), |a| a.to_string()));
    "%odid" "obsDomainID" |r, _, _| format!("{:>11}", r.origin.domain);
    "%end" "End" |r, _, _| format!("{:>3}", r.end_reason.0);
    "%fid" "             Flow ID" |r, _, _| format!("{:>20}", r.flow_id);
    "%app" "     App" |r, _, _| format!("{:>8}", r.app.map_or("", |a| a.slug()));
}

/// The first line of a list.
pub(crate) fn header(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Literal(literal) => {
                // Arrows are for the lines.
                text.extend(literal.chars().map(|c| if matches!(c, '-' | '<' | '>') { ' ' } else { c }));
            }
            Segment::Tag(index) => text.push_str(TAGS.get(*index).map_or("", |t| t.header)),
            Segment::Field(name) => text.push_str(name),
        }
    }
    text
}

pub(crate) fn text_line(segments: &[Segment], line: &Line, style: Style) -> String {
    let record = line.record.as_record();
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Literal(literal) => text.push_str(literal),
            Segment::Tag(index) => {
                if let Some(tag) = TAGS.get(*index) {
                    text.push_str(&(tag.print)(&record, line.flows, style));
                }
            }
            Segment::Field(name) => {
                if let Some(column) = APP.iter().find(|c| c.name == **name) {
                    text.push_str(&printable(&field_text(&record, column)));
                }
            }
        }
    }
    text
}

/// What came from the network does not control the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn field_text(record: &FlowRecord<'_>, column: &AppColumn) -> String {
    match column.value(record) {
        None => String::new(),
        Some(Value::List(list)) => list.iter().map(value_text).collect::<Vec<_>>().join(","),
        Some(value) => value_text(value),
    }
}

fn value_text(value: Value<'_>) -> String {
    match value {
        Value::Unsigned(v) => v.to_string(),
        Value::Signed(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Text(octets) => String::from_utf8_lossy(octets).into_owned(),
        Value::Octets(octets) => octets.iter().fold(String::new(), |mut text, octet| {
            // Writing to memory cannot fail.
            let _ = write!(text, "{octet:02x}");
            text
        }),
        Value::Time(ts) => iso(ts),
        value => address_text(value).unwrap_or_default(),
    }
}

pub(crate) fn time_text(ts: Timestamp) -> String {
    civil(ts, "%Y-%m-%d %H:%M:%S")
}

fn iso(ts: Timestamp) -> String {
    civil(ts, "%Y-%m-%dT%H:%M:%S")
}

fn civil(ts: Timestamp, format: &str) -> String {
    let millis = i64::try_from(ts.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{}.{:03}", time.to_zoned(jiff::tz::TimeZone::UTC).strftime(format), ts.as_millis() % 1000)
}

pub(crate) fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// A number as nfdump prints it: by powers of 1000 from a million on.
pub(crate) fn scaled(number: u64, style: Style) -> String {
    const UNITS: &[(u64, &str)] = &[(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M")];
    match UNITS.iter().find(|u| number >= u.0) {
        Some((unit, name)) if !style.plain => {
            let tenths = number / (unit / 10);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        _ => number.to_string(),
    }
}

/// Units per second; zero if no time passed, as nfdump has it.
pub(crate) fn per_second(count: u64, factor: u64, millis: u64) -> u64 {
    let rate = u128::from(count) * u128::from(factor) * 1000;
    rate.checked_div(u128::from(millis)).map_or(0, |r| u64::try_from(r).unwrap_or(u64::MAX))
}

fn flags(bits: u16) -> String {
    "CEUAPRSF".chars().enumerate().map(|(i, c)| if bits & (0x80 >> i) != 0 { c } else { '.' }).collect()
}

fn plain_address(record: &FlowRecord<'_>, src: bool) -> String {
    if src { record.key.source() } else { record.key.destination() }.to_string()
}

fn short_address(record: &FlowRecord<'_>, src: bool, style: Style) -> String {
    let text = plain_address(record, src);
    if record.key.version == IpVersion::V4 || style.full_v6 || text.len() <= 16 {
        return text;
    }
    // Sixteen characters, as nfdump: both ends of the address.
    format!("{}..{}", text.get(..7).unwrap_or_default(), text.get(text.len() - 7..).unwrap_or_default())
}

fn width(style: Style) -> usize {
    if style.full_v6 { 39 } else { 16 }
}

fn address(record: &FlowRecord<'_>, src: bool, style: Style) -> String {
    format!("{:>width$}", short_address(record, src, style), width = width(style))
}

fn address_port(record: &FlowRecord<'_>, src: bool, style: Style) -> String {
    let separator = if record.key.version == IpVersion::V4 { ':' } else { '.' };
    let port = if src { record.key.src_port.to_string() } else { dst_port(record) };
    format!("{:>width$}{separator}{port:<5}", short_address(record, src, style), width = width(style))
}

/// The destination port; type and code for ICMP.
fn dst_port(record: &FlowRecord<'_>) -> String {
    match record.icmp_type_code {
        Some(both) if matches!(record.key.protocol, protocol::ICMP | protocol::ICMPV6) => {
            format!("{}.{}", both >> 8, both & 0xff)
        }
        _ => record.key.dst_port.to_string(),
    }
}

pub(crate) const CSV_HEADER: &str = "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows";

pub(crate) fn csv_line(line: &Line) -> String {
    let r = line.record.as_record();
    format!(
        "{},{},{},{},{},{},{},{},{},{}",
        time_text(r.start()),
        seconds(duration_millis(&r)),
        names::protocol(r.key.protocol),
        plain_address(&r, true),
        r.key.src_port,
        plain_address(&r, false),
        dst_port(&r),
        r.forward.packets,
        r.forward.octets,
        line.flows
    )
}

/// Elements that tell records apart, and the columns that they come from: a sum has only those that it agrees in.
const TELLING: &[(&str, &[&str])] = &[
    ("sourceIPv4Address", &["src4"]),
    ("sourceIPv6Address", &["src6"]),
    ("destinationIPv4Address", &["dst4"]),
    ("destinationIPv6Address", &["dst6"]),
    ("sourceTransportPort", &["src_port"]),
    ("destinationTransportPort", &["dst_port"]),
    ("protocolIdentifier", &["protocol"]),
    ("ipClassOfService", &["tos"]),
    ("flowEndReason", &["end_reason"]),
    ("icmpTypeCodeIPv4", &["icmp_type", "icmp_code"]),
    ("icmpTypeCodeIPv6", &["icmp_type", "icmp_code"]),
];

/// A JSON object with IANA's names, as the meter writes them; a sum over several records says over how many, and has no
/// elements beside those in whose columns, `keys`, it agrees.
pub(crate) fn json_object(line: &Line, keys: Option<&[String]>) -> String {
    let mut json = Vec::new();
    weir_ipfix::json::write_line(&line.record.as_record(), &mut json);
    let mut json = String::from_utf8_lossy(&json).trim_end().to_owned();
    if line.flows != 1 {
        json.pop();
        // Writing to memory cannot fail.
        let _ = write!(json, ",\"deltaFlowCount\":{}}}", line.flows);
    }
    if let (Some(keys), Ok(mut object)) =
        (keys, serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json))
    {
        let agrees = |columns: &[&str]| keys.iter().any(|key| columns.iter().any(|c| key.starts_with(c)));
        object.retain(|name, _| TELLING.iter().find(|t| t.0 == name).is_none_or(|(_, columns)| agrees(columns)));
        return serde_json::Value::Object(object).to_string();
    }
    json
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON object under construction; keys are ours and need no escapes.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn raw(&mut self, key: &str, value: impl std::fmt::Display) {
        let separator = if self.0.len() > 1 { "," } else { "" };
        // Writing to memory cannot fail.
        let _ = write!(self.0, "{separator}\"{key}\":{value}");
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.raw(key, quoted(value));
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
