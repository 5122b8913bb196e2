// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be counted by (`-s`, `-A`) and in which order (`-O`), in nfdump's words.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, AsArray, FixedSizeBinaryBuilder},
        datatypes::DataType,
    },
    common::{Result as EngineResult, exec_err},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        binary_expr, cast, ident, lit, when,
    },
};

use crate::{Error, filter, schema::AppColumn};

/// How a key is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Render {
    Address,
    Number,
    Protocol,
    Text,
}

/// Something to count by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    pub(crate) title: String,
    pub(crate) render: Render,
    /// Columns of the key; an "any" element has a second set, of the other side.
    pub(crate) sides: Vec<Vec<&'static str>>,
    /// Whether the column holds lists, of which each item counts.
    pub(crate) list: bool,
}

const ELEMENTS: &[(&str, &str, Render, &[&[&str]])] = &[
    ("srcip", "Src IP Addr", Render::Address, &[&["src4", "src6"]]),
    ("dstip", "Dst IP Addr", Render::Address, &[&["dst4", "dst6"]]),
    ("ip", "IP Addr", Render::Address, &[&["src4", "src6"], &["dst4", "dst6"]]),
    ("srcport", "Src Port", Render::Number, &[&["src_port"]]),
    ("dstport", "Dst Port", Render::Number, &[&["dst_port"]]),
    ("port", "Port", Render::Number, &[&["src_port"], &["dst_port"]]),
    ("proto", "Protocol", Render::Protocol, &[&["protocol"]]),
    ("tos", "Tos", Render::Number, &[&["tos"]]),
    ("srctos", "Tos", Render::Number, &[&["tos"]]),
    ("flags", "Flags", Render::Number, &[&["tcp_flags"]]),
    ("inif", "Input If", Render::Number, &[&["in_interface"]]),
    ("outif", "Output If", Render::Number, &[&["out_interface"]]),
    ("if", "Interface", Render::Number, &[&["in_interface"], &["out_interface"]]),
    ("vlan", "Vlan", Render::Number, &[&["vlan"]]),
    ("srcvlan", "Vlan", Render::Number, &[&["vlan"]]),
    ("odid", "Obs Domain", Render::Number, &[&["domain"]]),
    ("router", "Router IP", Render::Text, &[&["exporter"]]),
    ("exporter", "Exporter", Render::Text, &[&["exporter"]]),
    ("app", "Application", Render::Text, &[&["application"]]),
];

fn element(name: &str) -> Option<Element> {
    if let Some((_, title, render, sides)) = ELEMENTS.iter().find(|e| e.0.eq_ignore_ascii_case(name)) {
        let sides = sides.iter().map(|s| s.to_vec()).collect();
        return Some(Element { title: (*title).to_owned(), render: *render, sides, list: false });
    }
    let column: &'static AppColumn = filter::resolve(name)?;
    let render = if column.kind.is_text() { Render::Text } else { Render::Number };
    Some(Element { title: name.to_owned(), render, sides: vec![vec![&column.name]], list: column.row.list })
}

/// Which direction's counters an order looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    Both,
    In,
    Out,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Measure {
    Bpp,
    Bps,
    Bytes,
    Duration,
    End,
    Flows,
    Packets,
    Pps,
    Start,
}

/// In which order lines come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    name: &'static str,
    measure: Measure,
    pub(crate) direction: Direction,
    ascending: bool,
}

const ORDERS: &[(&str, Measure, Direction, bool)] = &[
    ("flows", Measure::Flows, Direction::In, false),
    ("packets", Measure::Packets, Direction::Both, false),
    ("ipkg", Measure::Packets, Direction::In, false),
    ("ipackets", Measure::Packets, Direction::In, false),
    ("opkg", Measure::Packets, Direction::Out, false),
    ("opackets", Measure::Packets, Direction::Out, false),
    ("bytes", Measure::Bytes, Direction::Both, false),
    ("ibyte", Measure::Bytes, Direction::In, false),
    ("ibytes", Measure::Bytes, Direction::In, false),
    ("obyte", Measure::Bytes, Direction::Out, false),
    ("obytes", Measure::Bytes, Direction::Out, false),
    ("pps", Measure::Pps, Direction::Both, false),
    ("ipps", Measure::Pps, Direction::In, false),
    ("opps", Measure::Pps, Direction::Out, false),
    ("bps", Measure::Bps, Direction::Both, false),
    ("ibps", Measure::Bps, Direction::In, false),
    ("obps", Measure::Bps, Direction::Out, false),
    ("bpp", Measure::Bpp, Direction::Both, false),
    ("ibpp", Measure::Bpp, Direction::In, false),
    ("obpp", Measure::Bpp, Direction::Out, false),
    ("tstart", Measure::Start, Direction::In, true),
    ("tend", Measure::End, Direction::In, true),
    ("duration", Measure::Duration, Direction::In, false),
];

