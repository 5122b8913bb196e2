// SPDX-License-Identifier: MIT OR Apache-2.0
//! A part of tcpdump's language (pcap-filter(7)), compiled to classic BPF without libpcap. What is in it takes what libpcap takes.
//!
//! ```text
//! expression  term, then as often as wanted: and term, or term; both bind alike, from the left
//! term        not term, ( expression ), test
//! test        PROTOCOL
//!             [ip | ip6 | arp | rarp] [DIRECTION] host ADDRESS        "host" may be left out after a direction
//!             [ip | ip6 | arp | rarp] [DIRECTION] net ADDRESS/LENGTH
//!             [tcp | udp | sctp] [DIRECTION] port NUMBER
//!             [tcp | udp | sctp] [DIRECTION] portrange NUMBER-NUMBER
//! PROTOCOL    ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6
//! DIRECTION   src, dst, src or dst, src and dst
//! ```
//!
//! `&&`, `||` and `!` are `and`, `or` and `not`. Names of hosts and services are not looked up.
//!
//! Of IPv4 fragments only the first has ports. Behind an IPv6 header a transport protocol is looked for directly, and behind one
//! fragment header if there is no port to be read; other extension headers are not followed.
//!
//! Code is made from its end to its beginning: all jumps of BPF go forward, so each target is known when a jump to it is made.

use std::net::IpAddr;

use thiserror::Error;
use weir_flow::LinkType;

use super::{Instruction, JUMP_EQUAL, LOAD_WORD, RETURN};

#[cfg(test)]
mod tests;

/// Most parentheses and negations around a test.
const MAX_DEPTH: usize = 64;
/// Most tests of an expression. It bounds how deep the tree is, which recursion follows.
const MAX_TESTS: usize = 512;
/// Most instructions that the kernel takes: BPF_MAXINSNS (linux/bpf_common.h).
const MAX_INSTRUCTIONS: usize = 4096;
/// Octets of a packet taken: more than any packet has.
const ALL_OCTETS: u32 = 262_144;

/// `ldh [k]`, `ldb [k]`, `ldh [x + k]`, and `ldxb 4*([k]&0xf)`: the length of the IPv4 header there.
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AFTER_X: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
/// `and #k`.
const AND: u16 = 0x54;
/// `ja k`, `jgt #k`, `jge #k`, `jset #k`.
const JUMP: u16 = 0x05;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;

/// Octets of an Ethernet header.
const ETHERNET_OCTETS: u32 = 14;
/// Octets of an IPv6 header (RFC 8200 section 3).
const IPV6_OCTETS: u32 = 40;
/// The number of IPv6's fragment header.
const FRAGMENT: u32 = 44;

/// Why an expression gives no program.
#[derive(Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub(super) enum SmallError {
    /// A value is not what its keyword takes.
    #[error("\"{word}\" after \"{keyword}\" is not {wanted}")]
    Value { keyword: &'static str, word: String, wanted: &'static str },
    /// An address or number stands where a test begins.
    #[error("\"{word}\" has no keyword: say \"host\", \"net\" or \"port\" before each value")]
    Bare { word: String },
    /// A character that nothing of the language has.
    #[error("'{}' means nothing in filters of a build without libpcap", character.escape_default())]
    Character { character: char },
    /// Too many parentheses or negations.
    #[error("more than {MAX_DEPTH} parentheses or negations within each other")]
    Deep,
    /// Something ends too early.
    #[error("it ends where {wanted} should follow")]
    End { wanted: &'static str },
    /// Only two kinds of links are known.
    #[error("a build without libpcap filters only Ethernet and raw IP, not link type {link}")]
    Link { link: u16 },
    /// Too many tests or instructions.
    #[error("too long: at most {MAX_TESTS} tests and {MAX_INSTRUCTIONS} instructions")]
    Long,
    /// A mask that does not cover all that is given.
    #[error("\"{word}\" after \"net\" has bits set behind its prefix")]
    Prefix { word: String },
    /// A protocol and a keyword that do not go together.
    #[error("\"{protocol}\" does not go with {what}")]
    Qualifier { protocol: &'static str, what: &'static str },
    /// A word or sign where something else should be.
    #[error("\"{word}\" where {wanted} should follow")]
    Unexpected { word: String, wanted: &'static str },
    /// No word of the language.
    #[error(
        "\"{word}\" is not known in a build without libpcap; known are ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6, src, dst, \
         host, net, port, portrange, and, or, not and parentheses"
    )]
    Word { word: String },
}

