// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! From records in a window to batches of packets.

use weir_flow::{BATCH, LinkType, Packet, PacketSource, SourceError, SourceState, Timestamp};

use super::window::Window;

/// A reader of the records of one file format.
pub(super) trait Records {
    /// Looks at the record that begins at the first of `bytes`.
    ///
    /// `bytes` may end anywhere. The reader keeps what a record says about later ones only when it gives
    /// [`Record::Other`] or [`Record::Packet`], after which it is called with the octets behind it.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Record<'a>;
}

/// What stands at the start of a window.
#[derive(Debug)]
pub(super) enum Record<'a> {
    /// A packet; the record has `octets`.
    Packet { packet: Packet<'a>, octets: usize },
    /// A record of `octets` that is not a packet.
    Other { octets: usize },
    /// The record, or the part of it named so, has `octets`, and the window fewer.
    Short { octets: usize, part: &'static str },
    /// This cannot be a record.
    Damaged(String),
}

/// Packets of a file.
#[derive(Debug)]
pub(super) struct RecordSource<W, R> {
    window: W,
    records: R,
}

impl<W, R> RecordSource<W, R> {
    /// The packets of `records` in `window`.
    pub(super) fn new(window: W, records: R) -> Self {
        Self { window, records }
    }
}

impl<W: Window, R: Records> PacketSource for RecordSource<W, R> {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        loop {
            let nothing = Packet { data: &[], wire_octets: 0, ts: Timestamp::ZERO, interface: 0, link: LinkType::NULL };
            let mut batch = [nothing; BATCH];
            let mut packets = 0;
            let mut consumed = 0;
            let mut end = None;
            let bytes = self.window.bytes();
            while let Some(slot) = batch.get_mut(packets) {
                match self.records.read(bytes.get(consumed..).unwrap_or_default()) {
                    Record::Packet { packet, octets } => {
                        *slot = packet;
                        packets += 1;
                        consumed += octets;
                    }
                    Record::Other { octets } => consumed += octets,
                    stop => {
                        end = Some(stop);
                        break;
                    }
                }
            }
            if let Some(batch) = batch.get(..packets).filter(|batch| !batch.is_empty()) {
                visit(batch);
                // What stopped the batch is found again by the next call.
                self.window.consume(consumed);
                return Ok(SourceState::More);
            }
            let (octets, part) = match end {
                Some(Record::Short { octets, part }) => (octets, part),
                Some(Record::Damaged(what)) => {
                    self.window.consume(consumed);
                    return Err(SourceError::Damaged { offset: self.window.offset(), what });
                }
                _ => (0, ""),
            };
            self.window.consume(consumed);
            if !self.window.fill(octets)? {
                return match self.window.bytes().len() {
                    0 => Ok(SourceState::End),
                    held => Err(SourceError::Damaged {
                        offset: self.window.offset(),
                        what: format!("the file ends {held} octets into a {part} of {octets}"),
                    }),
                };
            }
        }
    }
}
