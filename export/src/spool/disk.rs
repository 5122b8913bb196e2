// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that have no room in memory, in files of a directory, until they are read back in their order.
//!
//! Each file is an IPFIX file (RFC 5655): templates stand before the data that need them, so that what is left when the export
//! ends can be sent by anybody (`weir replay FILE --to tcp://…`). Lines are in files of lines. Where a message begins, and how many
//! records it has, is in memory, eight octets each; that there can be no more than [`MAX_MESSAGES`] is a bound of its own.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use super::{Amount, Piece};

/// Most messages on disk.
pub const MAX_MESSAGES: usize = 1 << 17;
/// Octets of memory that their places take.
pub const MEMORY: usize = MAX_MESSAGES * size_of::<Place>();
/// Most octets of a file, but for the message that begins within.
const MAX_FILE: u64 = 16 << 20;
/// The number of the file with what was older than all that is on disk: they are numbered from the next one on.
const FIRST: u64 = 1;

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
struct Place {
    len: u32,
    /// Records in it; zero of templates, which are for other readers.
    records: u32,
}

/// One file.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    octets: u64,
    pieces: usize,
}

/// Octets of a message, and records in it.
pub type Taken<'a> = (&'a [u8], u32);
/// Hands a message to whoever keeps it.
pub type Take<'a> = dyn FnMut(&Piece<'_>) + 'a;

/// What templates a file announces.
pub trait Announce {
    /// Messages that announce the templates from that one on, to stand before this message, and how many are known then.
    fn announce(&self, from: usize, before: &[u8]) -> (Vec<Vec<u8>>, usize);
}

/// Files of one destination.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// Of this destination and this process.
    prefix: String,
    suffix: &'static str,
    capacity: u64,
    /// In order; the first is read, the last is written.
    segments: VecDeque<Segment>,
    places: VecDeque<Place>,
    reading: Option<File>,
    writing: Option<File>,
    /// Templates announced in the file that is written.
    announced: usize,
    /// The number of the last file that was made.
    made: u64,
    max_file: u64,
    octets: u64,
    waiting: Amount,
    buffer: Vec<u8>,
}

