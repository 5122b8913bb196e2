// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filter as an expression of the query engine.
//!
//! Tests on addresses, numbers and whole texts become plain comparisons, so that statistics, page indexes and bloom filters
//! skip what cannot match. All others call a function of ours that holds the compiled test.

use std::{net::IpAddr, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, ListArray},
        datatypes::{DataType, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type},
    },
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        binary_expr, cast, ident, lit, when,
    },
};

use weir_flow::IpVersion;

use super::{Filter, FlagsMode, Net, Node, NumberTest, Op, Quantity, Side, Test, TextTest, ValueTest};
use crate::schema::{self, APP};

impl Filter {
    /// The condition over the columns of [`schema`].
    #[must_use]
    pub fn to_expr(&self) -> Expr {
        node(&self.node)
    }
}

fn node(which: &Node) -> Expr {
    match which {
        Node::All(nodes) => join(nodes.iter().map(node).collect(), Operator::And),
        Node::Any(nodes) => join(nodes.iter().map(node).collect(), Operator::Or),
        Node::Constant(value) => lit(*value),
        Node::Not(inner) => Expr::IsNotTrue(Box::new(node(inner))),
        // A field that is not there passes no test, and the negation of every one.
        Node::Test { test, negated: true } => Expr::IsNotTrue(Box::new(expr(test))),
        Node::Test { test, negated: false } => expr(test),
    }
}

/// Joins in a balanced tree: the engine's recursion is as deep as the tree is.
fn join(mut exprs: Vec<Expr>, op: Operator) -> Expr {
    while exprs.len() > 1 {
        let mut pairs = Vec::with_capacity(exprs.len().div_ceil(2));
        let mut rest = exprs.into_iter();
        while let Some(first) = rest.next() {
            pairs.push(match rest.next() {
                Some(second) => binary_expr(first, op, second),
                None => first,
            });
        }
        exprs = pairs;
    }
    exprs.pop().unwrap_or_else(|| lit(op == Operator::And))
}

fn operator(op: Op) -> Operator {
    match op {
        Op::Eq => Operator::Eq,
        Op::Ge => Operator::GtEq,
        Op::Gt => Operator::Gt,
        Op::Le => Operator::LtEq,
        Op::Lt => Operator::Lt,
        Op::Ne => Operator::NotEq,
    }
}

fn expr(test: &Test) -> Expr {
    match test {
        Test::Address { side: Side::Exporter, nets } => call(FunctionTest::Net(nets.clone()), ident(schema::EXPORTER)),
        Test::Address { side, nets } => addresses(*side == Side::Src, nets),
        Test::Application(slug) => ident(schema::APPLICATION).eq(lit(slug.clone())),
        Test::Exists(column) => APP.get(*column).map_or_else(|| lit(false), |c| ident(&c.name).is_not_null()),
        Test::Family(IpVersion::V4) => ident("src4").is_not_null(),
        Test::Family(IpVersion::V6) => ident("src6").is_not_null(),
        Test::Field { column, test } => field(*column, test),
        Test::Flags { reverse, mask, mode } => {
            let flags = ident(if *reverse { "reverse_tcp_flags" } else { "tcp_flags" });
            let masked = |by: u16| binary_expr(flags.clone(), Operator::BitwiseAnd, lit(by));
            match mode {
                FlagsMode::All | FlagsMode::Bare => masked(*mask).eq(lit(*mask)),
                FlagsMode::Any => masked(*mask).not_eq(lit(0u16)),
                FlagsMode::Exact => masked(0xff).eq(lit(*mask)),
            }
        }
        Test::Number { quantity, test } => quantity_test(*quantity, test),
        Test::Seen { last, test } => {
            let column = ident(if *last { "flow_end" } else { "flow_start" });
            compare(&column, test, |v| {
                let nanos = i64::try_from(v).unwrap_or(i64::MAX);
                lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("+00:00".into())))
            })
        }
    }
}

fn compare(value: &Expr, test: &NumberTest, literal: impl Fn(u64) -> Expr) -> Expr {
    match test {
        NumberTest::Compare(op, other) => binary_expr(value.clone(), operator(*op), literal(*other)),
        NumberTest::In(others) => value.clone().in_list(others.iter().map(|v| literal(*v)).collect(), false),
    }
}

