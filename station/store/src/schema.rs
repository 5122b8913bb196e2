// SPDX-License-Identifier: MIT OR Apache-2.0
//! Columns: what a flow record looks like in a file.
//!
//! [`BASE`] is one table for both directions, as the mapping tables of `weir-ipfix` are: a column knows how to take its
//! value from a record and how to put it back. The columns of application fields are made from those mapping tables, so a
//! new protocol gets its columns without a line here. The layout is drawn in `docs/store.md`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, LazyLock},
};

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use weir_flow::{EndReason, FlowRecord, IpVersion, Timestamp, Value, app::Fields as _};
use weir_ipfix::{
    AbstractType,
    mapping::{self, Row},
};

/// Version of the layout, in the metadata of every file under [`VERSION_KEY`].
pub const VERSION: &str = "1";
/// Key of the layout's version in a file's metadata.
pub const VERSION_KEY: &str = "weir.schema";

/// How the values of a column are kept.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Floating-point number.
    Float,
    /// Octets as hexadecimal text.
    Hex,
    /// An address as text.
    Ip,
    /// An IPv4 address as an integer, so that a network is a range.
    Ipv4,
    /// An IPv6 address in network byte order, so that a network is a range.
    Ipv6,
    /// Signed integer.
    Signed,
    /// Text. Octets that are not UTF-8 are replaced, and kept in `raw_text`.
    Text,
    /// Nanoseconds since 1970, UTC.
    Time,
    /// Unsigned integer of 16 bits.
    Unsigned16,
    /// Unsigned integer of 32 bits.
    Unsigned32,
    /// Unsigned integer of 64 bits.
    Unsigned64,
    /// Unsigned integer of 8 bits.
    Unsigned8,
}

impl Kind {
    fn of(kind: AbstractType) -> Self {
        match kind {
            AbstractType::Boolean | AbstractType::Unsigned8 | AbstractType::Unsigned16 | AbstractType::Unsigned32 => {
                Self::Unsigned32
            }
            AbstractType::Unsigned64 => Self::Unsigned64,
            AbstractType::Signed8 | AbstractType::Signed16 | AbstractType::Signed32 | AbstractType::Signed64 => {
                Self::Signed
            }
            AbstractType::Float32 | AbstractType::Float64 => Self::Float,
            AbstractType::String => Self::Text,
            AbstractType::Ipv4Address | AbstractType::Ipv6Address => Self::Ip,
            AbstractType::DateTimeSeconds
            | AbstractType::DateTimeMilliseconds
            | AbstractType::DateTimeMicroseconds
            | AbstractType::DateTimeNanoseconds => Self::Time,
            _ => Self::Hex,
        }
    }

    /// Whether values of this kind are text in the file.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Hex | Self::Ip | Self::Text)
    }

    /// Arrow's type for one value.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            Self::Float => DataType::Float64,
            Self::Hex | Self::Ip | Self::Text => DataType::Utf8,
            Self::Ipv4 | Self::Unsigned32 => DataType::UInt32,
            Self::Ipv6 => DataType::FixedSizeBinary(16),
            Self::Signed => DataType::Int64,
            // An offset, not a zone name: no time zone database is needed to read it.
            Self::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
            Self::Unsigned16 => DataType::UInt16,
            Self::Unsigned64 => DataType::UInt64,
            Self::Unsigned8 => DataType::UInt8,
        }
    }
}

/// One column that every record has.
pub struct BaseColumn {
    /// Its name.
    pub name: &'static str,
    /// How values are kept.
    pub kind: Kind,
    /// Whether a record may be without.
    pub nullable: bool,
    /// What it is, for the reference.
    pub doc: &'static str,
    pub(crate) get: for<'a> fn(&'a FlowRecord<'_>) -> Option<Value<'a>>,
    pub(crate) set: fn(&mut FlowRecord<'static>, Value<'_>),
}