impl Order {
    /// By number of records, largest first: what `-s` does unless told otherwise.
    pub const FLOWS: Self = Self { name: "flows", measure: Measure::Flows, direction: Direction::In, ascending: false };

    /// Reads `bytes`, `tstart`, `pps:a` (ascending), `bytes:d` (descending).
    ///
    /// # Errors
    ///
    /// [`Error::Option`] if there is no such order.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, suffix) = text.split_once(':').unwrap_or((text, ""));
        let known = ORDERS.iter().find(|o| o.0.eq_ignore_ascii_case(name));
        match (known, suffix) {
            (Some(&(name, measure, direction, ascending)), "" | "a" | "d") => Ok(Self {
                name,
                measure,
                direction,
                ascending: if suffix.is_empty() { ascending } else { suffix == "a" },
            }),
            _ => Err(Error::Option {
                option: "order",
                found: text.to_owned(),
                allowed: ORDERS.iter().map(|o| o.0).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn ascending(&self) -> bool {
        self.ascending
    }

    /// The value to sort by, over columns with the names of the schema; `flows` where records are summed.
    pub(crate) fn expr(&self, summed: bool) -> Expr {
        let sum = |forward: &str, reverse: &str| match self.direction {
            Direction::Both => ident(forward) + ident(reverse),
            Direction::In => ident(forward),
            Direction::Out => ident(reverse),
        };
        let packets = || sum("packets", "reverse_packets");
        let octets = || sum("octets", "reverse_octets");
        let rate = |value: Expr, by: Expr| {
            let by = cast(by, DataType::Float64);
            when(by.clone().gt(lit(0.0)), cast(value, DataType::Float64) / by)
                .otherwise(lit(0.0))
                // Both branches are of one type.
                .unwrap_or_else(|_| lit(0.0))
        };
        match self.measure {
            Measure::Bpp => rate(octets(), packets()),
            Measure::Bps => rate(octets(), filter::duration()),
            Measure::Bytes => octets(),
            Measure::Duration => filter::duration(),
            Measure::End => ident("flow_end"),
            Measure::Flows if summed => ident("flows"),
            Measure::Flows => lit(1i64),
            Measure::Packets => packets(),
            Measure::Pps => rate(packets(), filter::duration()),
            Measure::Start => ident("flow_start"),
        }
    }
}

/// One `-s`: what to count by, and the orders in which it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Stat {
    /// `None`: by the flow's five-tuple or the fields of `-A`.
    pub(crate) element: Option<Element>,
    /// Whether the protocol is part of the key (`:p`).
    pub(crate) by_protocol: bool,
    pub(crate) orders: Vec<Order>,
}

impl Stat {
    /// Reads `srcip`, `dstport:p/bytes`, `record/flows/bytes:a`, `http.host/bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] if there is no such element or order.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/');
        let head = parts.next().unwrap_or_default();
        let (name, suffix) = head.split_once(':').unwrap_or((head, ""));
        let known = if name.eq_ignore_ascii_case("record") { Some(None) } else { element(name).map(Some) };
        let (Some(element), "" | "p") = (known, suffix) else {
            let names: Vec<_> = ELEMENTS.iter().map(|e| e.0).collect();
            let allowed = format!("record, {}, or an application field; :p splits by protocol", names.join(", "));
            return Err(Error::Option { option: "-s", found: text.to_owned(), allowed });
        };
        let mut orders = parts.map(Order::parse).collect::<Result<Vec<_>, _>>()?;
        if orders.is_empty() {
            orders.push(Order::FLOWS);
        }
        Ok(Self { element, by_protocol: suffix == "p", orders })
    }
}

/// One field of `-A`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) columns: Vec<&'static str>,
    /// Length of the prefix that addresses are cut to.
    pub(crate) prefix: Option<u8>,
    /// How it is printed.
    pub(crate) tag: String,
}

/// Fields to sum records by (`-A`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub(crate) Vec<Field>);

