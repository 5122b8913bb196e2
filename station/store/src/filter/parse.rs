// SPDX-License-Identifier: MIT OR Apache-2.0
//! Recursive descent over the tokens of a filter.
//!
//! ```text
//! or      := and { ("or" | "||") and }
//! and     := not { ("and" | "&&") not }
//! not     := ("not" | "!") not | "(" or ")" | primitive
//! ```

use std::net::{IpAddr, Ipv4Addr};

use weir_flow::{IpVersion, app};

use super::{
    FilterError, FlagsMode, Net, Node, NumberTest, Op, Pattern, Quantity, Side, Test, TextTest, ValueTest, field,
    lex::{self, Token},
};
use crate::{
    names,
    schema::{APP, Kind},
    window,
};

/// Octets of a filter.
const MAX_TEXT: usize = 1 << 20;
/// Depth of parentheses and negations.
const MAX_DEPTH: usize = 64;
/// Primitives of a filter; a list counts as one.
const MAX_TESTS: usize = 4096;
/// Memory of one compiled regular expression.
const MAX_REGEX: usize = 1 << 20;

/// Primitives of nfdump for which a flow record of ours has no field.
const NOT_RECORDED: &[&str] = &[
    "as",
    "asa",
    "client",
    "count",
    "egress",
    "engine",
    "ethertype",
    "flowdir",
    "fwdstat",
    "geo",
    "ingress",
    "mac",
    "mask",
    "max",
    "min",
    "mpls",
    "nat",
    "next",
    "bgp",
    "nbar",
    "payload",
    "pf",
    "prev",
    "server",
    "ttl",
    "tun",
    "xip",
    "xnet",
    "xport",
];

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    if text.len() > MAX_TEXT {
        return Err(FilterError::new(1, format!("longer than {MAX_TEXT} octets")));
    }
    let tokens = lex::tokens(text)?;
    if tokens.is_empty() {
        return Ok(Node::Constant(true));
    }
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.chars().count() + 1, depth: 0, tests: 0 };
    let node = parser.or()?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(parser.error(format!("expected 'and', 'or' or the end, found {token}"))),
    }
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    end: usize,
    depth: usize,
    tests: usize,
}

