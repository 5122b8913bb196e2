// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMB 2 and 3 (MS-SMB2) over TCP, recognised by content; SMB 1 is recognised and no more.
//!
//! A connection is one transaction.
//!
//! - **Parsed**: the session service of NetBIOS, or what is left of it (RFC 1002 section 4.3, MS-SMB2 section 2.1), headers
//!   (section 2.2.1), chained ones too; of NEGOTIATE the dialect, of SESSION_SETUP user, domain and workstation if NTLM is
//!   used (MS-NLMP section 2.2.1.3), of TREE_CONNECT the share, of CREATE the name.
//! - **Not parsed**: what is encrypted or compressed, messages of SMB 1, Kerberos tickets, contents of files, transports
//!   other than TCP.
//! - **Bounds**: 4 KiB of a message, of which only those with something of interest are waited for, 16 in a chain; 16 shares,
//!   64 names.
//! - **Odd input**: an offset that lies leaves its field empty. What frames no message ends the flow. After a gap, the next
//!   segment that begins with a message goes on.
//! - **Fields**: all of `weir_flow::app::Smb`. Names are turned from UTF-16 to UTF-8.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/smb/smb.pcap`.

mod message;
#[cfg(test)]
mod tests;

use weir_flow::app::Smb;

use self::message::{HEADER, Header};
use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};
use crate::Cursor;

/// Octets in front of a message: type and length.
const FRAME: usize = 4;

/// Most octets of a message that are looked at.
const MAX_MESSAGE: usize = 4096;

/// Most messages of a chain.
const MAX_CHAIN: usize = 16;

/// Types of the session service.
const MESSAGE: u8 = 0x00;
const SESSION_REQUEST: u8 = 0x81;
const KEEP_ALIVE: u8 = 0x85;

/// Octets of the names of a session request, each with its length and its end.
const NAMES: u8 = 0x44;

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// Directions in which the beginning of the next message is not known.
    lost: [bool; 2],
}

/// What is needed while a message is read.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A text that is turned into UTF-8.
    text: Vec<u8>,
}

/// What a message is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    One,
    Two,
    /// Encrypted or compressed, which only the third version does.
    Wrapped,
}

impl Kind {
    fn of(signature: [u8; 4]) -> Option<Self> {
        match signature {
            [0xff, b'S', b'M', b'B'] => Some(Self::One),
            [0xfe, b'S', b'M', b'B'] => Some(Self::Two),
            [0xfc | 0xfd, b'S', b'M', b'B'] => Some(Self::Wrapped),
            _ => None,
        }
    }
}

impl super::Parser for Parser {
    type Fields = Smb;
    type Scratch = Scratch;

    const IDENTITY: Identity = Identity {
        slug: "smb",
        transports: &[Transport::Stream],
        port_hints: &[445, 139],
        max_buffered: FRAME + MAX_MESSAGE,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[MESSAGE, SESSION_REQUEST])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match input.bytes {
            [MESSAGE, ..] => begins_with_message(input.bytes),
            [SESSION_REQUEST, rest @ ..] => begins_with_names(rest),
            _ => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Smb>, scratch: &mut Scratch) -> Step {
        let lost = &mut self.lost[input.direction.index()];
        if *lost {
            *lost = begins_with_message(input.bytes) != Probe::Yes;
            if *lost {
                return Step::Consumed(input.bytes.len());
            }
        }
        let mut c = Cursor::new(input.bytes);
        let (Some(kind), Some(len)) = (c.u8(), c.u24()) else { return Step::More };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let all = Step::Skip((FRAME + len) as u64);
        match kind {
            SESSION_REQUEST..=KEEP_ALIVE => return all,
            MESSAGE => {}
            _ => return Step::Reject,
        }
        let message = c.take(len.min(c.remaining())).unwrap_or_default();
        let is_whole = |wanted: usize| input.snapped || message.len() >= wanted.min(len);
        if !is_whole(HEADER) {
            return Step::More;
        }
        let Some(kind) = message.first_chunk().and_then(|signature| Kind::of(*signature)) else { return all };
        let header = Header::read(message);
        if header.is_some_and(|header| kind == Kind::Two && header.is_of_interest()) && !is_whole(MAX_MESSAGE) {
            return Step::More;
        }
        if let Some(fields) = fields(transactions) {
            take(kind, message.get(..MAX_MESSAGE).unwrap_or(message), fields, scratch);
        }
        all
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        self.lost[direction.index()] = true;
        AfterGap::Resume
    }
}

/// The fields of the connection.
fn fields(transactions: &mut Transactions<Smb>) -> Option<&mut Smb> {
    let index = transactions.oldest_open().unwrap_or_else(|| transactions.open().0);
    transactions.fields_mut(index)
}

/// Whether octets begin with a message behind its length.
fn begins_with_message(bytes: &[u8]) -> Probe {
    let mut c = Cursor::new(bytes);
    if c.u8() != Some(MESSAGE) {
        return Probe::No;
    }
    let Some(len) = c.u24() else { return Probe::More };
    // No message is shorter than the header of the first version.
    if len < 32 {
        return Probe::No;
    }
    let Some(signature) = c.array() else {
        let is_so_far = c.rest().iter().enumerate().all(|(i, &octet)| match i {
            0 => octet >= 0xfc,
            _ => b"\0SMB".get(i) == Some(&octet),
        });
        return if is_so_far { Probe::More } else { Probe::No };
    };
    match Kind::of(signature) {
        Some(Kind::Two) => match bytes.get(FRAME + 4..FRAME + 6) {
            None => Probe::More,
            // Size of the header.
            Some(size) => yes_if(*size == [64, 0]),
        },
        kind => yes_if(kind.is_some()),
    }
}

/// Whether a session request goes on so: two names of 32 letters from A to P.
fn begins_with_names(rest: &[u8]) -> Probe {
    let fits = rest.iter().take(FRAME + 32).enumerate().all(|(i, &octet)| match i {
        0 | 1 => octet == 0,
        2 => octet == NAMES,
        3 => octet == 32,
        _ => (b'A'..=b'P').contains(&octet),
    });
    match fits {
        false => Probe::No,
        true if rest.len() < FRAME + 32 => Probe::More,
        true => Probe::Yes,
    }
}

fn yes_if(yes: bool) -> Probe {
    if yes { Probe::Yes } else { Probe::No }
}

/// Takes what a message says, with those chained to it.
fn take(kind: Kind, message: &[u8], fields: &mut Smb, scratch: &mut Scratch) {
    let version = match kind {
        Kind::One => 1,
        Kind::Two if fields.dialect.is_some_and(|dialect| (0x0300..0xff00).contains(&dialect)) => 3,
        Kind::Two => 2,
        Kind::Wrapped => 3,
    };
    fields.version = fields.version.max(Some(version));
    if kind != Kind::Two {
        return;
    }
    let mut rest = message;
    for _ in 0..MAX_CHAIN {
        let Some(header) = Header::read(rest) else { return };
        message::take(header, rest, fields, &mut scratch.text);
        let Some(next) = header.next().and_then(|next| rest.get(next..)) else { return };
        rest = next;
    }
}
