// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of messages from workers to one destination, and the way back of their memory.
//!
//! A worker fills memory, pushes the message, and takes other memory in its place; the sending thread gives it back. All
//! memory is made at start: for as many messages as there can be in the queue and in the sender's hands; each worker
//! brings what it has under construction. So there is always some left to take. The buffer given back last is used first:
//! it is the one that the processor's cache still holds, and those beyond the need are never touched.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use weir_ipfix::message::Buffer;

use crate::{
    queue::{BATCH, Queue, Refused, WhenFull},
    sender::SendCounters,
};

/// Octets of JSON lines that travel together; the last of them ends beyond.
pub const LINES: usize = 64 * 1024;
/// Octets that memory for lines has at most when it is used again.
pub const MAX_LINES: usize = 2 * LINES;

/// Workers that a channel is made for; with more of them, the list of spare memory grows.
const WORKERS: usize = 256;

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

    /// The memory, if it is for IPFIX.
    pub fn into_buffer(self) -> Buffer {
        match self {
            Self::Ipfix { buffer, .. } => buffer,
            Self::Lines { .. } => Buffer::default(),
        }
    }

    /// The memory, emptied, if it is for lines.
    pub fn into_lines(self) -> Vec<u8> {
        match self {
            Self::Ipfix { .. } => Vec::new(),
            Self::Lines { mut text, .. } => {
                text.clear();
                text
            }
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
    /// JSON, of passive DNS.
    PassiveDns,
}

impl Load {
    /// Memory for a message.
    fn empty(self) -> Message {
        match self {
            Self::Ipfix(max_message) => Message::Ipfix { buffer: Buffer::new(max_message), templates: 0 },
            Self::Lines | Self::PassiveDns => Message::Lines { text: Vec::with_capacity(MAX_LINES), records: 0 },
        }
    }

    /// Octets of memory of one message.
    pub const fn memory(self) -> usize {
        match self {
            Self::Ipfix(max_message) => Buffer::memory(max_message),
            Self::Lines | Self::PassiveDns => MAX_LINES,
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
    /// What the sender did so far.
    progress: Mutex<SendCounters>,
    trouble: Mutex<Option<String>>,
    /// Whether the sender shall open its destination again.
    reopen: AtomicBool,
    /// Records in messages that were taken, and in those that were not.
    taken_records: AtomicU64,
    lost_records: AtomicU64,
    /// Whether the destination takes messages now.
    is_ready: AtomicBool,
    /// Whether whoever pushes has time: then nothing is dropped.
    has_time: AtomicBool,
    /// Most octets of an IPFIX message now: less than of its load, if the path has become narrower.
    max_message: AtomicUsize,
    /// When whoever ends the export does not wait any more.
    deadline: Mutex<Option<Instant>>,
}

impl Channel {
    /// A channel on which `messages` may wait.
    pub fn new(load: Load, messages: usize) -> Self {
        // Room for what workers bring, without an allocation later; few have more of them.
        let mut spare = Vec::with_capacity(messages + BATCH + WORKERS);
        spare.extend(std::iter::repeat_with(|| load.empty()).take(messages + BATCH));
        Self {
            queue: Queue::new(messages),
            load,
            spare: Mutex::new(spare),
            progress: Mutex::default(),
            trouble: Mutex::default(),
            reopen: AtomicBool::new(false),
            taken_records: AtomicU64::new(0),
            lost_records: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            has_time: AtomicBool::new(false),
            max_message: AtomicUsize::new(if let Load::Ipfix(octets) = load { octets } else { 0 }),
            deadline: Mutex::default(),
        }
    }

    /// Octets of memory that messages of a channel take at most, if so many may wait and so many workers write.
    pub const fn memory(load: Load, messages: usize, workers: usize) -> usize {
        (messages + BATCH + workers) * load.memory()
    }

    /// Memory for a message, as it was given back.
    pub fn memory_for_next(&self) -> Message {
        let spare = self.spare().pop();
        // There is always some, unless lines that were longer than usual were not taken back.
        spare.unwrap_or_else(|| self.load.empty())
    }

    /// Hands a message over. What was refused has become spare memory.
    ///
    /// # Errors
    ///
    /// If the queue is closed, or if it is full and `when_full` says so.
    pub fn push(&self, message: Message, when_full: WhenFull) -> Result<(), ()> {
        let records = u64::from(message.records());
        match self.queue.push(message, when_full) {
            Ok(()) => {
                self.taken_records.fetch_add(records, Ordering::Relaxed);
                Ok(())
            }
            Err(Refused(message)) => {
                self.lost_records.fetch_add(records, Ordering::Relaxed);
                self.recycle(std::iter::once(message));
                Err(())
            }
        }
    }

    /// Records that were handed over so far.
    pub fn taken_records(&self) -> u64 {
        self.taken_records.load(Ordering::Relaxed)
    }

    /// Records that the queue did not take.
    pub fn lost_records(&self) -> u64 {
        self.lost_records.load(Ordering::Relaxed)
    }

    /// Says whether the destination takes messages.
    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// Whether the destination takes messages, as far as that is known.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// From now on whoever pushes would rather wait than lose something.
    pub fn take_time(&self) {
        self.has_time.store(true, Ordering::Relaxed);
    }

    /// Whether whoever pushes would rather wait than lose something.
    pub fn has_time(&self) -> bool {
        self.has_time.load(Ordering::Relaxed)
    }

    /// From now on messages have no more octets than that.
    pub fn limit(&self, max_message: usize) {
        self.max_message.store(max_message, Ordering::Relaxed);
    }

    /// Most octets of an IPFIX message.
    pub fn max_message(&self) -> usize {
        self.max_message.load(Ordering::Relaxed)
    }

    /// Nothing more comes; what is there is to be sent until then.
    pub fn close_by(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        self.queue.close();
        self.queue.nudge();
    }

    /// Until when.
    pub fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes memory back that was sent.
    pub fn recycle(&self, messages: impl Iterator<Item = Message>) {
        let is_usual = |message: &Message| match message {
            Message::Ipfix { .. } => true,
            Message::Lines { text, .. } => text.capacity() <= MAX_LINES,
        };
        self.spare().extend(messages.filter(is_usual));
    }

    /// Has the sender open its destination again, when it has sent what it is at.
    pub fn ask_to_reopen(&self) {
        self.reopen.store(true, Ordering::SeqCst);
        self.queue.nudge();
    }

    /// Whether it was asked to, since the last time.
    pub fn is_to_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::SeqCst)
    }

    /// Publishes what the sender did so far.
    pub fn publish(&self, counters: SendCounters) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// Says what is wrong with the destination now, if something is.
    pub fn tell_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was published last.
    pub fn progress(&self) -> SendCounters {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Message>> {
        // Nothing under this lock can leave it half changed.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
