// SPDX-License-Identifier: MIT OR Apache-2.0
//! WireGuard (the protocol's paper, section 5.4) over UDP, recognised by structure, since nothing in it is text.
//!
//! A flow is one transaction, which begins with the message that confirms an earlier one: of a single datagram that happens to look
//! like one of WireGuard there is nothing, not even a name. After a handshake and its answer, or two packets of data, the flow costs
//! nothing.
//!
//! - **Parsed**: type and indices of all four messages, the counter of data.
//! - **Not parsed**: anything encrypted; a second handshake in the same flow.
//! - **Recognised** by the type and three octets of zero, and
//!   - of a handshake's two halves the exact length, 148 or 92, an index other than zero, and that keys and codes look random
//!     (fewer than 8 zeros in 48 octets): one random datagram of just that length in 2^32. What confirms a request is an answer that
//!     names its index, one in 2^64, or another request of the same side, with another index, as one that is not answered is made
//!     again; what confirms an answer alone is data for one of the two indices.
//!   - of data a length in steps of 16, 32 at least, a counter below 2^40, and contents that look random: one random datagram in
//!     2^60. What confirms it is a second one of the same index whose counter goes on from the first one's: one in 2^130.
//! - **Bounds**: of a message its indices and its counter are kept; 8 datagrams without an answer or of other kinds end the flow.
//! - **Fields**: all of `weir_flow::app::Wireguard`.
//! - **Fixtures**: hand-made messages in `tests.rs`; `pcaps/wireguard/wireguard.pcap`.

#[cfg(test)]
mod tests;

use weir_flow::app::Wireguard;

use super::{AfterGap, Direction, Identity, Input, Octets, Probe, Step, Transactions, Transport};

/// Datagrams after which nothing more is expected.
const MAX_UNTOLD: u8 = 8;

const INITIATION_LEN: usize = 148;
const RESPONSE_LEN: usize = 92;
const COOKIE_LEN: usize = 64;
/// Header, counter, and the code of nothing.
const MIN_DATA: usize = 32;

/// Most packets that a counter may go on from one packet to the next that is seen.
const MAX_AHEAD: u32 = 1 << 16;

/// The counter of the packet before the first one, 0.
const BEFORE_FIRST: u32 = u32::MAX;

/// Values of `Wireguard::confidence`.
mod confidence {
    pub(super) const DATA: u8 = 80;
    pub(super) const HANDSHAKE: u8 = 90;
    pub(super) const ANSWER: u8 = 100;
}

/// Reads the messages of one flow.
#[derive(Debug, Default)]
pub struct Parser {
    /// Index and direction of the handshake that waits for its answer.
    initiation: Option<(Direction, u32)>,
    /// Of the last packet of data of each direction: index of the receiver, and the low half of its counter, which is enough to see
    /// that the next one goes on from there. After a handshake message, those of the packet before the first.
    data: [Option<(u32, u32)>; 2],
    untold: u8,
    /// A second message has confirmed the first.
    is_certain: bool,
}

/// A message.
#[derive(Clone, Copy, Debug)]
enum Message {
    Initiation { sender: u32 },
    Response { sender: u32, receiver: u32 },
    Cookie,
    Data { receiver: u32, counter: u64 },
}

impl super::Parser for Parser {
    type Fields = Wireguard;
    type Scratch = ();

    const IDENTITY: Identity = Identity {
        slug: "wireguard",
        transports: &[Transport::Datagram],
        port_hints: &[51_820],
        max_buffered: 0,
        max_inspected: u32::MAX,
        max_open: 1,
    };

    const BEGINS: &[Octets] = &[Octets::from(1..=4), Octets::of(&[0]), Octets::of(&[0]), Octets::of(&[0])];

    #[inline(always)]
    fn probe(input: Input<'_>) -> Probe {
        // A cut datagram has no length to tell it by.
        match Message::read(input.bytes).filter(|_| !input.snapped) {
            None | Some(Message::Cookie) => Probe::No,
            Some(_) => Probe::Yes,
        }
    }

    #[inline(always)]
    fn parse(&mut self, input: Input<'_>, transactions: &mut Transactions<Wireguard>, (): &mut ()) -> Step {
        let is_told = Message::read(input.bytes)
            .filter(|_| !input.snapped)
            .is_some_and(|message| self.message(message, input.direction, transactions));
        self.untold += 1;
        if !is_told && self.untold < MAX_UNTOLD {
            return Step::Consumed(input.bytes.len());
        }
        if let Some(index) = transactions.oldest_open() {
            transactions.complete(index);
        }
        Step::Done
    }