/// The program for packets that begin like this.
///
/// # Errors
///
/// If the expression is not of this part of the language, or too long, or the link is neither Ethernet nor raw IP.
pub(super) fn compile(expression: &str, link: LinkType) -> Result<Vec<Instruction>, SmallError> {
    let link = match link {
        LinkType::ETHERNET => Link::Ethernet,
        LinkType::RAW => Link::Raw,
        other => return Err(SmallError::Link { link: other.0 }),
    };
    let mut parser = Parser { tokens: tokens(expression)?, at: 0, depth: 0, tests: 0, link };
    // Nothing said takes everything.
    let tree = if parser.tokens.is_empty() { Node::All(Vec::new()) } else { parser.whole()? };
    Code::of(&tree)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token<'a> {
    And,
    Close,
    Not,
    Open,
    Or,
    Word(&'a str),
}

impl Token<'_> {
    fn text(self) -> String {
        let text = match self {
            Token::And => "and",
            Token::Close => ")",
            Token::Not => "not",
            Token::Open => "(",
            Token::Or => "or",
            Token::Word(word) => word,
        };
        text.to_owned()
    }
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, SmallError> {
    let of_a_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '-' | '_');
    let mut tokens = Vec::new();
    let mut rest = text.trim_ascii_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = if let Some(after) = rest.strip_prefix("&&") {
            (Token::And, after)
        } else if let Some(after) = rest.strip_prefix("||") {
            (Token::Or, after)
        } else if let Some(after) = rest.strip_prefix('!') {
            (Token::Not, after)
        } else if let Some(after) = rest.strip_prefix('(') {
            (Token::Open, after)
        } else if let Some(after) = rest.strip_prefix(')') {
            (Token::Close, after)
        } else if of_a_word(first) {
            let (word, after) = rest.split_at(rest.find(|c| !of_a_word(c)).unwrap_or(rest.len()));
            (keyword_or_word(word), after)
        } else {
            return Err(SmallError::Character { character: first });
        };
        tokens.push(token);
        rest = after.trim_ascii_start();
    }
    Ok(tokens)
}

fn keyword_or_word(word: &str) -> Token<'_> {
    match word {
        "and" => Token::And,
        "not" => Token::Not,
        "or" => Token::Or,
        _ => Token::Word(word),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    Ethernet,
    Raw,
}

