// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that the kernel runs on each packet: classic BPF (linux/filter.h, Documentation/networking/filter.rst).
//!
//! The result of a filter is how many octets of the packet to take, zero for none. That of [`by_addresses`] is a number, whose
//! remainder by the number of sockets says which one gets the packet.
//!
//! A filter sees a packet without the VLAN tag that the interface or the kernel took off. So an expression about what is behind
//! the tag needs no `vlan`, and one with it would take nothing: it is refused.
//!
//! Expressions are compiled by libpcap, or in a build without it by `small`, which knows the most used part of the language.

#[cfg(any(test, not(feature = "libpcap")))]
mod small;

use thiserror::Error;
use weir_flow::LinkType;

/// One instruction of a program: `struct sock_filter`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a comparison is true.
    pub jt: u8,
    /// Instructions to skip if it is false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl Instruction {
    const fn new(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }
}

/// Why an expression gives no filter.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It is not an expression, says what compiles it.
    #[error("filter \"{expression}\": {reason}")]
    Invalid {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It has `vlan` in it.
    #[error(
        "filter \"{expression}\": the kernel filters packets without their VLAN tag; leave out \"vlan\", and say what is behind it"
    )]
    Vlan {
        /// The expression.
        expression: String,
    },
}

/// Compiles an expression of tcpdump (pcap-filter(7)) for packets that begin like this.
///
/// # Errors
///
/// If it is not such an expression, or names a VLAN, or this build has no libpcap and the expression is of a part of the language
/// that only libpcap knows.
pub fn compile(expression: &str, link: LinkType) -> Result<Vec<Instruction>, FilterError> {
    let mut words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.');
    if words.any(|word| word == "vlan") {
        return Err(FilterError::Vlan { expression: expression.to_owned() });
    }
    compile_any(expression, link)
}

#[cfg(feature = "libpcap")]
fn compile_any(expression: &str, link: LinkType) -> Result<Vec<Instruction>, FilterError> {
    compile_with_libpcap(expression, link, true)
}

#[cfg(feature = "libpcap")]
fn compile_with_libpcap(expression: &str, link: LinkType, optimise: bool) -> Result<Vec<Instruction>, FilterError> {
    let invalid = |reason: String| FilterError::Invalid { expression: expression.to_owned(), reason };
    // In memory, libpcap numbers raw IP as some BSDs do.
    let link = if link == LinkType::RAW { LinkType::RAW_BSD } else { link };
    let dead = pcap::Capture::dead(pcap::Linktype(link.0.into())).map_err(|error| invalid(error.to_string()))?;
    let program = dead.compile(expression, optimise).map_err(|error| match error {
        pcap::Error::PcapError(reason) => invalid(reason),
        error => invalid(error.to_string()),
    })?;
    // The crate shows an instruction as text only: its four numbers.
    let instruction = |text: String| {
        let mut numbers = text.split(' ').map(|number| number.parse::<u32>().ok());
        let mut next = || numbers.next().flatten();
        let (code, jt, jf, k) = (next()?, next()?, next()?, next()?);
        Some(Instruction { code: code.try_into().ok()?, jt: jt.try_into().ok()?, jf: jf.try_into().ok()?, k })
    };
    let program: Option<Vec<_>> = program.get_instructions().iter().map(|i| instruction(i.to_string())).collect();
    program.ok_or_else(|| invalid("libpcap's program cannot be read".to_owned()))
}

#[cfg(not(feature = "libpcap"))]
fn compile_any(expression: &str, link: LinkType) -> Result<Vec<Instruction>, FilterError> {
    let invalid = |error: small::SmallError| FilterError::Invalid {
        expression: expression.to_owned(),
        reason: error.to_string(),
    };
    small::compile(expression, link).map_err(invalid)
}

/// `ret #k`.
const RETURN: u16 = 0x06;
/// `ret a`.
const RETURN_A: u16 = 0x16;
/// `ld [k]`, `ldh [k]`, `ldb [k]`: a number of the packet.
const LOAD_WORD: u16 = 0x20;
/// `jeq #k`.
const JUMP_EQUAL: u16 = 0x15;
/// `tax`.
const TAX: u16 = 0x07;
/// `ldx M[k]` and `st M[k]`.
const LOAD_X: u16 = 0x61;
const STORE: u16 = 0x02;
/// `xor x`, `mul #k`, `rsh #k`.
const XOR_X: u16 = 0xac;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
/// Offsets from here on are from the network header: SKF_NET_OFF.
const NETWORK: u32 = (-0x10_0000_i32).cast_unsigned();
/// The type that the link header gives: SKF_AD_OFF + SKF_AD_PROTOCOL.
const PROTOCOL: u32 = (-0x1000_i32).cast_unsigned();

/// Takes every packet, so many octets of it; with zero none.
#[must_use]
pub fn all(octets: u32) -> Vec<Instruction> {
    vec![Instruction::new(RETURN, octets)]
}

/// The same program, which takes so many octets of a packet at most.
#[must_use]
pub fn snap(program: &[Instruction], octets: u32) -> Vec<Instruction> {
    let cut = |&instruction: &Instruction| match instruction.code {
        RETURN => Instruction { k: instruction.k.min(octets), ..instruction },
        _ => instruction,
    };
    program.iter().map(cut).collect()
}

/// Chooses a socket by both addresses of the outermost IP header, whichever is the source: what shares them stays together.
#[must_use]
pub fn by_addresses() -> Vec<Instruction> {
    /// Spreads differences over all bits: 2 to the power of 32 divided by the golden ratio.
    const GOLDEN: u32 = 0x9e37_79b1;
    let load = |at: u32| Instruction::new(LOAD_WORD, NETWORK.wrapping_add(at));
    // The xor of these words of the packet; the same if source and destination change places.
    let xor = |words: &mut dyn Iterator<Item = u32>| -> Vec<Instruction> {
        let mut program = Vec::new();
        for (number, at) in words.enumerate() {
            if number == 0 {
                program.push(load(at));
                continue;
            }
            // What there is so far goes to X by way of the memory, for a load takes A.
            program.extend([
                Instruction::new(STORE, 0),
                load(at),
                Instruction::new(LOAD_X, 0),
                Instruction::new(XOR_X, 0),
            ]);
        }
        program
    };
    let v4 = xor(&mut [12, 16].into_iter());
    let v6 = xor(&mut (8..40).step_by(4));
    let end = [
        Instruction::new(MULTIPLY, GOLDEN),
        Instruction::new(TAX, 0),
        Instruction::new(SHIFT_RIGHT, 16),
        Instruction::new(XOR_X, 0),
        Instruction::new(RETURN_A, 0),
    ];
    let skip = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
    let mut program = vec![Instruction::new(LOAD_WORD, PROTOCOL)];
    program.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: skip(v4.len() + end.len()), k: 0x0800 });
    program.extend(v4);
    program.extend(end);
    program.push(Instruction { code: JUMP_EQUAL, jt: 0, jf: skip(v6.len() + end.len()), k: 0x86dd });
    program.extend(v6);
    program.extend(end);
    program.push(Instruction::new(RETURN, 0));
    program
}
