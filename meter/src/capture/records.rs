// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! From records in a window to batches of packets.

use weir_flow::{BATCH, Packet, PacketSource, SharedOctets, SourceError, SourceState};

use super::window::Window;

/// A reader of the records of one file format.
pub(super) trait Records {
    /// Looks at the record that begins at the first of `bytes`. A packet is written to `place`.
    ///
    /// `bytes` may end anywhere. The reader keeps what a record says about later ones only when it gives
    /// [`Record::Other`] or [`Record::Packet`], after which it is called with the octets behind it.
    fn read<'a>(&mut self, bytes: &'a [u8], place: &mut Packet<'a>) -> Record;
}

/// What stands at the start of a window.
#[derive(Debug)]
pub(super) enum Record {
    /// A packet, in the place given; the record has `octets`.
    Packet { octets: usize },
    /// A record of `octets` that is not a packet.
    Other { octets: usize },
    /// The record, or the part of it named so, has `octets`, and the window fewer.
    Short { octets: usize, part: &'static str },
    /// This cannot be a record.
    Damaged(String),
}

/// Packets of a file.
#[derive(Debug)]
pub(super) struct RecordSource<R> {
    window: Window,
    records: R,
}

impl<R> RecordSource<R> {
    /// The packets of `records` in `window`.
    pub(super) fn new(window: Window, records: R) -> Self {
        Self { window, records }
    }
}

impl<R: Records> PacketSource for RecordSource<R> {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        self.next_packets(|batch, _| visit(batch))
    }

    fn poll_shared(
        &mut self,
        visit: &mut dyn FnMut(&[Packet<'_>], Option<&SharedOctets>),
    ) -> Result<SourceState, SourceError> {
        self.next_packets(|batch, memory| visit(batch, Some(memory)))
    }

    fn may_wait(&self) -> bool {
        self.window.may_wait()
    }
}

impl<R: Records> RecordSource<R> {
    /// Hands over all packets at hand; if there are none, reads on first.
    fn next_packets(
        &mut self,
        mut visit: impl FnMut(&[Packet<'_>], &SharedOctets),
    ) -> Result<SourceState, SourceError> {
        loop {
            let (records, window) = (&mut self.records, &self.window);
            let Walk { octets, packets, stop } = walk(records, window.bytes(), |batch| visit(batch, window.memory()));
            self.window.consume(octets);
            if packets {
                // What stopped the walk is found again by the next call.
                return Ok(SourceState::More);
            }
            let (octets, part) = match stop {
                Stop::Short { octets, part } => (octets, part),
                Stop::Damaged(what) => return Err(SourceError::Damaged { offset: self.window.offset(), what }),
            };
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

/// How a walk over records went.
struct Walk {
    /// Octets of the records gone through.
    octets: usize,
    /// Whether there were packets among them.
    packets: bool,
    stop: Stop,
}

/// What stopped a walk.
enum Stop {
    Damaged(String),
    Short { octets: usize, part: &'static str },
}

/// Hands over all packets of `bytes`, in batches.
fn walk<R: Records>(records: &mut R, bytes: &[u8], mut visit: impl FnMut(&[Packet<'_>])) -> Walk {
    // Made once for all batches, and filled in place: to make one for each costs as much as the walk.
    let mut batch = [Packet::NOTHING; BATCH];
    let mut rest = bytes;
    let mut has_packets = false;
    loop {
        let mut stop = None;
        let mut packets = 0;
        while let Some(place) = batch.get_mut(packets) {
            match records.read(rest, place) {
                Record::Packet { octets } => {
                    packets += 1;
                    rest = rest.get(octets..).unwrap_or_default();
                }
                Record::Other { octets } => rest = rest.get(octets..).unwrap_or_default(),
                Record::Short { octets, part } => {
                    stop = Some(Stop::Short { octets, part });
                    break;
                }
                Record::Damaged(what) => {
                    stop = Some(Stop::Damaged(what));
                    break;
                }
            }
        }
        if let Some(batch) = batch.get(..packets).filter(|batch| !batch.is_empty()) {
            has_packets = true;
            visit(batch);
        }
        if let Some(stop) = stop {
            return Walk { octets: bytes.len() - rest.len(), packets: has_packets, stop };
        }
    }
}
