// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sender of a destination that is a file (for IPFIX that of RFC 5655), one file after the other, or standard output.
//!
//! Where files are finished one after the other, each is written under a name of its own, `NAME.part`, and gets the one that it is
//! meant to have when it is complete and on the disk: whoever finds that name finds all of it. Each is a session for itself, with its
//! templates and its numbers.

use std::{
    fs::{self, File},
    io::{self, IoSlice, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use weir_ipfix::message::HEADER_LEN;

use crate::{
    announce::{Announcer, Numbering},
    channel::{Channel, Message},
    clock::Clock,
    queue::BATCH,
    rotation::{self, Rotation},
    sender::SendCounters,
    spool::disk::Announce,
};

/// How often somebody who has nothing to do looks what time it is.
const LOOK: Duration = Duration::from_secs(60);

/// What is written to.
#[derive(Debug)]
enum Out {
    /// A file under its own name.
    File(File),
    /// A file that gets its name when it is finished.
    Part(Part),
    /// None: the next message begins one.
    Nothing,
    Stdout,
}

/// A file that is not finished.
#[derive(Debug)]
struct Part {
    file: File,
    path: PathBuf,
    /// When it was begun, since 1970; if nothing is in it, when it was made.
    begun: Duration,
    octets: u64,
    records: u64,
}

/// The sender of one destination.
#[derive(Debug)]
pub struct FileSender {
    /// None of standard output.
    path: Option<PathBuf>,
    rotation: Rotation,
    out: Out,
    announcer: Announcer,
    numbering: Numbering,
    clock: Clock,
    announced: usize,
    pub counters: SendCounters,
}

impl FileSender {
    /// Makes the file, or the first one.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn open(
        path: Option<&Path>,
        rotation: Rotation,
        announcer: Announcer,
        domain: u32,
        clock: Clock,
    ) -> io::Result<Self> {
        let mut sender = Self {
            path: path.map(Path::to_owned),
            rotation,
            out: Out::Stdout,
            announcer,
            numbering: Numbering::new(domain),
            clock,
            announced: 0,
            counters: SendCounters::default(),
        };
        if let Some(path) = path {
            sender.out = sender.begin(path)?;
        }
        Ok(sender)
    }

    /// Writes until the queue is closed and empty.
    ///
    /// # Errors
    ///
    /// If something cannot be written: then nothing more is.
    pub fn run(&mut self, channel: &Channel) -> io::Result<()> {
        channel.set_ready(true);
        let mut result = Ok(());
        let mut batch = Vec::with_capacity(BATCH);
        while result.is_ok() && !channel.queue.is_finished() {
            let patience = self.rotation.left(self.clock.since_epoch()).map_or(LOOK, |left| left.min(LOOK));
            channel.queue.pop_batch(&mut batch, patience);
            if channel.is_to_reopen() {
                result = self.reopen();
            }
            result = result.and_then(|()| self.finish_if_due());
            result = result.and_then(|()| self.write_all(&mut batch, channel.lost_records()));
            channel.publish(self.counters);
            channel.recycle(batch.drain(..));
        }
        result.and_then(|()| self.finish())
    }

    /// Counts what is still in the queue.
    pub fn give_up(&mut self, channel: &Channel) {
        channel.queue.close();
        channel.set_ready(false);
        let mut batch = Vec::new();
        while !channel.queue.is_finished() {
            channel.queue.pop_batch(&mut batch, Duration::ZERO);
            self.counters.records_not_sent += batch.drain(..).map(|m| u64::from(m.records())).sum::<u64>();
        }
        channel.publish(self.counters);
    }

    fn begin(&self, path: &Path) -> io::Result<Out> {
        // A device is not finished.
        let is_special = fs::metadata(path).is_ok_and(|there| !there.is_file());
        if !self.rotation.is_on() || is_special {
            return Ok(Out::File(File::create(path)?));
        }
        let begun = self.clock.since_epoch();
        let name = rotation::name(path, self.rotation.slot(begun)).map_err(io::Error::other)?;
        let path = free(&rotation::unfinished(&name));
        Ok(Out::Part(Part { file: File::create_new(&path)?, path, begun, octets: 0, records: 0 }))
    }

    /// Begins the next file, if the last one was finished.
    fn begin_if_none(&mut self) -> io::Result<()> {
        if let (Out::Nothing, Some(path)) = (&self.out, &self.path) {
            self.out = self.begin(path)?;
        }
        Ok(())
    }

    /// Writes messages one behind the other, into as many files as it takes.
    fn write_all(&mut self, batch: &mut [Message], lost: u64) -> io::Result<()> {
        let mut left = batch;
        while !left.is_empty() {
            if let Err(error) = self.begin_if_none() {
                self.not_sent(left);
                return Err(error);
            }
            let count = self.fitting(left);
            let (now, later) = left.split_at_mut(count);
            let (written, result) = self.write_batch(now, lost);
            self.sent(now.get(..written).unwrap_or_default());
            self.not_sent(now.get(written..).unwrap_or_default());
            if let Err(error) = result {
                self.not_sent(later);
                return Err(error);
            }
            left = later;
            if !left.is_empty() {
                self.finish_part()?;
            }
        }
        Ok(())
    }

    /// How many messages go into this file; one at least.
    fn fitting(&self, batch: &[Message]) -> usize {
        let (Out::Part(part), Some(most)) = (&self.out, self.rotation.octets) else { return batch.len().min(BATCH) };
        let mut octets = part.octets;
        let fits = |message: &&Message| {
            octets += message.octets().len() as u64;
            octets <= most
        };
        let count = batch.iter().take(BATCH).take_while(fits).count();
        count.max(usize::from(part.octets == 0 || count > 0))
    }

    /// Writes messages, with one call if the system takes them all: how many were written whole.
    fn write_batch(&mut self, batch: &mut [Message], lost: u64) -> (usize, io::Result<()>) {
        batch.iter_mut().for_each(|message| self.numbering.number(message, &self.clock, lost));
        let templates = batch.iter().map(Message::templates).max().unwrap_or(0);
        if self.announced < templates
            && let Err(error) = self.announce(batch)
        {
            return (0, Err(error));
        }
        let mut slices = [IoSlice::new(&[]); BATCH];
        for (slice, message) in slices.iter_mut().zip(&*batch) {
            *slice = IoSlice::new(message.octets());
        }
        let (mut octets, result) = self.write(batch.len(), &mut slices);
        let is_whole = |message: &&Message| {
            let len = message.octets().len();
            let is_whole = len <= octets;
            octets = octets.saturating_sub(len);
            is_whole
        };
        (batch.iter().take_while(is_whole).count(), result)
    }

    fn announce(&mut self, batch: &[Message]) -> io::Result<()> {
        let header = batch.first().and_then(|message| message.octets().get(..HEADER_LEN)).unwrap_or_default();
        let (messages, announced) = self.announcer.announce(self.announced, header);
        for message in messages {
            self.write(1, &mut [IoSlice::new(&message)]).1?;
        }
        self.counters.templates_sent += (announced - self.announced) as u64;
        self.announced = announced;
        Ok(())
    }

    /// Writes the first slices: how many octets were taken.
    fn write(&mut self, count: usize, slices: &mut [IoSlice<'_>]) -> (usize, io::Result<()>) {
        let slices = slices.get_mut(..count).unwrap_or_default();
        let (octets, result) = match &mut self.out {
            Out::File(file) => write_all(file, slices),
            Out::Part(part) => {
                let (octets, result) = write_all(&mut part.file, slices);
                part.octets += octets as u64;
                (octets, result)
            }
            Out::Stdout => write_all(&mut io::stdout().lock(), slices),
            Out::Nothing => (0, Err(io::ErrorKind::NotFound.into())),
        };
        self.counters.octets_sent += octets as u64;
        (octets, result)
    }

    fn sent(&mut self, messages: &[Message]) {
        let records = messages.iter().map(|m| u64::from(m.records())).sum::<u64>();
        self.counters.messages_sent += messages.len() as u64;
        self.counters.records_sent += records;
        if let Out::Part(part) = &mut self.out {
            if part.records == 0 {
                part.begun = self.clock.since_epoch();
            }
            part.records += records;
        }
    }

    fn not_sent(&mut self, messages: &[Message]) {
        self.counters.records_not_sent += messages.iter().map(|m| u64::from(m.records())).sum::<u64>();
    }

    /// Finishes a file whose interval is over.
    fn finish_if_due(&mut self) -> io::Result<()> {
        let Out::Part(part) = &self.out else { return Ok(()) };
        let slot = |time| self.rotation.slot(time);
        let is_over = self.rotation.interval.is_some() && slot(part.begun) != slot(self.clock.since_epoch());
        if is_over && part.records > 0 { self.finish_part() } else { Ok(()) }
    }

    /// Gives a file the name that it is meant to have; the next message begins another.
    fn finish_part(&mut self) -> io::Result<()> {
        let out = std::mem::replace(&mut self.out, Out::Nothing);
        let (Out::Part(part), Some(pattern)) = (&out, &self.path) else {
            self.out = out;
            return Ok(());
        };
        self.announced = 0;
        self.numbering.begin_again();
        if part.records == 0 {
            return fs::remove_file(&part.path);
        }
        part.file.sync_all()?;
        let name = rotation::name(pattern, self.rotation.slot(part.begun)).map_err(io::Error::other)?;
        fs::rename(&part.path, free(&name))?;
        self.counters.files_finished += 1;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match &self.out {
            // A device or a pipe has nothing to synchronise.
            Out::File(file) => {
                file.sync_all().or_else(|e| if e.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(e) })
            }
            Out::Part(_) => self.finish_part(),
            Out::Nothing => Ok(()),
            Out::Stdout => io::stdout().lock().flush(),
        }
    }

    /// Begins a file anew that was moved away, in a new session; finishes one of several. If a file cannot be made, it goes on
    /// with what it has.
    fn reopen(&mut self) -> io::Result<()> {
        match (&self.out, &self.path) {
            (Out::Part(part), _) if part.records > 0 => self.finish_part(),
            (Out::File(file), Some(path)) if was_moved(file, path) => {
                let Ok(next) = File::create(path) else { return Ok(()) };
                self.finish()?;
                self.out = Out::File(next);
                self.announced = 0;
                self.numbering.begin_again();
                self.counters.reconnects += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The first name, with a number if need be, under which there is nothing.
fn free(name: &Path) -> PathBuf {
    let mut free = name.to_owned();
    let mut number = 0;
    while free.symlink_metadata().is_ok() {
        number += 1;
        free = rotation::again(name, number);
    }
    free
}

/// Whether a path does not name an open file any more.
fn was_moved(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else { return false };
    match fs::metadata(path) {
        Ok(there) => (open.dev(), open.ino()) != (there.dev(), there.ino()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Writes all slices, with one call if the system takes them: how many octets it took.
fn write_all(writer: &mut impl Write, slices: &mut [IoSlice<'_>]) -> (usize, io::Result<()>) {
    let mut left = slices;
    let mut octets = 0;
    while !left.is_empty() {
        match writer.write_vectored(left) {
            Ok(0) => return (octets, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                octets += written;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return (octets, Err(error)),
        }
    }
    (octets, Ok(()))
}