impl Link {
    /// Where the network header is.
    const fn network(self) -> u32 {
        match self {
            Self::Ethernet => ETHERNET_OCTETS,
            Self::Raw => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Network {
    Arp,
    Ipv4,
    Ipv6,
    Rarp,
}

impl Network {
    const fn ether_type(self) -> u32 {
        match self {
            Self::Arp => 0x0806,
            Self::Ipv4 => 0x0800,
            Self::Ipv6 => 0x86dd,
            Self::Rarp => 0x8035,
        }
    }
}

/// What a protocol's name says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    /// ICMP of one version of IP.
    Icmp(Network, u32),
    Network(Network),
    /// A transport protocol with ports, over both versions of IP.
    Transport(u32),
}

const PROTOCOLS: [(&str, Protocol); 9] = [
    ("arp", Protocol::Network(Network::Arp)),
    ("icmp", Protocol::Icmp(Network::Ipv4, 1)),
    ("icmp6", Protocol::Icmp(Network::Ipv6, 58)),
    ("ip", Protocol::Network(Network::Ipv4)),
    ("ip6", Protocol::Network(Network::Ipv6)),
    ("rarp", Protocol::Network(Network::Rarp)),
    ("sctp", Protocol::Transport(132)),
    ("tcp", Protocol::Transport(6)),
    ("udp", Protocol::Transport(17)),
];

type Named = (&'static str, Protocol);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Both,
    Destination,
    Either,
    Source,
}

/// What of a packet a test looks at; offsets are from its beginning, but for the last.
#[derive(Clone, Copy, Debug)]
enum Load {
    Byte(u32),
    Half(u32),
    Word(u32),
    /// So far behind the IPv4 header that begins at `header`.
    HalfBehind {
        header: u32,
        offset: u32,
    },
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Above(u32),
    AnyBit(u32),
    AtLeast(u32),
    Equal(u32),
}

#[derive(Debug)]
enum Node {
    /// All of them are true; so it is if there are none.
    All(Vec<Node>),
    /// One of them is true; never if there are none.
    Any(Vec<Node>),
    Not(Box<Node>),
    Test {
        load: Load,
        /// Bits that count.
        mask: u32,
        comparison: Comparison,
    },
}

impl Node {
    fn test(load: Load, comparison: Comparison) -> Self {
        Self::Test { load, mask: u32::MAX, comparison }
    }

    fn equal(load: Load, value: u32) -> Self {
        Self::test(load, Comparison::Equal(value))
    }

    fn not(node: Self) -> Self {
        Self::Not(Box::new(node))
    }

    /// Both; a chain stays flat.
    fn and(left: Self, right: Self) -> Self {
        match left {
            Self::All(mut nodes) => {
                nodes.push(right);
                Self::All(nodes)
            }
            left => Self::All(vec![left, right]),
        }
    }

    /// One of them; a chain stays flat.
    fn or(left: Self, right: Self) -> Self {
        match left {
            Self::Any(mut nodes) => {
                nodes.push(right);
                Self::Any(nodes)
            }
            left => Self::Any(vec![left, right]),
        }
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// Parentheses and negations around this place.
    depth: usize,
    /// Tests so far.
    tests: usize,
    link: Link,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(Token::Word(word));
        self.at += usize::from(there);
        there
    }

    fn whole(&mut self) -> Result<Node, SmallError> {
        let tree = self.expression()?;
        self.peek().map_or(Ok(tree), |token| Err(unexpected(Some(token), "\"and\", \"or\" or the end")))
    }

    fn expression(&mut self) -> Result<Node, SmallError> {
        let mut left = self.term()?;
        loop {
            let join = match self.peek() {
                Some(Token::And) => Node::and,
                Some(Token::Or) => Node::or,
                None | Some(Token::Close) => return Ok(left),
                other => return Err(unexpected(other, "\"and\" or \"or\"")),
            };
            self.at += 1;
            left = join(left, self.term()?);
        }
    }

    fn term(&mut self) -> Result<Node, SmallError> {
        match self.peek() {
            Some(Token::Not) => self.deeper(|parser| Ok(Node::not(parser.term()?))),
            Some(Token::Open) => self.deeper(|parser| {
                let inner = parser.expression()?;
                match parser.next() {
                    Some(Token::Close) => Ok(inner),
                    other => Err(unexpected(other, "\")\"")),
                }
            }),
            Some(Token::Word(word)) => self.one_test(word),
            other => Err(unexpected(other, "a test, as \"tcp\" or \"host 192.0.2.1\",")),
        }
    }

    /// What follows this token, one level deeper.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Result<Node, SmallError>) -> Result<Node, SmallError> {
        if self.depth == MAX_DEPTH {
            return Err(SmallError::Deep);
        }
        self.at += 1;
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }

    fn one_test(&mut self, first: &str) -> Result<Node, SmallError> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(SmallError::Long);
        }
        let protocol = PROTOCOLS.into_iter().find(|(name, _)| self.take(name));
        let direction = self.direction();
        if self.take("host") {
            self.host("host", protocol, direction)
        } else if self.take("net") {
            self.net(protocol, direction)
        } else if self.take("port") {
            self.port(protocol, direction)
        } else if self.take("portrange") {
            self.port_range(protocol, direction)
        } else if let Some(direction) = direction {
            let keyword = if direction == Direction::Destination { "dst" } else { "src" };
            self.host(keyword, protocol, Some(direction))
        } else if let Some((_, protocol)) = protocol {
            Ok(protocol_node(self.link, protocol))
        } else {
            Err(not_a_test(first))
        }
    }

    fn direction(&mut self) -> Option<Direction> {
        let (one, other, alone) = match self.peek()? {
            Token::Word("src") => ("src", "dst", Direction::Source),
            Token::Word("dst") => ("dst", "src", Direction::Destination),
            _ => return None,
        };
        self.take(one);
        let both = match (self.peek(), self.tokens.get(self.at + 1)) {
            (Some(Token::Or), Some(Token::Word(word))) if *word == other => Direction::Either,
            (Some(Token::And), Some(Token::Word(word))) if *word == other => Direction::Both,
            _ => return Some(alone),
        };
        self.at += 2;
        Some(both)
    }

    /// The value of a keyword.
    fn value<T>(
        &mut self,
        keyword: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<(&'a str, T), SmallError> {
        match self.next() {
            Some(Token::Word(word)) => {
                let value = parse(word).ok_or_else(|| SmallError::Value { keyword, word: word.to_owned(), wanted })?;
                Ok((word, value))
            }
            other => Err(unexpected(other, wanted)),
        }
    }

    fn host(
        &mut self,
        keyword: &'static str,
        protocol: Option<Named>,
        direction: Option<Direction>,
    ) -> Result<Node, SmallError> {
        let (_, address) = self.value(keyword, "an IPv4 or IPv6 address", |word| word.parse::<IpAddr>().ok())?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        address_node(self.link, protocol, direction, address, length)
    }

    fn net(&mut self, protocol: Option<Named>, direction: Option<Direction>) -> Result<Node, SmallError> {
        let (word, (address, length)) =
            self.value("net", "an address and its prefix length, as 192.0.2.0/24", prefix)?;
        if address_bits(address) & !mask(length) != 0 {
            return Err(SmallError::Prefix { word: word.to_owned() });
        }
        address_node(self.link, protocol, direction, address, length)
    }

    fn port(&mut self, protocol: Option<Named>, direction: Option<Direction>) -> Result<Node, SmallError> {
        let (_, port) = self.value("port", "a number from 0 to 65535", number)?;
        port_node(self.link, protocol, direction, &|load| Node::equal(load, port))
    }

    fn port_range(&mut self, protocol: Option<Named>, direction: Option<Direction>) -> Result<Node, SmallError> {
        let range = |word: &str| word.split_once('-').and_then(|(one, other)| Some((number(one)?, number(other)?)));
        let (_, (one, other)) = self.value("portrange", "two numbers from 0 to 65535, as 5060-5070", range)?;
        let (first, last) = (one.min(other), one.max(other));
        port_node(self.link, protocol, direction, &|load| {
            let above = Node::test(load, Comparison::Above(last));
            Node::All(vec![Node::test(load, Comparison::AtLeast(first)), Node::not(above)])
        })
    }
}

