// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of messages from workers to one destination, and the way back of their memory.
//!
//! A worker takes memory, fills it, and pushes the message; the sending thread gives the memory back. So a destination has
//! no more buffers than there can be messages in its queue, in its sender's hands and under construction, and after each
//! of them was used once nothing is allocated. The buffer given back last is used first: it is the one that the
//! processor's cache still holds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_ipfix::message::Buffer;

use crate::queue::{BATCH, Queue, Refused, WhenFull};

/// Octets of JSON lines that travel together; the last of them ends beyond.
pub const LINES: usize = 64 * 1024;
/// Octets that memory for lines has at most when it is used again.
const MAX_LINES: usize = 2 * LINES;

/// A message, or lines, on the way to a destination.
#[derive(Debug)]
pub enum Message {
    /// An IPFIX message, not numbered yet.
    Ipfix {
        /// The message.
        buffer: Buffer,
        /// How many templates were known when it was made: as many must be announced before it.
        templates: usize,
    },
    /// JSON, one record a line.
    Lines {
        /// The lines.
        text: Vec<u8>,
        /// How many they are.
        records: u32,
    },
}

impl Message {
    /// What goes on the wire.
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Ipfix { buffer, .. } => buffer.message(),
            Self::Lines { text, .. } => text,
        }
    }

    /// Records in it.
    pub const fn records(&self) -> u32 {
        match self {
            Self::Ipfix { buffer, .. } => buffer.records(),
            Self::Lines { records, .. } => *records,
        }
    }

    /// Templates that must be announced before it.
    pub const fn templates(&self) -> usize {
        match self {
            Self::Ipfix { templates, .. } => *templates,
            Self::Lines { .. } => 0,
        }
    }
}

/// What travels on a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Load {
    /// IPFIX messages of at most so many octets.
    Ipfix(usize),
    /// JSON.
    Lines,
}

impl Load {
    /// Octets of memory of one message.
    pub const fn memory(self) -> usize {
        match self {
            Self::Ipfix(max_message) => Buffer::memory(max_message),
            Self::Lines => MAX_LINES,
        }
    }
}

/// The channel of one destination.
#[derive(Debug)]
pub struct Channel {
    /// What waits to be sent.
    pub queue: Queue<Message>,
    /// What travels here.
    pub load: Load,
    spare: Mutex<Vec<Message>>,
}

impl Channel {
    /// A channel on which `messages` may wait.
    pub fn new(load: Load, messages: usize) -> Self {
        Self { queue: Queue::new(messages), load, spare: Mutex::new(Vec::with_capacity(messages + 2 * BATCH)) }
    }

    /// Octets of memory that messages of a channel take at most, if so many may wait and so many workers write.
    pub const fn memory(load: Load, messages: usize, workers: usize) -> usize {
        (messages + BATCH + workers) * load.memory()
    }

    /// Memory for an IPFIX message.
    pub fn buffer(&self, max_message: usize) -> Buffer {
        match self.spare().pop() {
            Some(Message::Ipfix { buffer, .. }) => buffer,
            _ => Buffer::new(max_message),
        }
    }

    /// Memory for lines; empty.
    pub fn lines(&self) -> Vec<u8> {
        match self.spare().pop() {
            Some(Message::Lines { mut text, .. }) => {
                text.clear();
                text
            }
            _ => Vec::with_capacity(MAX_LINES),
        }
    }

    /// Hands a message over. What was refused has become spare memory.
    ///
    /// # Errors
    ///
    /// If the queue is closed, or if it is full and `when_full` says so.
    pub fn push(&self, message: Message, when_full: WhenFull) -> Result<(), ()> {
        self.queue.push(message, when_full).map_err(|Refused(message)| self.recycle(std::iter::once(message)))
    }

    /// Takes memory back that was sent.
    pub fn recycle(&self, messages: impl Iterator<Item = Message>) {
        let is_usual = |message: &Message| match message {
            Message::Ipfix { .. } => true,
            Message::Lines { text, .. } => text.capacity() <= MAX_LINES,
        };
        self.spare().extend(messages.filter(is_usual));
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Message>> {
        // Nothing under this lock can leave it half changed.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
