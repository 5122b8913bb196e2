// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is kept of a connection's messages until the other side has acknowledged them: in memory, and beyond that on disk, if a
//! folder is given.

pub mod disk;
pub mod memory;

use std::{
    io::{self, IoSlice},
    path::PathBuf,
};

use self::disk::{Announce, Disk};
use self::memory::Memory;
pub use self::memory::{Amount, MIN_MEMORY, Piece};

/// How much is kept for a destination behind a connection, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpoolConfig {
    /// Octets in memory, for each such destination: at least 256 KiB.
    pub memory: usize,
    /// Octets of messages that were acknowledged and are kept all the same: when a connection is reset, it is not known what of
    /// them the collector has read, and they are sent again. No more than fit into the memory; beyond half of that they make way
    /// for others. A collector's system acknowledges no more than its receive buffer holds: on Linux 6 MiB, unless told otherwise.
    pub resend: usize,
    /// Folder for what does not fit into memory.
    pub folder: Option<PathBuf>,
    /// Octets of files in it, for each such destination.
    pub disk: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { memory: 16 << 20, resend: usize::MAX, folder: None, disk: 1 << 30 }
    }
}

impl SpoolConfig {
    /// Octets of memory that the spool of a destination takes at most.
    pub(crate) fn memory(&self) -> usize {
        let disk = if self.folder.is_some() { disk::MEMORY } else { 0 };
        self.memory.max(MIN_MEMORY) + disk
    }
}

/// What became of a message.
#[derive(Debug)]
pub enum Kept {
    /// It is in the spool.
    Yes,
    /// There is no room for it.
    NoRoom,
    /// The disk did not take it.
    Failed(io::Error),
}

/// The spool of one destination.
#[derive(Debug)]
pub struct Spool {
    memory: Memory,
    disk: Option<Disk>,
}

impl Spool {
    /// An empty one, whose files begin with `prefix`.
    pub fn new(config: &SpoolConfig, prefix: String, suffix: &'static str) -> Self {
        let disk = config.folder.as_ref().map(|folder| Disk::new(folder, prefix, suffix, config.disk));
        Self { memory: Memory::new(config.memory, config.resend), disk }
    }

    /// What is to be sent next.
    pub const fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Whether a message finds room, in memory or on disk.
    pub fn takes(&self, octets: usize) -> bool {
        self.has_room(octets) || self.disk.as_ref().is_some_and(|disk| disk.has_room(octets))
    }

    /// Whether a message finds room in memory.
    pub fn has_room(&self, octets: usize) -> bool {
        self.disk.as_ref().is_none_or(Disk::is_empty) && self.memory.has_room(octets)
    }

    /// Keeps a message, behind all others.
    pub fn push(&mut self, piece: &Piece<'_>, announce: &impl Announce) -> Kept {
        if self.has_room(piece.octets.len()) {
            self.memory.push(piece);
            return Kept::Yes;
        }
        match self.disk.as_mut().map(|disk| disk.push(piece, announce)) {
            Some(Ok(true)) => Kept::Yes,
            Some(Err(error)) => Kept::Failed(error),
            Some(Ok(false)) | None => Kept::NoRoom,
        }
    }

    /// Reads from disk what has room in memory. `templates`: how many are known now.
    ///
    /// # Errors
    ///
    /// If a file cannot be read: what is lost with it.
    pub fn refill(&mut self, templates: usize) -> Result<(), (io::Error, Amount)> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        while !disk.is_empty() && self.memory.has_room(MAX_REFILL) {
            let Some((octets, records)) = disk.pop()? else { break };
            self.memory.push(&Piece { octets, records, templates });
        }
        Ok(())
    }

    /// Whether everything was acknowledged.
    pub fn is_settled(&self) -> bool {
        self.memory.is_settled() && self.disk.as_ref().is_none_or(Disk::is_empty)
    }

    /// What was not acknowledged.
    pub fn unsettled(&self) -> Amount {
        let (memory, disk) = (self.memory.unsettled(), self.disk.as_ref().map(Disk::waiting).unwrap_or_default());
        Amount { messages: memory.messages + disk.messages, records: memory.records + disk.records }
    }

    /// Forgets everything, but for files.
    pub fn forget(&mut self) {
        self.memory.forget();
        self.disk = None;
    }

    /// Ends: leaves on disk what was not acknowledged, if there is a folder. What is left there.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn leave(&mut self, announce: &impl Announce) -> io::Result<Amount> {
        let Some(disk) = &mut self.disk else { return Ok(Amount::default()) };
        if self.memory.is_settled() && disk.is_empty() {
            return Ok(Amount::default());
        }
        let memory = &mut self.memory;
        disk.leave(&mut |take| memory.drain(take), announce)
    }
}

/// Octets that there must be room for when a message is read back: more than any IPFIX message has.
const MAX_REFILL: usize = 64 << 10;

/// Slices of one call.
pub const SLICES: usize = 32;

/// No slices yet.
pub fn no_slices<'a>() -> [IoSlice<'a>; SLICES] {
    [IoSlice::new(&[]); SLICES]
}