fn number(value: Value<'_>) -> u64 {
    if let Value::Unsigned(v) = value { v } else { 0 }
}
fn small<T: TryFrom<u64> + Default>(value: Value<'_>) -> T {
    T::try_from(number(value)).unwrap_or_default()
}
fn time(value: Value<'_>) -> Timestamp {
    if let Value::Time(ts) = value { ts } else { Timestamp::ZERO }
}
fn v4(record: &FlowRecord<'_>, [a, b, c, d, ..]: [u8; 16]) -> Option<Value<'static>> {
    (record.key.version == IpVersion::V4).then_some(Value::Ipv4([a, b, c, d]))
}
fn v6(record: &FlowRecord<'_>, octets: [u8; 16]) -> Option<Value<'static>> {
    (record.key.version == IpVersion::V6).then_some(Value::Ipv6(octets))
}
type Place = for<'a> fn(&'a mut FlowRecord<'static>) -> &'a mut [u8; 16];

fn set_address(record: &mut FlowRecord<'static>, value: Value<'_>, place: Place) {
    match value {
        Value::Ipv4([a, b, c, d]) => {
            record.key.version = IpVersion::V4;
            *place(record) = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        }
        Value::Ipv6(octets) => {
            record.key.version = IpVersion::V6;
            *place(record) = octets;
        }
        _ => {}
    }
}
fn unsigned(value: impl Into<u64>) -> Option<Value<'static>> {
    Some(Value::Unsigned(value.into()))
}
fn set_icmp(record: &mut FlowRecord<'static>, value: Value<'_>, shift: u32) {
    let half = u16::from(small::<u8>(value)) << shift;
    record.icmp_type_code = Some(record.icmp_type_code.unwrap_or(0) | half);
}

macro_rules! base {
    ($($name:ident $kind:ident $null:literal $doc:literal, $get:expr, $set:expr;)*) => {
        /// The columns that every record has, in the order in which they are read back.
        pub const BASE: &[BaseColumn] = &[$(BaseColumn {
            name: stringify!($name),
            kind: Kind::$kind,
            nullable: $null,
            doc: $doc,
            get: $get,
            set: $set,
        }),*];
    };
}

base! {
    flow_start Time false "earliest packet of either direction",
        |r| Some(Value::Time(r.start())), |r, v| r.forward.first = time(v);
    flow_end Time false "latest packet of either direction; decides the slot",
        |r| Some(Value::Time(r.end())), |r, v| r.forward.last = time(v);
    forward_start Time true "earliest packet of the forward direction, where it is not flow_start",
        |r| (r.forward.first != r.start()).then_some(Value::Time(r.forward.first)), |r, v| r.forward.first = time(v);
    forward_end Time true "latest packet of the forward direction, where it is not flow_end",
        |r| (r.forward.last != r.end()).then_some(Value::Time(r.forward.last)), |r, v| r.forward.last = time(v);
    reverse_start Time true "earliest packet of the reverse direction",
        |r| (r.reverse.first != Timestamp::ZERO).then_some(Value::Time(r.reverse.first)),
        |r, v| r.reverse.first = time(v);
    reverse_end Time true "latest packet of the reverse direction",
        |r| (r.reverse.last != Timestamp::ZERO).then_some(Value::Time(r.reverse.last)),
        |r, v| r.reverse.last = time(v);
    protocol Unsigned8 false "protocol number", |r| unsigned(r.key.protocol), |r, v| r.key.protocol = small(v);
    src4 Ipv4 true "IPv4 source address", |r| v4(r, r.key.src), |r, v| set_address(r, v, |r| &mut r.key.src);
    dst4 Ipv4 true "IPv4 destination address", |r| v4(r, r.key.dst), |r, v| set_address(r, v, |r| &mut r.key.dst);
    src6 Ipv6 true "IPv6 source address", |r| v6(r, r.key.src), |r, v| set_address(r, v, |r| &mut r.key.src);
    dst6 Ipv6 true "IPv6 destination address", |r| v6(r, r.key.dst), |r, v| set_address(r, v, |r| &mut r.key.dst);
    src_port Unsigned16 false "source port", |r| unsigned(r.key.src_port), |r, v| r.key.src_port = small(v);
    dst_port Unsigned16 false "destination port", |r| unsigned(r.key.dst_port), |r, v| r.key.dst_port = small(v);
    packets Unsigned64 false "packets, forward", |r| unsigned(r.forward.packets), |r, v| r.forward.packets = number(v);
    octets Unsigned64 false "octets, forward", |r| unsigned(r.forward.octets), |r, v| r.forward.octets = number(v);
    reverse_packets Unsigned64 false "packets, reverse",
        |r| unsigned(r.reverse.packets), |r, v| r.reverse.packets = number(v);
    reverse_octets Unsigned64 false "octets, reverse",
        |r| unsigned(r.reverse.octets), |r, v| r.reverse.octets = number(v);
    tcp_flags Unsigned16 false "TCP control bits, forward",
        |r| unsigned(r.forward.tcp_flags), |r, v| r.forward.tcp_flags = small(v);
    reverse_tcp_flags Unsigned16 false "TCP control bits, reverse",
        |r| unsigned(r.reverse.tcp_flags), |r, v| r.reverse.tcp_flags = small(v);
    end_reason Unsigned8 false "flowEndReason", |r| unsigned(r.end_reason.0), |r, v| r.end_reason = EndReason(small(v));
    flow_id Unsigned64 false "the same for every record of one flow; 0: unknown",
        |r| unsigned(r.flow_id), |r, v| r.flow_id = number(v);
    vlan Unsigned16 false "VLAN identifier; 0: none", |r| unsigned(r.vlan), |r, v| r.vlan = small(v);
    tos Unsigned8 false "type of service or traffic class octet",
        |r| unsigned(r.class_of_service), |r, v| r.class_of_service = small(v);
    in_interface Unsigned32 false "ingress interface; 0: unknown",
        |r| unsigned(r.ingress_interface), |r, v| r.ingress_interface = small(v);
    out_interface Unsigned32 false "egress interface; 0: unknown",
        |r| unsigned(r.egress_interface), |r, v| r.egress_interface = small(v);
    icmp_type Unsigned8 true "ICMP type", |r| r.icmp_type_code.and_then(|t| unsigned(t >> 8)), |r, v| set_icmp(r, v, 8);
    icmp_code Unsigned8 true "ICMP code",
        |r| r.icmp_type_code.and_then(|t| unsigned(t & 0xff)), |r, v| set_icmp(r, v, 0);
    domain Unsigned32 false "observation domain", |r| unsigned(r.origin.domain), |r, v| r.origin.domain = small(v);
}

/// Column with the exporter's address as text.
pub const EXPORTER: &str = "exporter";
/// Column with the slug of the application protocol.
pub const APPLICATION: &str = "application";
/// Column with the elements that have no column of their own.
pub const EXTRA: &str = "extra";
/// Column with the octets of text that is not UTF-8.
pub const RAW_TEXT: &str = "raw_text";

/// One column of an application field, or of a statistic.
#[derive(Debug)]
pub struct AppColumn {
    /// The protocol, or [`mapping::STATS`].
    pub slug: &'static str,
    /// The field.
    pub row: &'static Row,
    /// `<slug>_<field>`.
    pub name: String,
    /// How values are kept.
    pub kind: Kind,
}

impl AppColumn {
    /// Whether it is a statistic.
    #[must_use]
    pub fn is_statistic(&self) -> bool {
        self.slug == mapping::STATS
    }

    /// The value that a record has for it, if any.
    #[must_use]
    pub fn value<'a>(&self, record: &FlowRecord<'a>) -> Option<Value<'a>> {
        if self.is_statistic() {
            return record.statistics?.value(self.row.field);
        }
        record.app.filter(|app| app.slug() == self.slug)?.value(self.row.field)
    }

    /// Arrow's type of the column: a list where the field holds several values.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        if self.row.list { DataType::List(item(self.kind.data_type())) } else { self.kind.data_type() }
    }
}

