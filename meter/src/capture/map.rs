// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! A file mapped into memory: the one unsafe operation of the file sources.
#![expect(unsafe_code, reason = "mapping a file is unsafe: another process may change it")]

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap};
use weir_flow::SourceError;

use super::window::Window;

/// All octets of a regular file, read on demand by the kernel.
#[derive(Debug)]
pub(super) struct Map {
    map: Mmap,
    at: usize,
}

impl Map {
    /// Maps `file` as long as it is now.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only and private to this struct, which hands out shared slices of bytes only; no value of
        // them is invalid, and every field is checked after it is read and not read again. If another process writes to the
        // file, we see old or new octets, as with any read. If it cuts the file short, the kernel ends this process with
        // SIGBUS when a lost page is touched: a known limit, stated at `open`, against which there is no check.
        let map = unsafe { Mmap::map(file) }?;
        // A hint: read ahead further than by default. Where it is not known, nothing is lost.
        let _ = map.advise(Advice::Sequential);
        Ok(Self { map, at: 0 })
    }
}

impl Window for Map {
    fn bytes(&self) -> &[u8] {
        self.map.get(self.at..).unwrap_or_default()
    }

    fn consume(&mut self, octets: usize) {
        self.at = self.at.saturating_add(octets).min(self.map.len());
    }

    fn offset(&self) -> u64 {
        self.at as u64
    }

    fn fill(&mut self, octets: usize) -> Result<bool, SourceError> {
        Ok(self.bytes().len() >= octets)
    }
}
