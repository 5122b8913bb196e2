// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! A window of octets that moves over a file from its beginning to its end.
//!
//! Files are read, not mapped. Of the ways to get at a file in the page cache that takes least, by time of user and system:
//! the kernel copies a buffer that stays in the second-level cache in less time than it maps the pages, whether they are
//! touched, asked for ahead or let go behind. Reading also bounds memory, and no other process can end ours by cutting the
//! file short.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use weir_flow::{SharedOctets, SourceError};

/// What a reader of records sees of a file.
///
/// The buffer grows to what one record asks for, which the readers of records bound. While somebody else holds it, the
/// window moves on in another one: there are as many as others hold, and one more.
pub(super) struct Window {
    input: Box<dyn Read + Send>,
    /// Whether `input` is a decompressor, whose errors are damage of the file.
    is_compressed: bool,
    /// Whether reading may take its time: `input` is no file.
    may_wait: bool,
    buffer: SharedOctets,
    /// Buffers that others held when they were last looked at.
    lent: Vec<SharedOctets>,
    /// The octets at hand are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Offset of `buffer[start]`.
    offset: u64,
    is_at_end: bool,
}

impl Window {
    /// Octets of a buffer, unless a record asks for more: large enough that asking the kernel costs nothing beside what
    /// it copies, small enough for the second-level cache.
    pub(super) const BUFFER: usize = 256 * 1024;

    /// A window on `input`, which may take its time unless it is a file.
    pub(super) fn new(input: Box<dyn Read + Send>, may_wait: bool) -> Self {
        let buffer = vec![0; Self::BUFFER].into();
        Self {
            input,
            is_compressed: false,
            may_wait,
            buffer,
            lent: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            is_at_end: false,
        }
    }

    /// A stream whose read errors of kind "data" mean that the file is damaged.
    pub(super) fn new_compressed(input: Box<dyn Read + Send>, may_wait: bool) -> Self {
        Self { is_compressed: true, ..Self::new(input, may_wait) }
    }

    /// The octets at hand, and the rest of the input behind them.
    pub(super) fn into_reader(self) -> impl Read + Send {
        Cursor::new(self.bytes().to_vec()).chain(self.input)
    }

    /// The octets at hand, from the first that was not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether reading on may take its time.
    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// What [`Self::bytes`] are part of.
    pub(super) fn memory(&self) -> &SharedOctets {
        &self.buffer
    }

    /// Moves on by `octets`, at most all that are at hand.
    pub(super) fn consume(&mut self, octets: usize) {
        let octets = octets.min(self.end - self.start);
        self.start += octets;
        self.offset += octets as u64;
    }

    /// Offset of the first octet of [`Self::bytes`] from the start of the (uncompressed) file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Waits until at least `octets` are at hand; `false` if the file ends before.
    ///
    /// # Errors
    ///
    /// When the file cannot be read on; what is at hand stays.
    pub(super) fn fill(&mut self, octets: usize) -> Result<bool, SourceError> {
        while self.end - self.start < octets {
            if self.is_at_end {
                return Ok(false);
            }
            self.make_room(octets);
            let room = Arc::get_mut(&mut self.buffer).and_then(|buffer| buffer.get_mut(self.end..));
            match self.input.read(room.unwrap_or_default()) {
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

    /// Makes room for `octets` from `start` on, at least, in a buffer that nobody else holds.
    fn make_room(&mut self, octets: usize) {
        let held = self.start..self.end;
        match Arc::get_mut(&mut self.buffer) {
            // One that had to grow is not kept.
            Some(buffer) if (octets.max(held.len())..=octets.max(Self::BUFFER)).contains(&buffer.len()) => {
                buffer.copy_within(held.clone(), 0);
            }
            _ => {
                let mut buffer = self.other_buffer(octets);
                if let (Some(to), Some(from)) = (Arc::get_mut(&mut buffer), self.buffer.get(held.clone())) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
                let lent = std::mem::replace(&mut self.buffer, buffer);
                if lent.len() == Self::BUFFER {
                    self.lent.push(lent);
                }
            }
        }
        (self.start, self.end) = (0, held.len());
    }

    /// A buffer of at least `octets` that nobody else holds.
    fn other_buffer(&mut self, octets: usize) -> SharedOctets {
        let is_back = |buffer: &mut SharedOctets| Arc::get_mut(buffer).is_some();
        match self.lent.iter_mut().position(is_back) {
            Some(index) if octets <= Self::BUFFER => self.lent.swap_remove(index),
            _ => vec![0; octets.max(Self::BUFFER)].into(),
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("offset", &self.offset).finish_non_exhaustive()
    }
}

fn is_about_data(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof)
}
