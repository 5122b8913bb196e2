// SPDX-License-Identifier: MIT OR Apache-2.0
//! Classic capture files: microseconds, Ethernet, every frame whole. What every peer reads.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Octets of the file header.
pub const FILE_HEADER: usize = 24;
/// Octets before each frame.
pub const RECORD_HEADER: usize = 16;
const MAGIC: u32 = 0xa1b2_c3d4;
const SNAPLEN: u32 = 65_535;
const ETHERNET: u32 = 1;

/// Writes one capture file.
#[derive(Debug)]
pub struct PcapWriter {
    out: BufWriter<File>,
    /// Packets so far.
    pub packets: u64,
    /// Octets of their frames.
    pub wire_octets: u64,
}

impl PcapWriter {
    /// Begins a file; one that is there is replaced.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&MAGIC.to_le_bytes())?;
        out.write_all(&[2, 0, 4, 0])?;
        out.write_all(&[0; 8])?;
        out.write_all(&SNAPLEN.to_le_bytes())?;
        out.write_all(&ETHERNET.to_le_bytes())?;
        Ok(Self { out, packets: 0, wire_octets: 0 })
    }

    /// Appends a frame, seen at `micros` since 1970.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    #[inline]
    pub fn frame(&mut self, micros: u64, frame: &[u8]) -> io::Result<()> {
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let octets = frame.len() as u64;
        let header = [narrow(micros / 1_000_000), narrow(micros % 1_000_000), narrow(octets), narrow(octets)];
        self.out.write_all(header.as_flattened())?;
        self.out.write_all(frame)?;
        self.packets += 1;
        self.wire_octets += octets;
        Ok(())
    }

    /// Octets of the file so far.
    #[must_use]
    pub fn file_octets(&self) -> u64 {
        FILE_HEADER as u64 + self.packets * RECORD_HEADER as u64 + self.wire_octets
    }

    /// Writes what is left.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The records of a capture file that [`PcapWriter`] made: octets on the wire, and as much of the frame as there is.
pub fn records(file: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_first_chunk::<RECORD_HEADER>()?;
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h] = *header;
        let (frame, next) = behind.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        rest = next;
        Some((u32::from_le_bytes([e, f, g, h]), frame))
    })
}