fn addresses(src: bool, nets: &[Net]) -> Expr {
    let (v4, v6) = if src { (ident("src4"), ident("src6")) } else { (ident("dst4"), ident("dst6")) };
    let literal = |address: IpAddr| match address {
        IpAddr::V4(a) => lit(u32::from(a)),
        IpAddr::V6(a) => lit(ScalarValue::FixedSizeBinary(16, Some(a.octets().to_vec()))),
    };
    let mut tests = Vec::new();
    for (column, is_v4) in [(v4, true), (v6, false)] {
        let (hosts, nets): (Vec<&Net>, Vec<&Net>) =
            nets.iter().filter(|n| n.first.is_ipv4() == is_v4).partition(|n| n.is_host());
        match hosts[..] {
            [] => {}
            [host] => tests.push(column.clone().eq(literal(host.first))),
            _ => tests.push(column.clone().in_list(hosts.iter().map(|h| literal(h.first)).collect(), false)),
        }
        for net in nets {
            tests.push(column.clone().gt_eq(literal(net.first)).and(column.clone().lt_eq(literal(net.last))));
        }
    }
    join(tests, Operator::Or)
}

/// Duration in whole milliseconds, signed.
pub(crate) fn duration_millis() -> Expr {
    let millis = |column: &str| cast(ident(column), DataType::Int64) / lit(1_000_000i64);
    millis("flow_end") - millis("flow_start")
}

#[expect(clippy::cast_precision_loss, reason = "rates are compared in floating point")]
fn rate_test(value: Expr, by: Expr, test: &NumberTest) -> Expr {
    let by = cast(by, DataType::Float64);
    let rate = when(by.clone().gt(lit(0.0)), cast(value, DataType::Float64) / by)
        .otherwise(lit(0.0))
        // Both branches are of one type.
        .unwrap_or_else(|_| lit(0.0));
    let one = |op: Op, other: u64| {
        let (from, until) = (lit(other as f64), lit(other as f64 + 1.0));
        let rate = rate.clone();
        match op {
            Op::Eq => rate.clone().gt_eq(from).and(rate.lt(until)),
            Op::Ge => rate.gt_eq(from),
            Op::Gt => rate.gt_eq(until),
            Op::Le => rate.lt(until),
            Op::Lt => rate.lt(from),
            Op::Ne => rate.clone().lt(from).or(rate.gt_eq(until)),
        }
    };
    match test {
        NumberTest::Compare(op, other) => one(*op, *other),
        NumberTest::In(others) => join(others.iter().map(|v| one(Op::Eq, *v)).collect(), Operator::Or),
    }
}

fn quantity_test(quantity: Quantity, test: &NumberTest) -> Expr {
    let float = |column: &str| cast(ident(column), DataType::Float64);
    let flags = |column: &str| binary_expr(ident(column), Operator::BitwiseAnd, lit(0xffu16));
    let small = |column: &str| (ident(column), 1);
    // Width of the column: a literal of its type lets the engine use statistics; a value beyond it equals nothing.
    let (value, octets) = match quantity {
        Quantity::Bpp => return rate_test(float("octets"), ident("packets"), test),
        Quantity::Bps => return rate_test(float("octets") * lit(8000.0), duration_millis(), test),
        Quantity::Pps => return rate_test(float("packets") * lit(1000.0), duration_millis(), test),
        Quantity::Duration => {
            return compare(&duration_millis(), test, |v| lit(i64::try_from(v).unwrap_or(i64::MAX)));
        }
        Quantity::Flows => return lit(test.holds(1)),
        Quantity::TcpFlags => (flags("tcp_flags"), 2),
        Quantity::ReverseTcpFlags => (flags("reverse_tcp_flags"), 2),
        Quantity::EndReason => small("end_reason"),
        Quantity::IcmpCode => small("icmp_code"),
        Quantity::IcmpType => small("icmp_type"),
        Quantity::Protocol => small("protocol"),
        Quantity::Tos => small("tos"),
        Quantity::DstPort => (ident("dst_port"), 2),
        Quantity::SrcPort => (ident("src_port"), 2),
        Quantity::Vlan => (ident("vlan"), 2),
        Quantity::Domain => (ident("domain"), 4),
        Quantity::InInterface => (ident("in_interface"), 4),
        Quantity::OutInterface => (ident("out_interface"), 4),
        Quantity::FlowId => (ident("flow_id"), 8),
        Quantity::Octets => (ident("octets"), 8),
        Quantity::Packets => (ident("packets"), 8),
        Quantity::ReverseOctets => (ident("reverse_octets"), 8),
        Quantity::ReversePackets => (ident("reverse_packets"), 8),
    };
    compare(&value, test, |v| match (octets, u8::try_from(v), u16::try_from(v), u32::try_from(v)) {
        (1, Ok(v), ..) => lit(v),
        (2, _, Ok(v), _) => lit(v),
        (4, .., Ok(v)) => lit(v),
        _ => lit(v),
    })
}