const FIELDS: &[(&str, &[&str], &str)] = &[
    ("proto", &["protocol"], "%pr"),
    ("srcip", &["src4", "src6"], "%sa"),
    ("dstip", &["dst4", "dst6"], "%da"),
    ("srcip4", &["src4"], "%sa"),
    ("dstip4", &["dst4"], "%da"),
    ("srcip6", &["src6"], "%sa"),
    ("dstip6", &["dst6"], "%da"),
    ("srcport", &["src_port"], "%sp"),
    ("dstport", &["dst_port"], "%dp"),
    ("srcvlan", &["vlan"], "%svln"),
    ("vlan", &["vlan"], "%svln"),
    ("inif", &["in_interface"], "%in"),
    ("outif", &["out_interface"], "%out"),
    ("tos", &["tos"], "%tos"),
    ("srctos", &["tos"], "%tos"),
    ("flags", &["tcp_flags"], "%flg"),
    ("router", &["exporter"], "%ra"),
    ("odid", &["domain"], "%odid"),
];

impl Fields {
    /// The five-tuple.
    #[must_use]
    pub fn five_tuple() -> Self {
        Self::parse("srcip,dstip,srcport,dstport,proto").unwrap_or_default()
    }

    /// Reads a list as `srcip,dstport` or `proto,srcip4/24,srcip6/64`.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] if there is no such field, or a prefix does not fit.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut fields = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, prefix) = match part.split_once('/') {
                Some((name, prefix)) => (name, prefix.parse::<u8>().ok().map(Some)),
                None => (part, Some(None)),
            };
            let field = FIELDS.iter().find(|f| f.0.eq_ignore_ascii_case(name));
            let fits = match (prefix, field.map(|f| f.0)) {
                (Some(None), _) => true,
                (Some(Some(n)), Some("srcip4" | "dstip4")) => n <= 32,
                (Some(Some(n)), Some("srcip6" | "dstip6")) => n <= 128,
                _ => false,
            };
            match (field, prefix) {
                (Some((_, columns, tag)), Some(prefix)) if fits => {
                    fields.push(Field { columns: columns.to_vec(), prefix, tag: (*tag).to_owned() });
                }
                _ => {
                    let names: Vec<_> = FIELDS.iter().map(|f| f.0).collect();
                    let allowed = format!("{}; srcip4/N, dstip4/N, srcip6/N, dstip6/N", names.join(", "));
                    return Err(Error::Option { option: "-A", found: part.to_owned(), allowed });
                }
            }
        }
        Ok(Self(fields))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key's columns, each once, under their own names.
    pub(crate) fn keys(&self) -> Vec<(&'static str, Expr)> {
        let mut keys: Vec<(&'static str, Expr)> = Vec::new();
        for field in &self.0 {
            for &column in &field.columns {
                if keys.iter().all(|k| k.0 != column) {
                    keys.push((column, masked(column, field.prefix)));
                }
            }
        }
        keys
    }
}

fn masked(column: &str, prefix: Option<u8>) -> Expr {
    match prefix {
        None => ident(column),
        Some(bits) if column.ends_with('4') => {
            let mask = !u32::MAX.checked_shr(bits.into()).unwrap_or(0);
            binary_expr(ident(column), Operator::BitwiseAnd, lit(mask)).alias(column)
        }
        Some(bits) => {
            let function = Mask6 { bits, signature: Signature::any(1, Volatility::Immutable) };
            ScalarUDF::new_from_impl(function).call(vec![ident(column)]).alias(column)
        }
    }
}

/// The network of an IPv6 address.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Mask6 {
    bits: u8,
    signature: Signature,
}

impl ScalarUDFImpl for Mask6 {
    fn name(&self) -> &str {
        "mask6"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::FixedSizeBinary(16))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let rows = args.number_rows;
        let Some(column) = args.args.into_iter().next() else { return exec_err!("mask6 needs a column") };
        let array = column.into_array(rows)?;
        let Some(addresses) = array.as_fixed_size_binary_opt() else { return exec_err!("mask6 needs addresses") };
        let mask = !u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
        let mut cut = FixedSizeBinaryBuilder::with_capacity(addresses.len(), 16);
        for address in addresses {
            match address.and_then(|a| <[u8; 16]>::try_from(a).ok()) {
                Some(address) => cut.append_value((u128::from_be_bytes(address) & mask).to_be_bytes())?,
                None => cut.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(cut.finish())))
    }
}