#[cold]
fn unexpected(token: Option<Token<'_>>, wanted: &'static str) -> SmallError {
    token.map_or(SmallError::End { wanted }, |token| SmallError::Unexpected { word: token.text(), wanted })
}

#[cold]
fn not_a_test(word: &str) -> SmallError {
    let word = word.to_owned();
    let value = word.parse::<IpAddr>().is_ok() || prefix(&word).is_some() || number(&word).is_some();
    if value { SmallError::Bare { word } } else { SmallError::Word { word } }
}

/// A port. tcpdump reads numbers that begin with a zero as octal: they are none here.
fn number(word: &str) -> Option<u32> {
    let plain = word.bytes().all(|c| c.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse::<u16>().ok().map(u32::from) } else { None }
}

fn prefix(word: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = word.split_once('/')?;
    let (address, length) = (address.parse::<IpAddr>().ok()?, number(length)?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((address, length))
}

/// An address from the left of 128 bits on.
fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// So many bits from the left.
const fn mask(length: u32) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length) }
}

fn network_node(link: Link, network: Network) -> Node {
    let version =
        |version: u32| Node::Test { load: Load::Byte(0), mask: 0xf0, comparison: Comparison::Equal(version << 4) };
    match (link, network) {
        (Link::Ethernet, network) => Node::equal(Load::Half(12), network.ether_type()),
        (Link::Raw, Network::Ipv4) => version(4),
        (Link::Raw, Network::Ipv6) => version(6),
        (Link::Raw, Network::Arp | Network::Rarp) => Node::Any(Vec::new()),
    }
}

fn protocol_node(link: Link, protocol: Protocol) -> Node {
    match protocol {
        Protocol::Icmp(network, number) => over(link, network, number),
        Protocol::Network(network) => network_node(link, network),
        Protocol::Transport(number) => {
            Node::Any(vec![over(link, Network::Ipv4, number), over(link, Network::Ipv6, number)])
        }
    }
}

/// This protocol over IP; over IPv6 also behind a fragment header.
fn over(link: Link, network: Network, number: u32) -> Node {
    let start = link.network();
    let ip = network_node(link, network);
    if network != Network::Ipv6 {
        return Node::All(vec![ip, Node::equal(Load::Byte(start + 9), number)]);
    }
    let next = Load::Byte(start + 6);
    let fragment = Node::All(vec![Node::equal(next, FRAGMENT), Node::equal(Load::Byte(start + IPV6_OCTETS), number)]);
    Node::All(vec![ip, Node::Any(vec![Node::equal(next, number), fragment])])
}