/// Directions before a primitive.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Direction {
    Both,
    Dst,
    In,
    None,
    Out,
    Src,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|t| &t.1)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |t| t.0)
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError::new(self.column(), message)
    }

    fn expected<T>(&self, what: &str) -> Result<T, FilterError> {
        let found = self.peek().map_or_else(|| "the end".to_owned(), ToString::to_string);
        Err(self.error(format!("expected {what}, found {found}")))
    }

    /// The next token as a keyword, in lower case.
    fn keyword(&self) -> Option<String> {
        self.keyword_at(self.at)
    }

    fn keyword_at(&self, at: usize) -> Option<String> {
        match self.tokens.get(at) {
            Some((_, Token::Word(word))) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn take_keyword(&mut self, keywords: &[&str]) -> bool {
        let is = self.keyword().is_some_and(|k| keywords.contains(&k.as_str()));
        self.at += usize::from(is);
        is
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(is);
        is
    }

    fn or(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.and()?];
        while self.take_keyword(&["or"]) || self.take_sign("||") {
            nodes.push(self.and()?);
        }
        Ok(if nodes.len() > 1 { Node::Any(nodes) } else { nodes.swap_remove(0) })
    }

    fn and(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.not()?];
        while self.take_keyword(&["and"]) || self.take_sign("&&") {
            nodes.push(self.not()?);
        }
        Ok(if nodes.len() > 1 { Node::All(nodes) } else { nodes.swap_remove(0) })
    }

    fn not(&mut self) -> Result<Node, FilterError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let node = if self.take_keyword(&["not"]) || self.take_sign("!") {
            Node::Not(Box::new(self.not()?))
        } else if self.take_sign("(") {
            let node = self.or()?;
            if !self.take_sign(")") {
                return self.expected("')'");
            }
            node
        } else {
            self.primitive()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn direction(&mut self) -> Direction {
        let second = |p: &Self, first: &str, then: &str, last: &str| {
            p.keyword().as_deref() == Some(first)
                && p.keyword_at(p.at + 1).as_deref() == Some(then)
                && p.keyword_at(p.at + 2).as_deref() == Some(last)
        };
        // "src or dst port 53" of older nfdump.
        for (first, last) in [("src", "dst"), ("dst", "src")] {
            for (word, direction) in [("or", Direction::None), ("and", Direction::Both)] {
                if second(self, first, word, last) {
                    self.at += 3;
                    return direction;
                }
            }
        }
        for (word, direction) in
            [("src", Direction::Src), ("dst", Direction::Dst), ("in", Direction::In), ("out", Direction::Out)]
        {
            if self.take_keyword(&[word]) {
                return direction;
            }
        }
        Direction::None
    }

    fn primitive(&mut self) -> Result<Node, FilterError> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(self.error(format!("more than {MAX_TESTS} conditions")));
        }
        let start = self.at;
        let direction = self.direction();
        let Some(word) = self.keyword() else { return self.expected("a condition") };
        self.at += 1;
        let directed = matches!(direction, Direction::Src | Direction::Dst | Direction::None | Direction::Both);
        let counted = matches!(direction, Direction::In | Direction::Out | Direction::None);
        match word.as_str() {
            "ip" | "host" if directed => self.addresses(direction),
            "net" if directed => self.net(direction),
            "port" if directed => {
                let test = self.number_test("a port number", u64::from(u16::MAX), number)?;
                Ok(sides(direction, |src| {
                    let quantity = if src { Quantity::SrcPort } else { Quantity::DstPort };
                    Test::Number { quantity, test: test.clone() }
                }))
            }
            "flags" if directed && direction != Direction::Both => self.flags(direction == Direction::Dst),
            "packets" | "bytes" if counted => {
                let quantity = match (word.as_str(), direction) {
                    ("packets", Direction::Out) => Quantity::ReversePackets,
                    ("packets", _) => Quantity::Packets,
                    (_, Direction::Out) => Quantity::ReverseOctets,
                    _ => Quantity::Octets,
                };
                self.quantity(quantity, u64::MAX)
            }
            "if" if counted => {
                let test = self.number_test("an interface number", u64::from(u32::MAX), number)?;
                let of = |quantity| Node::test(Test::Number { quantity, test: test.clone() });
                Ok(match direction {
                    Direction::In => of(Quantity::InInterface),
                    Direction::Out => of(Quantity::OutInterface),
                    _ => Node::Any(vec![of(Quantity::InInterface), of(Quantity::OutInterface)]),
                })
            }
            "tos" if matches!(direction, Direction::Src | Direction::None) => self.quantity(Quantity::Tos, 255),
            "vlan" if matches!(direction, Direction::Src | Direction::None) => self.quantity(Quantity::Vlan, 4095),
            _ if direction == Direction::None => self.undirected(start, &word),
            _ => {
                self.at = start + 1;
                self.expected("a condition that has a direction (ip, net, port, flags, packets, bytes, if)")
            }
        }
    }

    fn undirected(&mut self, start: usize, word: &str) -> Result<Node, FilterError> {
        match word {
            "any" => Ok(Node::Constant(true)),
            "ipv4" | "inet" => Ok(Node::test(Test::Family(IpVersion::V4))),
            "ipv6" | "inet6" => Ok(Node::test(Test::Family(IpVersion::V6))),
            "proto" => {
                let of = |w: &str| names::protocol_number(w).map(u64::from).or_else(|| number(w));
                let test = self.number_test("a protocol", 255, of)?;
                Ok(Node::test(Test::Number { quantity: Quantity::Protocol, test }))
            }
            "flows" => self.quantity(Quantity::Flows, u64::MAX),
            "pps" => self.quantity(Quantity::Pps, u64::MAX),
            "bps" => self.quantity(Quantity::Bps, u64::MAX),
            "bpp" => self.quantity(Quantity::Bpp, u64::MAX),
            "duration" => self.quantity(Quantity::Duration, u64::MAX),
            "icmp-type" => self.quantity(Quantity::IcmpType, 255),
            "icmp-code" => self.quantity(Quantity::IcmpCode, 255),
            "icmp" if self.take_keyword(&["type"]) => self.quantity(Quantity::IcmpType, 255),
            "icmp" if self.take_keyword(&["code"]) => self.quantity(Quantity::IcmpCode, 255),
            "icmp" => self.expected("'type' or 'code'"),
            "first" | "last" => {
                if !self.take_keyword(&["seen"]) {
                    return self.expected("'seen'");
                }
                let op = self.op().unwrap_or(Op::Eq);
                let Some(Token::Word(text) | Token::Quoted(text)) = self.peek() else {
                    return self.expected("a time");
                };
                let Some((from, until)) = window::parse_point(text) else {
                    return self.expected("a time as 2026-11-20T14:05:00 or 2026/11/20.14:05:00, or a prefix");
                };
                self.at += 1;
                let compare =
                    |op, ts| Node::test(Test::Seen { last: word == "last", test: NumberTest::Compare(op, ts) });
                // A prefix is a span: equal is within, greater is after all of it.
                Ok(match op {
                    Op::Eq => Node::All(vec![compare(Op::Ge, from), compare(Op::Lt, until)]),
                    Op::Ne => Node::Any(vec![compare(Op::Lt, from), compare(Op::Ge, until)]),
                    Op::Ge => compare(Op::Ge, from),
                    Op::Gt => compare(Op::Ge, until),
                    Op::Le => compare(Op::Lt, until),
                    Op::Lt => compare(Op::Lt, from),
                })
            }
            "exporter" | "router" => {
                self.take_keyword(&["ip"]);
                let nets = self.nets()?;
                Ok(Node::test(Test::Address { side: Side::Exporter, nets }))
            }
            "observation" if self.take_keyword(&["domain"]) => {
                self.take_keyword(&["id"]);
                self.quantity(Quantity::Domain, u64::from(u32::MAX))
            }
            "observation" => self.expected("'domain'"),
            "app" | "application" => {
                let _ = self.op();
                let slug = self.text("an application protocol")?;
                if !app::SLUGS.contains(&slug.as_str()) {
                    self.at -= 1;
                    return self.expected(&format!("one of {}", app::SLUGS.join(", ")));
                }
                Ok(Node::test(Test::Application(slug)))
            }
            "exists" => self.exists(),
            _ => self.field(start, word),
        }
    }

    fn exists(&mut self) -> Result<Node, FilterError> {
        let parenthesis = self.take_sign("(");
        let Some(word) = self.keyword() else { return self.expected("the name of a field") };
        let test = if app::SLUGS.contains(&word.as_str()) {
            Test::Application(word)
        } else if let Some(index) = field::index(&word) {
            Test::Exists(index)
        } else {
            return self.expected("the name of a field");
        };
        self.at += 1;
        if parenthesis && !self.take_sign(")") {
            return self.expected("')'");
        }
        Ok(Node::test(test))
    }

    fn field(&mut self, start: usize, word: &str) -> Result<Node, FilterError> {
        if let Some(quantity) = field::quantity(word) {
            return self.quantity(quantity, u64::MAX);
        }
        if let Some(side) = match word {
            "sourceipv4address" | "sourceipv6address" => Some(Direction::Src),
            "destinationipv4address" | "destinationipv6address" => Some(Direction::Dst),
            _ => None,
        } {
            return self.addresses(side);
        }
        let Some((index, column)) = field::index(word).and_then(|i| Some((i, APP.get(i)?))) else {
            self.at = start;
            if NOT_RECORDED.contains(&word) {
                return Err(self.error(format!("'{word}' is not recorded by this store")));
            }
            return self.expected("a condition");
        };
        let test = if column.kind.is_text() {
            ValueTest::Text(self.text_test(column.kind)?)
        } else {
            let of = |w: &str| names::value(&column.name, w).or_else(|| number(w));
            ValueTest::Number(self.number_test("a number", u64::MAX, of)?)
        };
        Ok(Node::test(Test::Field { column: index, test }))
    }

    fn quantity(&mut self, quantity: Quantity, max: u64) -> Result<Node, FilterError> {
        let test = self.number_test("a number", max, number)?;
        Ok(Node::test(Test::Number { quantity, test }))
    }

    fn op(&mut self) -> Option<Op> {
        let op = match self.peek()? {
            Token::Sign("=" | "==") => Op::Eq,
            Token::Sign("!=") => Op::Ne,
            Token::Sign("<") => Op::Lt,
            Token::Sign("<=") => Op::Le,
            Token::Sign(">") => Op::Gt,
            Token::Sign(">=") => Op::Ge,
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "eq" => Op::Eq,
                "ge" => Op::Ge,
                "gt" => Op::Gt,
                "le" => Op::Le,
                "lt" => Op::Lt,
                "ne" => Op::Ne,
                _ => return None,
            },
            _ => return None,
        };
        self.at += 1;
        Some(op)
    }

    /// Items between `[` and `]`, separated by blanks or commas.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, FilterError>) -> Result<Vec<T>, FilterError> {
        if !self.take_sign("[") {
            return self.expected("'['");
        }
        let mut items = Vec::new();
        while !self.take_sign("]") {
            items.push(item(self)?);
            self.take_sign(",");
        }
        if items.is_empty() {
            self.at -= 1;
            return self.expected("at least one value");
        }
        Ok(items)
    }

    fn number_test(
        &mut self,
        what: &str,
        max: u64,
        of: impl Fn(&str) -> Option<u64>,
    ) -> Result<NumberTest, FilterError> {
        let one = |p: &mut Self| {
            let value = match p.peek() {
                Some(Token::Word(word) | Token::Quoted(word)) => of(word),
                _ => None,
            };
            let Some(value) = value else { return p.expected(what) };
            if value > max {
                return p.expected(&format!("{what} of at most {max}"));
            }
            p.at += 1;
            Ok(value)
        };
        if self.take_keyword(&["in"]) {
            let mut values = self.list(one)?;
            values.sort_unstable();
            values.dedup();
            return Ok(NumberTest::In(values));
        }
        let op = self.op().unwrap_or(Op::Eq);
        Ok(NumberTest::Compare(op, one(self)?))
    }

    fn text(&mut self, what: &str) -> Result<String, FilterError> {
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => self.expected(what),
        }
    }

    fn text_test(&mut self, kind: Kind) -> Result<TextTest, FilterError> {
        // Hexadecimal digits and addresses have one spelling in the store.
        let value = |p: &mut Self| {
            let text = p.text("a text")?;
            Ok(match kind {
                Kind::Hex => text.to_ascii_lowercase(),
                Kind::Ip => text.parse::<IpAddr>().map_or(text, |a| a.to_string()),
                _ => text,
            })
        };
        if self.take_keyword(&["in"]) {
            return Ok(TextTest::In(self.list(value)?));
        }
        if self.take_keyword(&["contains"]) {
            return Ok(TextTest::Contains(value(self)?));
        }
        if self.take_keyword(&["matches"]) || self.take_sign("=~") {
            let column = self.column();
            let pattern = self.text("a regular expression")?;
            let regex = regex::RegexBuilder::new(&pattern).size_limit(MAX_REGEX).build();
            return match regex {
                Ok(regex) => Ok(TextTest::Matches(Pattern(regex))),
                Err(e) => {
                    let text = e.to_string();
                    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    Err(FilterError::new(column, format!("not a regular expression: {reason}")))
                }
            };
        }
        let op = self.op().unwrap_or(Op::Eq);
        Ok(TextTest::Compare(op, value(self)?))
    }

    fn addresses(&mut self, direction: Direction) -> Result<Node, FilterError> {
        let nets = self.nets()?;
        Ok(address_sides(direction, &nets))
    }

    /// `[op] ADDRESS[/LENGTH]`, or `in [ ... ]`.
    fn nets(&mut self) -> Result<Vec<Net>, FilterError> {
        if self.take_keyword(&["in"]) {
            return self.list(|p| p.one_net(false));
        }
        if let Some(op) = self.op()
            && op != Op::Eq
        {
            self.at -= 1;
            return self.expected("an address");
        }
        Ok(vec![self.one_net(false)?])
    }

    fn one_net(&mut self, partial: bool) -> Result<Net, FilterError> {
        let net = match self.peek() {
            Some(Token::Word(word) | Token::Quoted(word)) => parse_net(word, partial),
            _ => None,
        };
        let Some(net) = net else { return self.expected("an IP address or network") };
        self.at += 1;
        Ok(net)
    }

    fn net(&mut self, direction: Direction) -> Result<Node, FilterError> {
        if self.take_keyword(&["in"]) {
            let nets = self.list(|p| p.one_net(true))?;
            return Ok(address_sides(direction, &nets));
        }
        let net = self.one_net(true)?;
        // "net 10.0.0.0 255.0.0.0"
        let mask = self.keyword().and_then(|w| w.parse::<Ipv4Addr>().ok()).map(u32::from);
        let net = match (mask, net.first) {
            (Some(mask), IpAddr::V4(_)) if net.is_host() => {
                if mask.leading_ones() + mask.trailing_zeros() != 32 {
                    return self.expected("a netmask");
                }
                self.at += 1;
                Net::new(net.first, mask.leading_ones()).unwrap_or(net)
            }
            (Some(_), _) => return self.expected("'and', 'or' or the end"),
            _ => net,
        };
        Ok(address_sides(direction, &[net]))
    }

    fn flags(&mut self, reverse: bool) -> Result<Node, FilterError> {
        let mode = if self.take_keyword(&["any"]) {
            Some(FlagsMode::Any)
        } else if self.take_keyword(&["all"]) {
            Some(FlagsMode::All)
        } else {
            None
        };
        let before = self.at;
        let op = if mode.is_none() { self.op() } else { None };
        let Some(word) = self.keyword() else { return self.expected("TCP flags: letters of FSRPAUECX, or a number") };
        if let Some(value) = number(&word).filter(|n| *n <= 255) {
            self.at += 1;
            let quantity = if reverse { Quantity::ReverseTcpFlags } else { Quantity::TcpFlags };
            if let Some(mode) = mode {
                return Ok(Node::test(Test::Flags { reverse, mask: u16::try_from(value).unwrap_or(0), mode }));
            }
            let test = NumberTest::Compare(op.unwrap_or(Op::Eq), value);
            return Ok(Node::test(Test::Number { quantity, test }));
        }
        let bit = |c| match c {
            'f' => Some(1),
            's' => Some(2),
            'r' => Some(4),
            'p' => Some(8),
            'a' => Some(16),
            'u' => Some(32),
            'e' => Some(64),
            'c' => Some(128),
            'x' => Some(63),
            _ => None,
        };
        let Some(mask) = word.chars().try_fold(0u16, |mask, c| Some(mask | bit(c)?)) else {
            return self.expected("TCP flags: letters of FSRPAUECX, or a number");
        };
        let mode = match (mode, op) {
            (Some(mode), _) => mode,
            (None, None) => FlagsMode::Bare,
            (None, Some(Op::Eq)) => FlagsMode::Exact,
            (None, Some(_)) => {
                self.at = before;
                return self.expected("'=' or flags");
            }
        };
        self.at += 1;
        Ok(Node::test(Test::Flags { reverse, mask, mode }))
    }
}

