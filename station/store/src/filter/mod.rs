// SPDX-License-Identifier: MIT OR Apache-2.0
//! The filter language: nfdump's, with application fields.
//!
//! A [`Filter`] is parsed once. It becomes an expression for the query engine, or looks at one record at a time
//! ([`Filter::matches`]) for whoever has records and no store. Both mean the same; a test compares them.
//!
//! `not` is pushed down to single tests while parsing. So a test on a field that a record does not have is false, its
//! negation is true, and `not flags SA` can mean what nfdump's manual says: none of these, not "not all of these".
//! The reference is `docs/query.md`.

mod expr;
mod field;
mod lex;
mod matches;
mod parse;

use std::net::IpAddr;

use weir_flow::IpVersion;

pub(crate) use expr::duration_millis as duration;
pub use field::resolve;
pub(crate) use matches::duration_millis;

/// Why a text is no filter.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("filter, column {column}: {message}")]
pub struct FilterError {
    /// Where, in characters from one.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

impl FilterError {
    fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

/// A condition on flow records.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    node: Node,
}

impl Filter {
    /// The filter that every record passes.
    #[must_use]
    pub fn any() -> Self {
        Self { node: Node::Constant(true) }
    }

    /// Reads a filter. An empty text is [`Filter::any`].
    ///
    /// # Errors
    ///
    /// What is wrong, and where. Also if the text is longer than 1 MiB, or nested deeper than 64.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Ok(Self { node: parse::parse(text)?.push_down(false) })
    }

    /// Two filters of which no record passes both, and that together pass what this one does, if this one asks for hosts
    /// on either side: `src` in one, `dst` in the other. Each can use an index on addresses, the `or` of both cannot.
    pub(crate) fn split_sides(&self) -> Option<(Self, Self)> {
        let nodes: &[Node] = match &self.node {
            Node::All(nodes) => nodes,
            node => std::slice::from_ref(node),
        };
        let (at, src, dst) = nodes.iter().enumerate().find_map(|(at, node)| match node {
            Node::Any(sides) => match &sides[..] {
                [
                    src @ Node::Test { test: Test::Address { side: Side::Src, nets }, negated: false },
                    dst @ Node::Test { test: Test::Address { side: Side::Dst, .. }, negated: false },
                ] if nets.len() <= 16 && nets.iter().all(Net::is_host) => Some((at, src, dst)),
                _ => None,
            },
            _ => None,
        })?;
        let with = |mut one: Vec<Node>| {
            one.extend(nodes.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, n)| n.clone()));
            Self { node: Node::All(one) }
        };
        Some((with(vec![src.clone()]), with(vec![dst.clone(), src.clone().push_down(true)])))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Constant(bool),
    Not(Box<Node>),
    Test { test: Test, negated: bool },
}

impl Node {
    fn test(test: Test) -> Self {
        Self::Test { test, negated: false }
    }

    /// The same without [`Node::Not`], or its negation.
    fn push_down(self, negate: bool) -> Self {
        let each = |nodes: Vec<Self>| nodes.into_iter().map(|n| n.push_down(negate)).collect();
        match self {
            Self::All(nodes) if negate => Self::Any(each(nodes)),
            Self::Any(nodes) if negate => Self::All(each(nodes)),
            Self::All(nodes) => Self::All(each(nodes)),
            Self::Any(nodes) => Self::Any(each(nodes)),
            Self::Constant(value) => Self::Constant(value != negate),
            Self::Not(node) => node.push_down(!negate),
            Self::Test { test: Test::Flags { reverse, mask, mode: FlagsMode::Bare }, negated } => {
                let negated = negated != negate;
                // "None of these" is the negation of "any of these".
                let mode = if negated { FlagsMode::Any } else { FlagsMode::Bare };
                Self::Test { test: Test::Flags { reverse, mask, mode }, negated }
            }
            Self::Test { test, negated } => Self::Test { test, negated: negated != negate },
        }
    }
}

/// Which address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Dst,
    Exporter,
    Src,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum FlagsMode {
    /// Any of them set.
    Any,
    /// All of them set, and the negation means: none.
    Bare,
    /// All of them set.
    All,
    /// These and no others.
    Exact,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Address { side: Side, nets: Vec<Net> },
    Application(String),
    Exists(usize),
    Family(IpVersion),
    Field { column: usize, test: ValueTest },
    Flags { reverse: bool, mask: u16, mode: FlagsMode },
    Number { quantity: Quantity, test: NumberTest },
    Seen { last: bool, test: NumberTest },
}

/// A network; a host is one of full length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Net {
    first: IpAddr,
    last: IpAddr,
}

impl Net {
    /// The network of an address; `None` if `length` is more than the address has bits.
    fn new(address: IpAddr, length: u32) -> Option<Self> {
        Some(match address {
            IpAddr::V4(a) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                let first = u32::from(a) & !host;
                (length <= 32)
                    .then_some(Self { first: IpAddr::V4(first.into()), last: IpAddr::V4((first | host).into()) })?
            }
            IpAddr::V6(a) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let first = u128::from(a) & !host;
                (length <= 128)
                    .then_some(Self { first: IpAddr::V6(first.into()), last: IpAddr::V6((first | host).into()) })?
            }
        })
    }

    fn is_host(&self) -> bool {
        self.first == self.last
    }

    fn contains(&self, address: IpAddr) -> bool {
        // The order of addresses puts all IPv4 before all IPv6.
        self.first <= address && address <= self.last
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Op {
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
    Ne,
}

impl Op {
    fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ge => a >= b,
            Self::Gt => a > b,
            Self::Le => a <= b,
            Self::Lt => a < b,
            Self::Ne => a != b,
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum NumberTest {
    Compare(Op, u64),
    In(Vec<u64>),
}

impl NumberTest {
    fn holds(&self, value: u64) -> bool {
        match self {
            Self::Compare(op, other) => op.holds(&value, other),
            Self::In(values) => values.contains(&value),
        }
    }
}

/// Regular expressions are the same if their texts are.
#[derive(Clone, Debug)]
struct Pattern(regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
impl Eq for Pattern {}
impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum TextTest {
    Compare(Op, String),
    Contains(String),
    In(Vec<String>),
    Matches(Pattern),
}

impl TextTest {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Compare(op, other) => op.holds(&text, &other.as_str()),
            Self::Contains(part) => text.contains(part),
            Self::In(texts) => texts.iter().any(|t| t == text),
            Self::Matches(pattern) => pattern.0.is_match(text),
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum ValueTest {
    Number(NumberTest),
    Text(TextTest),
}

/// A number that every record has, or that is computed from such.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quantity {
    Bpp,
    Bps,
    Domain,
    DstPort,
    Duration,
    EndReason,
    FlowId,
    Flows,
    IcmpCode,
    IcmpType,
    InInterface,
    Octets,
    OutInterface,
    Packets,
    Pps,
    Protocol,
    ReverseOctets,
    ReversePackets,
    ReverseTcpFlags,
    SrcPort,
    TcpFlags,
    Tos,
    Vlan,
}

#[cfg(test)]
mod tests;