    fn is_certain(&self) -> bool {
        self.is_certain
    }

    fn gap(&mut self, _: Direction) -> AfterGap {
        AfterGap::Resume
    }
}

impl Parser {
    /// Takes a message. Says whether everything of interest is known now.
    fn message(&mut self, message: Message, direction: Direction, transactions: &mut Transactions<Wireguard>) -> bool {
        let (side, other) = (direction.index(), direction.opposite().index());
        match message {
            Message::Initiation { sender } => {
                let before = self.initiation.replace((direction, sender));
                self.data[other] = Some((sender, BEFORE_FIRST));
                if before.is_some_and(|(from, index)| from == direction && index != sender) {
                    self.tell(transactions, direction, confidence::HANDSHAKE, Some(sender), None);
                }
                false
            }
            Message::Response { sender, receiver } => {
                let before = self.initiation.replace((direction.opposite(), receiver));
                self.data[side] = Some((receiver, BEFORE_FIRST));
                self.data[other] = Some((sender, BEFORE_FIRST));
                let is_answer = before == self.initiation;
                if is_answer {
                    self.tell(transactions, direction, confidence::ANSWER, Some(sender), Some(receiver));
                }
                is_answer
            }
            Message::Data { receiver, counter } => {
                let counter = counter as u32;
                let before = self.data[side].replace((receiver, counter));
                let goes_on = before.is_some_and(|(index, number)| {
                    index == receiver && (1..MAX_AHEAD).contains(&counter.wrapping_sub(number))
                });
                if goes_on {
                    let confidence = if self.initiation.is_some() { confidence::HANDSHAKE } else { confidence::DATA };
                    let sender = self.data[other].map(|(index, _)| index);
                    self.tell(transactions, direction, confidence, sender, Some(receiver));
                }
                goes_on
            }
            Message::Cookie => false,
        }
    }

    /// Writes down what is known, of the indices of the sender and the receiver of a message.
    fn tell(
        &mut self,
        transactions: &mut Transactions<Wireguard>,
        direction: Direction,
        confidence: u8,
        sender: Option<u32>,
        receiver: Option<u32>,
    ) {
        self.is_certain = true;
        let index = transactions.find_any(|_| true).unwrap_or_else(|| transactions.open().0);
        let Some(fields) = transactions.fields_mut(index) else { return };
        let (source, destination) = match direction {
            Direction::Forward => (sender, receiver),
            Direction::Reverse => (receiver, sender),
        };
        fields.confidence = fields.confidence.max(Some(confidence));
        fields.source_peer = source.or(fields.source_peer);
        fields.destination_peer = destination.or(fields.destination_peer);
    }
}

impl Message {
    /// Reads a message; `None` if the octets are none.
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let ([kind @ 1..=4, 0, 0, 0], rest) = bytes.split_first_chunk()? else { return None };
        let (index, rest) = rest.split_first_chunk()?;
        let (second, _) = rest.split_first_chunk::<4>()?;
        let (index, second) = (u32::from_le_bytes(*index), u32::from_le_bytes(*second));
        let message = match (kind, bytes.len()) {
            // Index, a key of 32 octets; at the end two codes, of which the second may be zero.
            (1, INITIATION_LEN) if looks_random(rest.get(..32)?, bytes.get(116..132)?) => {
                Self::Initiation { sender: index }
            }
            // Two indices, a key.
            (2, RESPONSE_LEN) if second != 0 && looks_random(bytes.get(12..44)?, bytes.get(60..76)?) => {
                Self::Response { sender: index, receiver: second }
            }
            (3, COOKIE_LEN) => Self::Cookie,
            (4, len) if len >= MIN_DATA && len % 16 == 0 => {
                let counter = u64::from_le_bytes(*rest.first_chunk()?);
                let contents = bytes.get(16..)?;
                let is_it =
                    counter < 1 << 40 && looks_random(contents.get(..16)?, contents.get(contents.len() - 16..)?);
                Self::Data { receiver: index, counter: is_it.then_some(counter)? }
            }
            _ => return None,
        };
        (index != 0).then_some(message)
    }
}

/// Whether octets may be keys, codes, or encrypted: of at least 32, random ones are zero eight times in 2^40 cases.
fn looks_random(a: &[u8], b: &[u8]) -> bool {
    a.iter().chain(b).filter(|&&octet| octet == 0).count() < 8
}