fn field(column: usize, test: &ValueTest) -> Expr {
    let Some(column) = APP.get(column) else { return lit(false) };
    let value = ident(&column.name);
    if column.row.list {
        return call(FunctionTest::Value(test.clone()), value);
    }
    match test {
        ValueTest::Text(TextTest::Compare(op, other)) => binary_expr(value, operator(*op), lit(other.clone())),
        ValueTest::Text(TextTest::In(others)) => value.in_list(others.iter().map(|t| lit(t.clone())).collect(), false),
        ValueTest::Text(_) => call(FunctionTest::Value(test.clone()), value),
        ValueTest::Number(number) => match column.kind {
            schema::Kind::Unsigned32 | schema::Kind::Unsigned64 => compare(&value, number, lit),
            _ => call(FunctionTest::Value(test.clone()), value),
        },
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum FunctionTest {
    Net(Vec<Net>),
    Value(ValueTest),
}

/// A test as a function of one column, or of any item of a column of lists.
#[derive(Debug, Eq, Hash, PartialEq)]
struct FieldTest {
    name: String,
    signature: Signature,
    test: FunctionTest,
}

fn call(test: FunctionTest, column: Expr) -> Expr {
    // The engine tells expressions apart by name too.
    let name = format!("test{test:?}");
    let function = FieldTest { name, signature: Signature::any(1, Volatility::Immutable), test };
    ScalarUDF::new_from_impl(function).call(vec![column])
}

impl ScalarUDFImpl for FieldTest {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(column) = args.args.into_iter().next() else { return exec_err!("a test needs a column") };
        let array = column.into_array(rows)?;
        let answer: BooleanArray = match array.as_any().downcast_ref::<ListArray>() {
            Some(lists) => {
                let items = self.each(lists.values())?;
                let any = |row: usize| {
                    let (from, until) = (lists.value_offsets().get(row)?, lists.value_offsets().get(row + 1)?);
                    let mut range = usize::try_from(*from).ok()?..usize::try_from(*until).ok()?;
                    lists.is_valid(row).then(|| range.any(|i| items.is_valid(i) && items.value(i)))
                };
                (0..lists.len()).map(any).collect()
            }
            None => self.each(&array)?,
        };
        Ok(ColumnarValue::Array(Arc::new(answer)))
    }
}

impl FieldTest {
    fn each(&self, array: &ArrayRef) -> Result<BooleanArray> {
        let answer = match &self.test {
            FunctionTest::Net(nets) => array.as_string_opt::<i32>().map(|texts| {
                let within = |text: &str| text.parse().is_ok_and(|a| nets.iter().any(|n| n.contains(a)));
                texts.iter().map(|t| t.map(within)).collect()
            }),
            FunctionTest::Value(ValueTest::Text(test)) => {
                array.as_string_opt::<i32>().map(|texts| texts.iter().map(|t| t.map(|t| test.holds(t))).collect())
            }
            FunctionTest::Value(ValueTest::Number(test)) => {
                let signed = |v: i64| u64::try_from(v).is_ok_and(|v| test.holds(v));
                if let Some(numbers) = array.as_primitive_opt::<UInt32Type>() {
                    Some(numbers.iter().map(|v| v.map(|v| test.holds(v.into()))).collect())
                } else if let Some(numbers) = array.as_primitive_opt::<UInt64Type>() {
                    Some(numbers.iter().map(|v| v.map(|v| test.holds(v))).collect())
                } else if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
                    Some(numbers.iter().map(|v| v.map(signed)).collect())
                } else {
                    let times = array.as_primitive_opt::<TimestampNanosecondType>();
                    times.map(|times| times.iter().map(|v| v.map(signed)).collect())
                }
            }
        };
        match answer {
            Some(answer) => Ok(answer),
            None => exec_err!("a test of {:?} on a column of {}", self.test, array.data_type()),
        }
    }
}
