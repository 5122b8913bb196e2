// SPDX-License-Identifier: MIT OR Apache-2.0
//! RDP (MS-RDPBCGR) over TCP, recognised by content: how a connection begins.
//!
//! The client's request and the server's answer are one transaction. If both agree on TLS, it follows at once, and is
//! recognised anew; else the flow costs nothing from then on.
//!
//! - **Parsed**: the connection request and confirm of X.224 (section 13.3 and 13.4) in a TPKT (RFC 1006 section 6), with
//!   cookie or routing token and the negotiation of MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2.
//! - **Not parsed**: what follows with RDP's own security, RDP over UDP, gateways (which look like HTTP).
//! - **Recognised**: by lengths that agree, and a cookie or a negotiation. A request without either, which is as any other
//!   that uses X.224 may send it, counts on port 3389 only.
//! - **Bounds**: 260 octets of a message.
//! - **Odd input**: a negotiation with another length than its own is left out; anything but the two messages ends the flow.
//! - **Fields**: all of `weir_flow::app::Rdp`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/rdp/rdp.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Rdp;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport, line};
use crate::Cursor;

/// Octets in front of X.224: version, nothing, length.
const TPKT: usize = 4;

/// Octets of X.224's header behind its length indicator: code, two references, class.
const FIXED: usize = 6;

/// Most octets of a message: the length indicator is an octet, of which 255 means nothing.
const MAX_MESSAGE: usize = TPKT + 1 + 254;

const REQUEST: u8 = 0xe0;
const CONFIRM: u8 = 0xd0;

/// Types of a negotiation.
const NEGOTIATION_REQUEST: u8 = 1;
const NEGOTIATION_RESPONSE: u8 = 2;
const NEGOTIATION_FAILURE: u8 = 3;

const COOKIE: &[u8] = b"Cookie: mstshash=";
const TOKEN: &[u8] = b"Cookie: msts=";

/// Reads the beginning of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// The direction of the request.
    client: Option<Direction>,
}

/// A connection request or confirm.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    code: u8,
    /// What follows the header of X.224.
    variable: &'a [u8],
    /// Octets of all.
    len: usize,
}

/// What octets begin with.
enum Begins<'a> {
    With(Message<'a>),
    TooShort,
    Bad,
}

impl super::Parser for Parser {
    type Fields = Rdp;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "rdp",
        transports: &[Transport::Stream],
        port_hints: &[3389],
        max_buffered: MAX_MESSAGE,
        max_inspected: 4 * MAX_MESSAGE as u32,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::of(&[3]), Octets::of(&[0]), Octets::of(&[0, 1])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        if input.bytes.first() != Some(&3) {
            return Probe::No;
        }
        match begins(input.bytes) {
            Begins::TooShort => Probe::More,
            Begins::With(message) if message.is_telling() || input.hinted => Probe::Yes,
            Begins::With(_) | Begins::Bad => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Rdp>, (): &mut ()) -> Step {
        // TLS after an answer that was not seen: no message begins so.
        match input.bytes {
            [0x16, 3, ..] if self.client.is_some() => return Step::Handover(0),
            [0x16] if self.client.is_some() && !input.snapped => return Step::More,
            _ => {}
        }
        let message = match begins(input.bytes) {
            Begins::With(message) => message,
            Begins::TooShort => return Step::More,
            Begins::Bad => return Step::Done,
        };
        let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
        let Some(fields) = transactions.fields_mut(index) else { return Step::Done };
        if message.code == REQUEST {
            self.client = Some(input.direction);
            message.write_request(fields);
            return Step::Consumed(message.len);
        }
        self.client = Some(input.direction.opposite());
        let selected = message.write_confirm(fields);
        transactions.complete(index);
        if selected { Step::Handover(message.len) } else { Step::Done }
    }

    fn gap(&mut self, direction: Direction) -> AfterGap {
        // Without its request the answer still tells something; without the answer, there is TLS or nothing.
        if self.client == Some(direction) { AfterGap::Done } else { AfterGap::Resume }
    }
}

/// Reads a message; each octet is judged when it is there.
fn begins(bytes: &[u8]) -> Begins<'_> {
    let fits = |at: usize, is_it: fn(u8) -> bool| bytes.get(at).is_none_or(|&octet| is_it(octet));
    let is_so_far = fits(0, |version| version == 3)
        && fits(1, |reserved| reserved == 0)
        && fits(2, |high| high <= 1)
        && fits(5, |code| matches!(code, REQUEST | CONFIRM))
        // The request refers to nothing yet.
        && (bytes.get(5) == Some(&CONFIRM) || (fits(6, |octet| octet == 0) && fits(7, |octet| octet == 0)));
    if !is_so_far {
        return Begins::Bad;
    }
    let mut c = Cursor::new(bytes);
    let (Some(_), Some(len)) = (c.u16(), c.u16()) else { return Begins::TooShort };
    let len = usize::from(len);
    let Some(indicator) = c.u8() else { return Begins::TooShort };
    let rest = usize::from(indicator);
    if rest < FIXED || indicator == 255 || len != TPKT + 1 + rest {
        return Begins::Bad;
    }
    let (Some(code), Some(_references), Some(_class)) = (c.u8(), c.u32(), c.u8()) else { return Begins::TooShort };
    match c.take(rest - FIXED) {
        Some(variable) => Begins::With(Message { code, variable, len }),
        None => Begins::TooShort,
    }
}

impl<'a> Message<'a> {
    /// The line of cookie or token, and what follows it.
    fn split_line(self) -> (&'a [u8], &'a [u8]) {
        if !self.variable.starts_with(b"Cookie:") {
            return (&[], self.variable);
        }
        match line::first(self.variable) {
            Some((text, len)) => (text, self.variable.get(len..).unwrap_or_default()),
            None => (self.variable, &[]),
        }
    }

    /// Type and value of the negotiation.
    fn negotiation(self) -> Option<(u8, u32)> {
        let [kind, _flags, 8, 0, value @ ..] = *self.split_line().1.first_chunk::<8>()? else { return None };
        Some((kind, u32::from_le_bytes(value)))
    }

    /// Whether it can be of no other protocol.
    fn is_telling(self) -> bool {
        match self.code {
            REQUEST => {
                !self.split_line().0.is_empty() || matches!(self.negotiation(), Some((NEGOTIATION_REQUEST, ..=0xf)))
            }
            _ => matches!(self.negotiation(), Some((NEGOTIATION_RESPONSE | NEGOTIATION_FAILURE, ..=0xf))),
        }
    }

    fn write_request(self, fields: &mut Rdp) {
        let (text, _) = self.split_line();
        let memory = &mut fields.memory;
        if let Some(cookie) = text.strip_prefix(COOKIE) {
            fields.cookie.set(cookie, memory);
        } else if let Some(token) = text.strip_prefix(TOKEN) {
            fields.routing_token.set(token, memory);
        }
        if let Some((NEGOTIATION_REQUEST, protocols)) = self.negotiation() {
            fields.requested_protocols = Some(protocols);
        }
    }

    /// Whether another protocol follows.
    fn write_confirm(self, fields: &mut Rdp) -> bool {
        match self.negotiation() {
            Some((NEGOTIATION_RESPONSE, protocol)) => fields.selected_protocol = Some(protocol),
            Some((NEGOTIATION_FAILURE, code)) => fields.failure_code = Some(code),
            _ => {}
        }
        fields.selected_protocol.is_some_and(|protocol| protocol != 0)
    }
}
