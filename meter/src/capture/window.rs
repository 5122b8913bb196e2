// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! A window of octets that moves over a file from its beginning to its end.

use std::fmt;
use std::io::{self, Cursor, Read};

use weir_flow::SourceError;

/// What a reader of records sees of a file.
pub(super) trait Window {
    /// The octets at hand, from the first that was not consumed.
    fn bytes(&self) -> &[u8];

    /// Moves on by `octets`, at most all that are at hand.
    fn consume(&mut self, octets: usize);

    /// Offset of the first octet of [`Self::bytes`] from the start of the (uncompressed) file.
    fn offset(&self) -> u64;

    /// Waits until at least `octets` are at hand; `false` if the file ends before.
    ///
    /// # Errors
    ///
    /// When the file cannot be read on; what is at hand stays.
    fn fill(&mut self, octets: usize) -> Result<bool, SourceError>;
}

/// A window over what can only be read once.
///
/// The buffer grows to what one record asks for, which the readers of records bound.
pub(super) struct Stream {
    input: Box<dyn Read + Send>,
    /// Whether `input` is a decompressor, whose errors are damage of the file.
    is_compressed: bool,
    buffer: Vec<u8>,
    /// The octets at hand are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Offset of `buffer[start]`.
    offset: u64,
    is_at_end: bool,
}

impl Stream {
    /// Octets of the buffer at first: a batch of full-size frames, with room to spare.
    const BUFFER: usize = 256 * 1024;

    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        let buffer = vec![0; Self::BUFFER];
        Self { input, is_compressed: false, buffer, start: 0, end: 0, offset: 0, is_at_end: false }
    }

    /// A stream whose read errors of kind "data" mean that the file is damaged.
    pub(super) fn new_compressed(input: Box<dyn Read + Send>) -> Self {
        Self { is_compressed: true, ..Self::new(input) }
    }

    /// The octets at hand, and the rest of the input behind them.
    pub(super) fn into_reader(mut self) -> impl Read + Send {
        self.buffer.truncate(self.end);
        let mut held = Cursor::new(self.buffer);
        held.set_position(self.start as u64);
        held.chain(self.input)
    }

    /// Makes room for `octets` from `start` on, at least.
    fn make_room(&mut self, octets: usize) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < octets {
            self.buffer.resize(octets, 0);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Window for Stream {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn consume(&mut self, octets: usize) {
        let octets = octets.min(self.end - self.start);
        self.start += octets;
        self.offset += octets as u64;
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn fill(&mut self, octets: usize) -> Result<bool, SourceError> {
        while self.end - self.start < octets {
            if self.is_at_end {
                return Ok(false);
            }
            self.make_room(octets);
            match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => self.is_at_end = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.is_compressed && is_about_data(&error) => {
                    return Err(SourceError::Damaged {
                        offset: self.offset + (self.end - self.start) as u64,
                        what: format!("the compressed data cannot be read on: {error}"),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

fn is_about_data(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof)
}
