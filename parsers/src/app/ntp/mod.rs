// SPDX-License-Identifier: MIT OR Apache-2.0
//! NTP (RFC 5905, and the versions 1 to 3 before it) over UDP, recognised by content.
//!
//! A client's request (mode 3) and the server's response (mode 4) are one transaction, whose fields are those of the response
//! where it was seen, else those of the request. They are matched by the response's origin timestamp, which repeats the
//! request's transmit timestamp, or, in interleaved mode, its receive timestamp (RFC 9769 section 2). Symmetric (1 and 2) and
//! broadcast (5) messages stand alone, and so does a response to a request that was not seen. A response that comes again
//! belongs to the same transaction, unless another one began since: then it stands alone.
//!
//! - **Parsed**: the header (RFC 5905 section 7.3).
//! - **Not parsed**: extension fields (RFC 7822), hence no network time security (RFC 8915), and message authentication codes;
//!   they are walked over, to see that the message ends with them. Control messages (mode 6, RFC 9327) and private ones (mode
//!   7) are passed over and are no transactions. Which era a timestamp is of is not said.
//! - **Recognised** on port 123: at least 48 octets, version 1 to 4, mode 1 to 5, stratum up to 16, after the header nothing
//!   but extension fields and an authentication code. On other ports, besides, the whole datagram, a known transmit
//!   timestamp, and values that a clock has: see `Message::is_likely`.
//! - **Bounds**: 16 open transactions; nothing is kept of a message. Extension fields are walked within their datagram.
//! - **Odd input**: a datagram that is no message is passed over; eight in a row end the flow.
//! - **Fields**: all of `weir_flow::app::Ntp`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/ntp/ntp.pcap` with basic, interleaved and authenticated exchanges.

mod message;
#[cfg(test)]
mod tests;

use weir_flow::app::Ntp;

use self::message::Message;
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions, Transport};

/// Datagrams in a row that are no messages, after which the flow is given up.
const MAX_BAD: u8 = 8;

/// Reads NTP messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Datagrams in a row that were no messages.
    bad: u8,
}

impl super::Parser for Parser {
    type Fields = Ntp;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "ntp",
        transports: &[Transport::Datagram],
        port_hints: &[123],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 16,
    };

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        match Message::read(input.bytes, input.hinted, input.snapped) {
            Some(_) => Probe::Yes,
            None => Probe::No,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Ntp>, (): &mut ()) -> Step {
        if let Some(message) = Message::read(input.bytes, input.hinted, input.snapped) {
            self.bad = 0;
            file(&message, transactions);
        } else if !input.bytes.first().is_some_and(|first| matches!(first & 7, message::CONTROL | message::PRIVATE)) {
            self.bad += 1;
        }
        if self.bad < MAX_BAD { Step::Consumed(input.bytes.len()) } else { Step::Reject }
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

/// Puts a message into its transaction.
fn file(message: &Message, transactions: &mut Transactions<Ntp>) {
    let mut found = None;
    if message.mode == message::SERVER {
        let (origin, transmit) = (message.origin.text(), message.transmit.text());
        found = transactions.find_open(|request| {
            request.transmit_time.as_bytes() == origin.as_bytes()
                || (!request.receive_time.is_empty() && request.receive_time.as_bytes() == origin.as_bytes())
        });
        let is_again = |response: &Ntp| {
            response.mode == Some(message::SERVER)
                && response.origin_time.as_bytes() == origin.as_bytes()
                && response.transmit_time.as_bytes() == transmit.as_bytes()
        };
        if found.is_none() && transactions.find_any(is_again).is_some() {
            return;
        }
    }
    let index = found.unwrap_or_else(|| transactions.open().0);
    if let Some(fields) = transactions.fields_mut(index) {
        message.write(fields);
    }
    if message.mode != message::CLIENT {
        transactions.complete(index);
    }
}