/// A test of one side, of either, or of both.
fn sides(direction: Direction, test: impl Fn(bool) -> Test) -> Node {
    let (src, dst) = (Node::test(test(true)), Node::test(test(false)));
    match direction {
        Direction::Src => src,
        Direction::Dst => dst,
        Direction::Both => Node::All(vec![src, dst]),
        _ => Node::Any(vec![src, dst]),
    }
}

fn address_sides(direction: Direction, nets: &[Net]) -> Node {
    sides(direction, |src| Test::Address { side: if src { Side::Src } else { Side::Dst }, nets: nets.to_vec() })
}

/// A number: decimal with an optional suffix of powers of 1000, or hexadecimal. `None` if it is none, or too large.
fn number(word: &str) -> Option<u64> {
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return if digits.starts_with('+') { None } else { u64::from_str_radix(digits, 16).ok() };
    }
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match word.get(digits.len()..)? {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" => 1_000_000_000,
        "t" | "T" => 1_000_000_000_000,
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// `ADDRESS` or `ADDRESS/LENGTH`; where `partial`, also `147.251/16`.
fn parse_net(word: &str, partial: bool) -> Option<Net> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) if length.bytes().all(|b| b.is_ascii_digit()) => (address, Some(length.parse().ok()?)),
        Some(_) => return None,
        None => (word, None),
    };
    let dots = address.bytes().filter(|b| *b == b'.').count();
    let address: IpAddr = if partial && length.is_some() && dots < 3 && !address.contains(':') {
        format!("{address}{}", ".0".repeat(3 - dots)).parse().ok()?
    } else {
        address.parse().ok()?
    };
    Net::new(address, length.unwrap_or(if address.is_ipv4() { 32 } else { 128 }))
}