/// What is asked of the source, the destination, or both.
fn sides(direction: Option<Direction>, source: Node, destination: Node) -> Node {
    match direction {
        Some(Direction::Both) => Node::All(vec![source, destination]),
        Some(Direction::Destination) => destination,
        Some(Direction::Source) => source,
        None | Some(Direction::Either) => Node::Any(vec![source, destination]),
    }
}

fn address_node(
    link: Link,
    protocol: Option<Named>,
    direction: Option<Direction>,
    address: IpAddr,
    length: u32,
) -> Result<Node, SmallError> {
    let only = match protocol {
        None => None,
        Some((_, Protocol::Network(network))) => Some(network),
        Some((protocol, _)) => return Err(SmallError::Qualifier { protocol, what: "addresses" }),
    };
    // Those in one group have their addresses in the same place.
    let groups: &[&[Network]] = match (address, only) {
        (IpAddr::V4(_), None) => &[&[Network::Ipv4], &[Network::Arp, Network::Rarp]],
        (IpAddr::V4(_), Some(Network::Ipv4)) => &[&[Network::Ipv4]],
        (IpAddr::V4(_), Some(Network::Arp)) => &[&[Network::Arp]],
        (IpAddr::V4(_), Some(Network::Rarp)) => &[&[Network::Rarp]],
        (IpAddr::V6(_), None | Some(Network::Ipv6)) => &[&[Network::Ipv6]],
        (address, Some(_)) => {
            let what = if address.is_ipv4() { "an IPv4 address" } else { "an IPv6 address" };
            return Err(SmallError::Qualifier { protocol: protocol.map_or("", |(name, _)| name), what });
        }
    };
    let within = |group: &&[Network]| {
        let (source, destination) = address_offsets(group);
        let at = |offset| address_at(link.network() + offset, address, length);
        let one_of = Node::Any(group.iter().map(|&network| network_node(link, network)).collect());
        Node::All(vec![one_of, sides(direction, at(source), at(destination))])
    };
    Ok(Node::Any(groups.iter().map(within).collect()))
}

/// Where the addresses of a header are: RFC 791 section 3.1, RFC 8200 section 3, RFC 826 for Ethernet and IPv4.
const fn address_offsets(group: &[Network]) -> (u32, u32) {
    match group {
        [Network::Ipv4, ..] => (12, 16),
        [Network::Ipv6, ..] => (8, 24),
        _ => (14, 24),
    }
}

/// The address there begins as this one does; word by word, but for those that do not matter.
fn address_at(offset: u32, address: IpAddr, length: u32) -> Node {
    let (bits, mask) = (address_bits(address), mask(length));
    let word = |number: u32| {
        let of = |bits: u128| (bits >> (96 - 32 * number)) as u32;
        let (load, comparison) = (Load::Word(offset + 4 * number), Comparison::Equal(of(bits)));
        Node::Test { load, mask: of(mask), comparison }
    };
    Node::All((0..length.div_ceil(32)).map(word).collect())
}

fn port_node(
    link: Link,
    protocol: Option<Named>,
    direction: Option<Direction>,
    test: &dyn Fn(Load) -> Node,
) -> Result<Node, SmallError> {
    let numbers = match protocol {
        None => vec![6, 17, 132],
        Some((_, Protocol::Transport(number))) => vec![number],
        Some((protocol, _)) => return Err(SmallError::Qualifier { protocol, what: "ports" }),
    };
    let start = link.network();
    let one_of = |at: u32| Node::Any(numbers.iter().map(|&number| Node::equal(Load::Byte(at), number)).collect());
    let behind_v4 = |offset| test(Load::HalfBehind { header: start, offset: start + offset });
    let behind_v6 = |offset| test(Load::Half(start + IPV6_OCTETS + offset));
    let v4 = vec![
        network_node(link, Network::Ipv4),
        one_of(start + 9),
        // The fragment offset: what is not the first fragment has no ports.
        Node::not(Node::test(Load::Half(start + 6), Comparison::AnyBit(0x1fff))),
        sides(direction, behind_v4(0), behind_v4(2)),
    ];
    let v6 = vec![network_node(link, Network::Ipv6), one_of(start + 6), sides(direction, behind_v6(0), behind_v6(2))];
    Ok(Node::Any(vec![Node::All(v4), Node::All(v6)]))
}