/// The columns of all application fields, protocol by protocol in the order of the mapping tables, and of the statistics.
pub static APP: LazyLock<Vec<AppColumn>> = LazyLock::new(|| {
    let columns = |(slug, rows): &(&'static str, &'static [Row])| {
        let slug = *slug;
        rows.iter()
            .map(move |row| AppColumn { slug, row, name: format!("{slug}_{}", row.name), kind: Kind::of(row.kind) })
            .collect::<Vec<_>>()
    };
    mapping::PROTOCOLS.iter().chain(&[(mapping::STATS, mapping::stats::ROWS)]).flat_map(columns).collect()
});

fn item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", kind, true))
}

pub(crate) fn extra_fields() -> Fields {
    Fields::from(vec![
        Field::new("enterprise", DataType::UInt32, false),
        Field::new("element", DataType::UInt16, false),
        Field::new("octets", DataType::Binary, false),
    ])
}

pub(crate) fn raw_text_fields() -> Fields {
    Fields::from(vec![
        Field::new("column", DataType::Utf8, false),
        Field::new("item", DataType::UInt32, false),
        Field::new("octets", DataType::Binary, false),
    ])
}

/// The schema of a file.
#[must_use]
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields: Vec<Field> = BASE.iter().map(|c| Field::new(c.name, c.kind.data_type(), c.nullable)).collect();
        fields.push(Field::new(EXPORTER, DataType::Utf8, true));
        fields.push(Field::new(APPLICATION, DataType::Utf8, true));
        fields.extend(APP.iter().map(|c| Field::new(&c.name, c.data_type(), true)));
        fields.push(Field::new(EXTRA, DataType::List(item(DataType::Struct(extra_fields()))), true));
        fields.push(Field::new(RAW_TEXT, DataType::List(item(DataType::Struct(raw_text_fields()))), true));
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// An address as it is kept in a column of kind [`Kind::Ip`].
pub(crate) fn address_text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Ipv4(octets) => Some(Ipv4Addr::from(octets).to_string()),
        Value::Ipv6(octets) => Some(Ipv6Addr::from(octets).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let schema = schema();
        let names: HashSet<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names.len(), schema.fields().len());
        for name in ["http_request_host", "dns_query_name", "tls_server_name", "smtp_rcpt_to"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
