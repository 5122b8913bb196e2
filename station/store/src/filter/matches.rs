// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filter against one record at a time.

use std::{borrow::Cow, fmt::Write, net::IpAddr};

use weir_flow::{FlowRecord, Value};

use super::{Filter, FlagsMode, Node, NumberTest, Op, Quantity, Side, Test, ValueTest};
use crate::schema::{APP, address_text};

impl Filter {
    /// Whether the record passes.
    #[must_use]
    pub fn matches(&self, record: &FlowRecord<'_>) -> bool {
        node(&self.node, record)
    }
}

fn node(which: &Node, record: &FlowRecord<'_>) -> bool {
    match which {
        Node::All(nodes) => nodes.iter().all(|n| node(n, record)),
        Node::Any(nodes) => nodes.iter().any(|n| node(n, record)),
        Node::Constant(value) => *value,
        Node::Not(inner) => !node(inner, record),
        Node::Test { test, negated } => holds(test, record) != *negated,
    }
}

fn holds(test: &Test, record: &FlowRecord<'_>) -> bool {
    match test {
        Test::Address { side, nets } => {
            let address = match side {
                Side::Dst => Some(record.key.destination()),
                Side::Exporter => record.origin.exporter,
                Side::Src => Some(record.key.source()),
            };
            address.is_some_and(|a: IpAddr| nets.iter().any(|n| n.contains(a)))
        }
        Test::Application(slug) => record.app.is_some_and(|a| a.slug() == slug),
        Test::Exists(column) => field(*column, record, |_| true),
        Test::Family(version) => record.key.version == *version,
        Test::Field { column, test } => field(*column, record, |value| match value {
            Value::List(list) => list.iter().any(|v| value_holds(test, v)),
            value => value_holds(test, value),
        }),
        Test::Flags { reverse, mask, mode } => {
            let flags = if *reverse { record.reverse.tcp_flags } else { record.forward.tcp_flags };
            match mode {
                FlagsMode::All | FlagsMode::Bare => flags & mask == *mask,
                FlagsMode::Any => flags & mask != 0,
                FlagsMode::Exact => flags & 0xff == *mask,
            }
        }
        Test::Number { quantity, test } => match rate(*quantity, record) {
            Some((value, by)) => rate_holds(test, value, by),
            None => number(*quantity, record).is_some_and(|v| test.holds(v)),
        },
        Test::Seen { last, test } => {
            let ts = if *last { record.end() } else { record.start() };
            test.holds(ts.as_nanos().min(i64::MAX.cast_unsigned()))
        }
    }
}

/// Whether the record has the field, and its value passes.
fn field(column: usize, record: &FlowRecord<'_>, holds: impl FnOnce(Value<'_>) -> bool) -> bool {
    let Some(column) = APP.get(column) else { return false };
    column.value(record).is_some_and(holds)
}

fn value_holds(test: &ValueTest, value: Value<'_>) -> bool {
    match test {
        ValueTest::Number(test) => match value {
            Value::Unsigned(v) => test.holds(v),
            Value::Signed(v) => u64::try_from(v).is_ok_and(|v| test.holds(v)),
            Value::Time(ts) => test.holds(ts.as_nanos()),
            _ => false,
        },
        ValueTest::Text(test) => text(value).is_some_and(|t| test.holds(&t)),
    }
}

/// A value as the store keeps it.
fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(octets) => Some(String::from_utf8_lossy(octets)),
        Value::Octets(octets) => {
            let mut text = String::new();
            for octet in octets {
                // Writing to memory cannot fail.
                let _ = write!(text, "{octet:02x}");
            }
            Some(text.into())
        }
        value => address_text(value).map(Cow::from),
    }
}

/// Duration in whole milliseconds.
pub(crate) fn duration_millis(record: &FlowRecord<'_>) -> u64 {
    record.end().as_millis().saturating_sub(record.start().as_millis())
}

/// Dividend and divisor of a rate; as the query engine has it, in floating point.
#[expect(clippy::cast_precision_loss, reason = "rates are compared in floating point, here as in the query engine")]
fn rate(quantity: Quantity, record: &FlowRecord<'_>) -> Option<(f64, f64)> {
    let millis = duration_millis(record) as f64;
    match quantity {
        Quantity::Bps => Some((record.forward.octets as f64 * 8000.0, millis)),
        Quantity::Pps => Some((record.forward.packets as f64 * 1000.0, millis)),
        Quantity::Bpp => Some((record.forward.octets as f64, record.forward.packets as f64)),
        _ => None,
    }
}

/// nfdump divides integers, and by zero gives zero.
#[expect(clippy::cast_precision_loss, reason = "rates are compared in floating point, here as in the query engine")]
fn rate_holds(test: &NumberTest, value: f64, by: f64) -> bool {
    let value = if by > 0.0 { value / by } else { 0.0 };
    let one = |op: Op, other: u64| {
        let (from, until) = (other as f64, other as f64 + 1.0);
        match op {
            Op::Eq => value >= from && value < until,
            Op::Ge => value >= from,
            Op::Gt => value >= until,
            Op::Le => value < until,
            Op::Lt => value < from,
            Op::Ne => value < from || value >= until,
        }
    };
    match test {
        NumberTest::Compare(op, other) => one(*op, *other),
        NumberTest::In(values) => values.iter().any(|v| one(Op::Eq, *v)),
    }
}

fn number(quantity: Quantity, record: &FlowRecord<'_>) -> Option<u64> {
    Some(match quantity {
        Quantity::Bpp | Quantity::Bps | Quantity::Pps => return None,
        Quantity::Domain => record.origin.domain.into(),
        Quantity::DstPort => record.key.dst_port.into(),
        Quantity::Duration => duration_millis(record),
        Quantity::EndReason => record.end_reason.0.into(),
        Quantity::FlowId => record.flow_id,
        Quantity::Flows => 1,
        Quantity::IcmpCode => (record.icmp_type_code? & 0xff).into(),
        Quantity::IcmpType => (record.icmp_type_code? >> 8).into(),
        Quantity::InInterface => record.ingress_interface.into(),
        Quantity::Octets => record.forward.octets,
        Quantity::OutInterface => record.egress_interface.into(),
        Quantity::Packets => record.forward.packets,
        Quantity::Protocol => record.key.protocol.into(),
        Quantity::ReverseOctets => record.reverse.octets,
        Quantity::ReversePackets => record.reverse.packets,
        Quantity::ReverseTcpFlags => (record.reverse.tcp_flags & 0xff).into(),
        Quantity::SrcPort => record.key.src_port.into(),
        Quantity::TcpFlags => (record.forward.tcp_flags & 0xff).into(),
        Quantity::Tos => record.class_of_service.into(),
        Quantity::Vlan => record.vlan.into(),
    })
}
