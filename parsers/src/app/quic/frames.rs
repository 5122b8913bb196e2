// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of Initial packets (RFC 9000 section 19), and the handshake messages that their CRYPTO frames are pieces of.

use weir_flow::allocated;

use super::header::variable;
use crate::Cursor;

/// Most octets of a handshake message: with post-quantum keys, tickets and Encrypted Client Hello one has some 4,000.
pub(super) const MAX_MESSAGE: usize = 16 << 10;

/// Most pieces that lie apart from each other. One more is not taken; its sender repeats it.
const MAX_PIECES: usize = 64;

/// Octets of memory that are kept for the next hello.
const KEPT: usize = 4 << 10;

/// Why frames cannot be read: they are none, so that the keys were wrong.
#[derive(Debug)]
pub(super) struct NoFrames;

/// Hands over offset and octets of each CRYPTO frame. Of a packet that is not whole, the last frame may be cut.
pub(super) fn walk<'a>(
    text: &'a [u8],
    is_google: bool,
    is_whole: bool,
    mut each: impl FnMut(u64, &'a [u8]),
) -> Result<(), NoFrames> {
    let mut c = Cursor::new(text);
    let mut frames = 0;
    while !c.is_at_end() {
        let frame = if is_google { google_frame(&mut c) } else { frame(&mut c) };
        match frame {
            Frame::Crypto(offset, octets) if offset <= MAX_OFFSET => each(offset, octets),
            Frame::Cut(offset, octets) if !is_whole && offset <= MAX_OFFSET => {
                each(offset, octets);
                return Ok(());
            }
            Frame::Other => {}
            // Google's are not all known here; a client's first packet has none but those that are.
            Frame::None if (!is_whole && frames > 0) || (is_google && frames > 1) => return Ok(()),
            Frame::Crypto(..) | Frame::Cut(..) | Frame::None => return Err(NoFrames),
        }
        frames += 1;
    }
    if frames > 0 { Ok(()) } else { Err(NoFrames) }
}

/// More than any server lets a client send before the handshake (RFC 9000 section 7.5).
const MAX_OFFSET: u64 = 1 << 20;

enum Frame<'a> {
    Crypto(u64, &'a [u8]),
    /// A CRYPTO frame that goes beyond the end.
    Cut(u64, &'a [u8]),
    Other,
    /// One that is not known, or not all there.
    None,
}

/// The next frame of those that Initial packets may have; a run of padding counts as one.
fn frame<'a>(c: &mut Cursor<'a>) -> Frame<'a> {
    const PADDING: u8 = 0;
    const PING: u8 = 1;
    const ACK: u8 = 2;
    const ACK_ECN: u8 = 3;
    const CRYPTO: u8 = 6;
    const CONNECTION_CLOSE: u8 = 0x1c;
    let kind = c.u8();
    let is_read = match kind {
        Some(PADDING) => padding(c),
        Some(PING) => Some(()),
        Some(ACK) => acknowledgement(c, false),
        Some(ACK_ECN) => acknowledgement(c, true),
        Some(CRYPTO) => return crypto(c),
        Some(CONNECTION_CLOSE) => close(c),
        _ => None,
    };
    is_read.map_or(Frame::None, |()| Frame::Other)
}

/// The next frame of a client's first packet in Google's framing.
fn google_frame<'a>(c: &mut Cursor<'a>) -> Frame<'a> {
    const PADDING: u8 = 0;
    const PING: u8 = 7;
    const CRYPTO: u8 = 8;
    match c.u8() {
        Some(PADDING) => padding(c).map_or(Frame::None, |()| Frame::Other),
        Some(PING) => Frame::Other,
        Some(CRYPTO) => crypto(c),
        _ => Frame::None,
    }
}

fn padding(c: &mut Cursor<'_>) -> Option<()> {
    let rest = c.rest();
    c.take(rest.iter().position(|&octet| octet != 0).unwrap_or(rest.len())).map(|_| ())
}

fn crypto<'a>(c: &mut Cursor<'a>) -> Frame<'a> {
    let (Some(offset), Some(len)) = (variable(c), variable(c)) else { return Frame::None };
    match usize::try_from(len).ok().and_then(|len| c.take(len)) {
        Some(octets) => Frame::Crypto(offset, octets),
        None => Frame::Cut(offset, c.take(c.remaining()).unwrap_or_default()),
    }
}

/// ACK: largest, delay, number of ranges, first range; gap and length of each; of ECN, three counts.
fn acknowledgement(c: &mut Cursor<'_>, has_ecn: bool) -> Option<()> {
    variable(c)?;
    variable(c)?;
    let ranges = variable(c)?;
    variable(c)?;
    // A number that lies ends with the packet.
    for _ in 0..ranges {
        variable(c)?;
        variable(c)?;
    }
    for _ in 0..if has_ecn { 3 } else { 0 } {
        variable(c)?;
    }
    Some(())
}

/// CONNECTION_CLOSE: error code, type of the frame that was wrong, reason.
fn close(c: &mut Cursor<'_>) -> Option<()> {
    variable(c)?;
    variable(c)?;
    let len = variable(c)?;
    c.take(usize::try_from(len).ok()?).map(|_| ())
}

/// The first handshake message of a side, put together from pieces in any order.
#[derive(Debug, Default)]
pub(super) struct Message {
    octets: Vec<u8>,
    /// Starts and ends of what is there; no two touch each other.
    pieces: Vec<(u16, u16)>,
}

impl Message {
    /// Takes a piece. What lies beyond the bound, or is one piece too many, is left out.
    pub(super) fn insert(&mut self, offset: u64, octets: &[u8]) {
        let Ok(offset) = usize::try_from(offset) else { return };
        let octets = octets.get(..MAX_MESSAGE.saturating_sub(offset)).unwrap_or(octets);
        if octets.is_empty() {
            return;
        }
        let end = offset + octets.len();
        if !self.note(offset, end) {
            return;
        }
        if self.octets.len() < end {
            self.octets.resize(end, 0);
        }
        if let Some(to) = self.octets.get_mut(offset..end) {
            to.copy_from_slice(octets);
        }
    }

    /// Joins a piece with those that it touches. False if it touches none and there are too many.
    fn note(&mut self, start: usize, end: usize) -> bool {
        // Both are within the bound, which fits.
        let (mut start, mut end) = (start as u16, end as u16);
        self.pieces.retain(|&(other, other_end)| {
            let is_apart = other > end || other_end < start;
            if !is_apart {
                (start, end) = (start.min(other), end.max(other_end));
            }
            is_apart
        });
        let fits = self.pieces.len() < MAX_PIECES;
        if fits {
            self.pieces.push((start, end));
        }
        fits
    }

    /// What there is from the start on without a gap.
    pub(super) fn start(&self) -> &[u8] {
        let end = self.pieces.iter().find(|(start, _)| *start == 0).map_or(0, |&(_, end)| usize::from(end));
        self.octets.get(..end).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.pieces.clear();
        self.octets.shrink_to(KEPT);
    }

    /// Bytes of memory that it takes beside itself.
    pub(super) fn held(&self) -> usize {
        allocated(self.octets.capacity()) + allocated(self.pieces.capacity() * size_of::<(u16, u16)>())
    }
}