impl Disk {
    /// In this folder, under names that begin like this, as far as so many octets go.
    pub fn new(folder: &Path, prefix: String, suffix: &'static str, capacity: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            prefix,
            suffix,
            capacity,
            segments: VecDeque::new(),
            places: VecDeque::new(),
            reading: None,
            writing: None,
            announced: 0,
            made: FIRST,
            max_file: MAX_FILE,
            octets: 0,
            waiting: Amount::default(),
            buffer: Vec::new(),
        }
    }

    /// Whether no message waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting.messages == 0
    }

    /// What waits.
    pub const fn waiting(&self) -> Amount {
        self.waiting
    }

    /// Whether a message of so many octets finds room.
    pub fn has_room(&self, octets: usize) -> bool {
        self.octets + octets as u64 <= self.capacity && self.places.len() < MAX_MESSAGES
    }

    /// Keeps a message. False if there is no room for it.
    ///
    /// # Errors
    ///
    /// If it cannot be written; then it is not there.
    pub fn push(&mut self, piece: &Piece<'_>, announce: &impl Announce) -> io::Result<bool> {
        if !self.has_room(piece.octets.len()) {
            return Ok(false);
        }
        self.write(piece, announce)?;
        Ok(true)
    }

    /// The same, whatever room there is: for what is left at the end.
    fn write(&mut self, piece: &Piece<'_>, announce: &impl Announce) -> io::Result<()> {
        if self.segments.back().is_none_or(|segment| self.writing.is_none() || segment.octets >= self.max_file) {
            self.begin_file()?;
        }
        if self.announced < piece.templates {
            let (messages, announced) = announce.announce(self.announced, piece.octets);
            for message in messages {
                self.append(&message, 0)?;
            }
            self.announced = announced;
        }
        self.append(piece.octets, piece.records)
    }

    /// Takes the oldest message. None if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read; then it is lost with the rest of its file: how many records, by the second value.
    pub fn pop(&mut self) -> Result<Option<Taken<'_>>, (io::Error, Amount)> {
        loop {
            let Some(place) = self.places.front().copied() else { return Ok(None) };
            if let Err(error) = self.read(place.len as usize) {
                return Err((error, self.lose_file()));
            }
            self.places.pop_front();
            self.end_of_piece();
            if place.records > 0 {
                self.waiting.messages -= 1;
                self.waiting.records -= u64::from(place.records);
                return Ok(Some((&self.buffer, place.records)));
            }
        }
    }

    /// Leaves what waits in its files, behind a file with what is older: how many records that leaves there.
    ///
    /// # Errors
    ///
    /// If the first file cannot be written; then what is older is not there.
    pub fn leave(&mut self, older: &mut dyn FnMut(&mut Take<'_>), announce: &impl Announce) -> io::Result<Amount> {
        // Of a file that was read in part, what was read must not be sent twice.
        let mut rest = Vec::new();
        if self.reading.is_some() {
            let pieces = self.segments.front().map_or(0, |segment| segment.pieces);
            let messages = self.places.iter().take(pieces).filter(|place| place.records > 0).count();
            for _ in 0..messages {
                if let Ok(Some((octets, records))) = self.pop() {
                    rest.push((octets.to_vec(), records));
                }
            }
            // Templates behind the last message are of no use.
            if self.reading.is_some() {
                self.lose_file();
            }
        }
        let later = self.waiting;
        let mut first = Self::new(&self.folder, self.prefix.clone(), self.suffix, u64::MAX);
        (first.made, first.max_file) = (FIRST - 1, u64::MAX);
        let mut result = Ok(());
        older(&mut |piece| {
            if result.is_ok() {
                result = first.write(piece, announce);
            }
        });
        for (octets, records) in &rest {
            if result.is_ok() {
                let templates = announce.announce(0, octets).1;
                result = first.write(&Piece { octets, records: *records, templates }, announce);
            }
        }
        self.places.clear();
        result?;
        for file in first.writing.iter().chain(&self.writing) {
            file.sync_all()?;
        }
        Ok(Amount { messages: first.waiting.messages + later.messages, records: first.waiting.records + later.records })
    }

    fn begin_file(&mut self) -> io::Result<()> {
        self.writing = None;
        self.made += 1;
        let path = self.folder.join(format!("{}-{:06}.{}", self.prefix, self.made, self.suffix));
        self.writing = Some(File::create_new(&path)?);
        self.announced = 0;
        self.segments.push_back(Segment { path, octets: 0, pieces: 0 });
        Ok(())
    }

    fn append(&mut self, octets: &[u8], records: u32) -> io::Result<()> {
        let (Some(file), Some(segment)) = (&mut self.writing, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(octets) {
            // Half a message would be the end of the file for any reader.
            let _ = file.set_len(segment.octets).and_then(|()| file.seek(io::SeekFrom::Start(segment.octets)));
            return Err(error);
        }
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        segment.octets += u64::from(len);
        segment.pieces += 1;
        self.octets += u64::from(len);
        self.places.push_back(Place { len, records });
        if records > 0 {
            self.waiting.messages += 1;
            self.waiting.records += u64::from(records);
        }
        Ok(())
    }

    fn read(&mut self, len: usize) -> io::Result<()> {
        let file = match &mut self.reading {
            Some(file) => file,
            None => {
                let path = self.segments.front().map(|segment| &segment.path);
                self.reading.insert(File::open(path.ok_or(io::ErrorKind::NotFound)?)?)
            }
        };
        self.buffer.resize(len, 0);
        file.read_exact(&mut self.buffer)
    }

    /// Removes the first file if its last piece was read.
    fn end_of_piece(&mut self) {
        let Some(segment) = self.segments.front_mut() else { return };
        segment.pieces -= 1;
        if segment.pieces == 0 {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        self.octets -= segment.octets;
        self.reading = None;
        if self.segments.is_empty() {
            self.writing = None;
        }
        // If it stays, whoever looks after the folder finds it.
        let _ = fs::remove_file(&segment.path);
    }

    /// Gives the first file up: what was in it.
    fn lose_file(&mut self) -> Amount {
        let pieces = self.segments.front().map_or(0, |segment| segment.pieces);
        let mut lost = Amount::default();
        for place in self.places.drain(..pieces.min(self.places.len())).filter(|place| place.records > 0) {
            lost.messages += 1;
            lost.records += u64::from(place.records);
        }
        self.waiting.messages -= lost.messages;
        self.waiting.records -= lost.records;
        self.remove_first();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Templates that are one octet each.
    struct Known(usize);

    impl Announce for Known {
        fn announce(&self, from: usize, _before: &[u8]) -> (Vec<Vec<u8>>, usize) {
            (vec![vec![b'T'; self.0 - from]], self.0)
        }
    }

    fn piece(octets: &[u8]) -> Piece<'_> {
        Piece { octets, records: 1, templates: 2 }
    }

    fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn disk(folder: &Path, capacity: u64) -> Disk {
        let mut disk = Disk::new(folder, "x".to_owned(), "ipfix", capacity);
        disk.max_file = 10;
        disk
    }

    #[test]
    fn messages_come_back_in_order_and_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path(), 1000);
        for n in 0..20 {
            assert!(disk.push(&piece(&[n; 4]), &Known(2)).unwrap());
        }
        // Templates, and two messages, then a third: more than ten octets begin the next file.
        assert_eq!(files(folder.path()).len(), 10);
        assert_eq!(files(folder.path())[0].1, [&[b'T', b'T'][..], &[0; 4], &[1; 4]].concat());
        for n in 0..20 {
            assert_eq!(disk.pop().unwrap(), Some((&[n; 4][..], 1)));
            assert_eq!(disk.waiting().messages, u64::from(19 - n));
        }
        assert!(disk.pop().unwrap().is_none() && disk.octets == 0);
        assert_eq!(files(folder.path()), []);
        // And again.
        assert!(disk.push(&piece(b"abcd"), &Known(2)).unwrap());
        assert_eq!(disk.pop().unwrap(), Some((&b"abcd"[..], 1)));
    }

    #[test]
    fn what_has_no_room_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path(), 12);
        assert!(disk.push(&piece(&[1; 8]), &Known(2)).unwrap());
        assert!(!disk.push(&piece(&[2; 8]), &Known(2)).unwrap());
        assert!(disk.pop().unwrap().is_some());
        assert!(disk.push(&piece(&[3; 8]), &Known(2)).unwrap());
    }

    #[test]
    fn what_is_left_can_be_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path(), 1000);
        for n in 1..=5 {
            assert!(disk.push(&piece(&[n; 4]), &Known(2)).unwrap());
        }
        assert_eq!(disk.pop().unwrap(), Some((&[1; 4][..], 1)));
        let left = disk.leave(&mut |take| take(&piece(&[0; 4])), &Known(2)).unwrap();
        assert_eq!(left, Amount { messages: 5, records: 5 });
        let left = files(folder.path());
        let octets: Vec<u8> = left.iter().flat_map(|file| file.1.iter().copied()).filter(|o| *o != b'T').collect();
        assert_eq!(octets, [0, 2, 3, 4, 5].map(|n| [n; 4]).concat(), "{left:?}");
        assert!(left.iter().all(|file| file.1.starts_with(b"TT")));
    }

    #[test]
    fn a_file_that_somebody_took_away_is_lost_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = disk(folder.path(), 1000);
        for n in 0..6 {
            assert!(disk.push(&piece(&[n; 4]), &Known(2)).unwrap());
        }
        fs::remove_file(folder.path().join(&files(folder.path())[0].0)).unwrap();
        let (_, lost) = disk.pop().unwrap_err();
        assert_eq!(lost, Amount { messages: 2, records: 2 });
        assert_eq!(disk.pop().unwrap(), Some((&[2; 4][..], 1)));
        assert_eq!(disk.waiting().messages, 3);
    }
}