/// An instruction's number, counted from the end of the program.
type Label = usize;

/// A program from its end to its beginning.
struct Code {
    reversed: Vec<Instruction>,
    /// Targets that were too far for a conditional jump, and the jump to each that one reaches instead.
    bridges: Vec<(Label, Label)>,
}

impl Code {
    fn of(tree: &Node) -> Result<Vec<Instruction>, SmallError> {
        let reversed = vec![Instruction::new(RETURN, 0), Instruction::new(RETURN, ALL_OCTETS)];
        let mut code = Self { reversed, bridges: Vec::new() };
        let entry = code.node(tree, 1, 0)?;
        if entry + 1 != code.reversed.len() {
            code.jump(entry)?;
        }
        code.reversed.reverse();
        Ok(code.reversed)
    }

    fn push(&mut self, instruction: Instruction) -> Result<Label, SmallError> {
        if self.reversed.len() == MAX_INSTRUCTIONS {
            return Err(SmallError::Long);
        }
        self.reversed.push(instruction);
        Ok(self.reversed.len() - 1)
    }

    /// Goes to one label if it is true, to the other if not; where that begins.
    fn node(&mut self, node: &Node, yes: Label, no: Label) -> Result<Label, SmallError> {
        match node {
            Node::All(nodes) => nodes.iter().rev().try_fold(yes, |after, node| self.node(node, after, no)),
            Node::Any(nodes) => nodes.iter().rev().try_fold(no, |after, node| self.node(node, yes, after)),
            Node::Not(node) => self.node(node, no, yes),
            &Node::Test { load, mask, comparison } => self.test(load, mask, comparison, yes, no),
        }
    }

    fn test(
        &mut self,
        load: Load,
        mask: u32,
        comparison: Comparison,
        yes: Label,
        no: Label,
    ) -> Result<Label, SmallError> {
        self.branch(comparison, yes, no)?;
        if mask != u32::MAX {
            self.push(Instruction::new(AND, mask))?;
        }
        match load {
            Load::Byte(at) => self.push(Instruction::new(LOAD_BYTE, at)),
            Load::Half(at) => self.push(Instruction::new(LOAD_HALF, at)),
            Load::Word(at) => self.push(Instruction::new(LOAD_WORD, at)),
            Load::HalfBehind { header, offset } => {
                self.push(Instruction::new(LOAD_HALF_AFTER_X, offset))?;
                self.push(Instruction::new(LOAD_HEADER_LENGTH, header))
            }
        }
    }

    fn branch(&mut self, comparison: Comparison, yes: Label, no: Label) -> Result<Label, SmallError> {
        let (code, k) = match comparison {
            Comparison::Above(k) => (JUMP_ABOVE, k),
            Comparison::AnyBit(k) => (JUMP_ANY_BIT, k),
            Comparison::AtLeast(k) => (JUMP_AT_LEAST, k),
            Comparison::Equal(k) => (JUMP_EQUAL, k),
        };
        let (yes, no) = (self.near(yes)?, self.near(no)?);
        self.push(Instruction { code, jt: self.distance(yes), jf: self.distance(no), k })
    }

    /// A way to this label that conditional jumps reach with their eight bits: the next instruction's, or that of the one after.
    fn near(&mut self, label: Label) -> Result<Label, SmallError> {
        let reached = self.reversed.len().saturating_sub(usize::from(u8::MAX));
        if label > reached {
            return Ok(label);
        }
        let mut recent = self.bridges.iter().rev().take_while(|(_, bridge)| *bridge > reached);
        if let Some((_, bridge)) = recent.find(|(target, _)| *target == label) {
            return Ok(*bridge);
        }
        let bridge = self.jump(label)?;
        self.bridges.push((label, bridge));
        Ok(bridge)
    }

    fn jump(&mut self, label: Label) -> Result<Label, SmallError> {
        // Labels are fewer than MAX_INSTRUCTIONS.
        let skipped = (self.reversed.len() - label - 1) as u32;
        self.push(Instruction::new(JUMP, skipped))
    }

    /// Instructions between the next one and this label, which is near.
    fn distance(&self, label: Label) -> u8 {
        u8::try_from(self.reversed.len() - label - 1).unwrap_or(u8::MAX)
    }
}
