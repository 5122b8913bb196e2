// SPDX-License-Identifier: MIT OR Apache-2.0
//! The writing side of a store.
//!
//! Records are kept in memory until [`StoreWriter::flush`], or until there are [`WriterOptions::flush_rows`] of them; a
//! flush writes one segment for each slot. The caller flushes as often as a crash may cost records: a live collector once
//! a second. A flush also merges the small segments of a slot: when there are many, and once when the slot is over, that
//! is when a record arrived that ended two slots later. All this is done in the caller's thread, so that thread
//! must not be the one that reads a socket.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use weir_flow::{FlowRecord, RecordSink, Timestamp};

use datafusion::arrow::{
    array::{AsArray, UInt32Array},
    compute::take_record_batch,
    datatypes::TimestampNanosecondType,
};

use crate::{
    Error,
    rows::RecordBuffer,
    segment::{self, Segment},
};

/// Slots whose segments are counted; beyond that the oldest is merged and forgotten.
const MAX_OPEN_SLOTS: usize = 1024;

/// How a store is written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Most records in memory; then they are flushed unasked.
    pub flush_rows: usize,
    /// Most octets in memory, roughly; then they are flushed unasked.
    pub flush_octets: usize,
    /// Most records of a merged segment: bounds the memory of a merge.
    pub merge_rows: usize,
    /// Segments of one slot that are merged before the slot is over.
    pub merge_segments: usize,
    /// Compression level of fresh segments.
    pub zstd_level: i32,
    /// Compression level of merged segments.
    pub merged_zstd_level: i32,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            flush_rows: 128 * 1024,
            flush_octets: 64 << 20,
            merge_rows: 512 * 1024,
            merge_segments: 32,
            zstd_level: 1,
            merged_zstd_level: 3,
        }
    }
}

/// What to keep. Slots go whole, the oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Slots that ended longer ago are removed.
    pub max_age: Option<Duration>,
    /// While the store is larger than this many octets, the oldest slot is removed; the youngest stays.
    pub max_octets: Option<u64>,
}

weir_flow::counters! {
    /// What a writer did. `received_records = stored_records + dropped_by_write_error + those in memory`.
    pub struct StoreCounters {
        #[doc = "records handed to the store"]
        pub received_records,
        #[doc = "records in segments that are synced and have their final name"]
        pub stored_records,
        #[doc = "records lost because a segment could not be written: disk full, I/O error"]
        pub dropped_by_write_error,
        #[doc = "flushes in which at least one segment could not be written"]
        pub failed_flushes,
        #[doc = "segments written by flushes"]
        pub written_segments,
        #[doc = "octets of those segments"]
        pub written_octets,
        #[doc = "segments that were merged into another"]
        pub merged_segments,
        #[doc = "merges that failed; their parts stay as they were"]
        pub failed_merges,
        #[doc = "slots removed by retention"]
        pub expired_slots,
        #[doc = "octets removed by retention"]
        pub expired_octets,
        #[doc = "temporary files of a crashed writer, removed when the store was opened"]
        pub removed_temporary_files,
        #[doc = "superseded segments of a crashed writer, removed when the store was opened"]
        pub removed_superseded_segments,
    }
}

/// A slot that was written to.
#[derive(Default)]
struct OpenSlot {
    /// Last flush in the slot.
    last: u64,
    /// Segments since the last merge.
    fresh: usize,
    /// Whether it was merged after it was over: then late records wait until there are many segments of them.
    settled: bool,
}

/// Writes records into a store. One writer at a time; readers need none.
pub struct StoreWriter {
    root: PathBuf,
    options: WriterOptions,
    buffer: RecordBuffer,
    open: BTreeMap<u64, OpenSlot>,
    newest: u64,
    /// Superseded, but maybe still being read: they go with the next merge.
    garbage: Vec<PathBuf>,
    counters: StoreCounters,
    error: Option<Error>,
    _lock: File,
}

impl StoreWriter {
    /// Opens a store for writing; makes the directory if there is none, and removes what a crashed writer left.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another writer has it, [`Error::Io`] if it cannot be read or written.
    pub fn open(dir: impl AsRef<Path>, options: WriterOptions) -> Result<Self, Error> {
        let root = dir.as_ref().to_path_buf();
        let flows = segment::flows_dir(&root);
        fs::create_dir_all(&flows).map_err(|e| Error::io(&flows, e))?;
        let path = root.join("writer.lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| Error::io(&path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(root)),
            Err(TryLockError::Error(e)) => return Err(Error::io(&path, e)),
        }
        let mut writer = Self {
            root,
            options,
            buffer: RecordBuffer::new(),
            open: BTreeMap::new(),
            newest: 0,
            garbage: Vec::new(),
            counters: StoreCounters::default(),
            error: None,
            _lock: lock,
        };
        writer.clean_up()?;
        Ok(writer)
    }

    fn clean_up(&mut self) -> Result<(), Error> {
        for slot in segment::slots(&self.root, 0, u64::MAX)? {
            let files = segment::scan_slot(&self.root, slot)?;
            for path in &files.temporary {
                fs::remove_file(path).map_err(|e| Error::io(path, e))?;
                self.counters.removed_temporary_files += 1;
            }
            for segment in &files.superseded {
                fs::remove_file(&segment.path).map_err(|e| Error::io(&segment.path, e))?;
                self.counters.removed_superseded_segments += 1;
            }
            if files.live.len() > 1 {
                let last = files.live.last().map_or(0, |s| s.flushes.1);
                self.open.insert(slot, OpenSlot { last, fresh: files.live.len(), settled: false });
            }
        }
        Ok(())
    }

    /// Takes one record; flushes if enough are in memory.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub fn append(&mut self, record: &FlowRecord<'_>) -> Result<(), Error> {
        self.counters.received_records += 1;
        self.buffer.push(record);
        if self.buffer.rows() >= self.options.flush_rows || self.buffer.octets() >= self.options.flush_octets {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is in memory, and merges what is due. Afterwards every record taken so far is on disk or counted as
    /// dropped.
    ///
    /// # Errors
    ///
    /// The first that happened since the last call. Records of a segment that could not be written are dropped and
    /// counted; the others are stored.
    pub fn flush(&mut self) -> Result<(), Error> {
        let mut first = self.error.take();
        if let Err(e) = self.write_buffer() {
            first.get_or_insert(e);
        }
        if let Err(e) = self.merge_due() {
            first.get_or_insert(e);
        }
        first.map_or(Ok(()), Err)
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        let rows = self.buffer.rows();
        if rows == 0 {
            return Ok(());
        }
        let mut unwritten = u64::try_from(rows).unwrap_or(u64::MAX);
        let written = self.write_slots(&mut unwritten);
        self.counters.dropped_by_write_error += unwritten;
        self.counters.failed_flushes += u64::from(written.is_err());
        written
    }

    fn write_slots(&mut self, unwritten: &mut u64) -> Result<(), Error> {
        let batch = self.buffer.finish().map_err(Error::arrow)?;
        let order = segment::order(&batch, &["flow_end", "flow_start"])?;
        let ends = batch.column_by_name("flow_end").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
        let ends = ends.map_or(&[][..], |e| e.values());
        let mut slots: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for &row in order.values() {
            let end = usize::try_from(row).ok().and_then(|row| ends.get(row)).copied().unwrap_or(0);
            let end = Timestamp::from_nanos(u64::try_from(end).unwrap_or(0));
            slots.entry(segment::slot_of(end)).or_default().push(row);
        }
        let mut first_error = None;
        for (slot, rows) in slots {
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            let part = take_record_batch(&batch, &UInt32Array::from(rows)).map_err(Error::arrow)?;
            let written = self
                .next_flush(slot)
                .and_then(|n| segment::write(&self.root, slot, (n, n), &part, self.options.zstd_level));
            match written {
                Ok(octets) => {
                    self.counters.stored_records += count;
                    self.counters.written_segments += 1;
                    self.counters.written_octets += octets;
                    *unwritten -= count;
                    self.newest = self.newest.max(slot);
                }
                Err(e) => {
                    first_error.get_or_insert(e);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn next_flush(&mut self, slot: u64) -> Result<u64, Error> {
        if !self.open.contains_key(&slot) {
            let files = segment::scan_slot(&self.root, slot)?;
            let last = files.live.last().map_or(0, |s| s.flushes.1);
            self.open.insert(slot, OpenSlot { last, fresh: 0, settled: last > 0 && slot + 1 < self.newest });
        }
        let open = self.open.entry(slot).or_default();
        open.last += 1;
        open.fresh += 1;
        Ok(open.last)
    }

    fn merge_due(&mut self) -> Result<(), Error> {
        let surplus = self.open.len().saturating_sub(MAX_OPEN_SLOTS);
        let newest = self.newest;
        let mut due = Vec::new();
        for (index, (&slot, open)) in self.open.iter_mut().enumerate() {
            let is_over = slot + 1 < newest && !open.settled;
            if is_over || index < surplus || open.fresh >= self.options.merge_segments {
                open.settled |= is_over;
                due.push((slot, index < surplus));
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        self.collect_garbage();
        let mut first = None;
        for (slot, is_surplus) in due {
            if let Err(e) = self.merge_slot(slot) {
                self.counters.failed_merges += 1;
                first.get_or_insert(e);
            }
            if is_surplus {
                self.open.remove(&slot);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Merges runs of small segments of a slot.
    fn merge_slot(&mut self, slot: u64) -> Result<(), Error> {
        if let Some(open) = self.open.get_mut(&slot) {
            open.fresh = 0;
        }
        let mut run: Vec<Segment> = Vec::new();
        let mut run_rows = 0;
        for segment in segment::scan_slot(&self.root, slot)?.live {
            let rows = segment::rows(&segment.path)?;
            if run_rows + rows > self.options.merge_rows {
                self.merge_run(&run)?;
                run.clear();
                run_rows = 0;
            }
            run_rows += rows;
            run.push(segment);
        }
        self.merge_run(&run)
    }

    fn merge_run(&mut self, run: &[Segment]) -> Result<(), Error> {
        if run.len() < 2 {
            return Ok(());
        }
        segment::merge(&self.root, run, self.options.merged_zstd_level)?;
        self.counters.merged_segments += u64::try_from(run.len()).unwrap_or(u64::MAX);
        self.garbage.extend(run.iter().map(|s| s.path.clone()));
        Ok(())
    }

    /// Deletes what was superseded by an earlier merge. What cannot be deleted is, when the store is opened again.
    fn collect_garbage(&mut self) {
        for path in self.garbage.drain(..) {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes old slots. `now` decides what is old; a slot that began after it counts as the youngest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a directory cannot be read or a file not removed.
    pub fn retain(&mut self, retention: &Retention, now: Timestamp) -> Result<(), Error> {
        let mut sizes = BTreeMap::new();
        for slot in segment::slots(&self.root, 0, u64::MAX)? {
            let files = segment::scan_slot(&self.root, slot)?;
            sizes.insert(slot, files.live.iter().chain(&files.superseded).map(|s| s.octets).sum::<u64>());
        }
        let mut total: u64 = sizes.values().sum();
        let youngest = sizes.keys().next_back().copied();
        for (slot, octets) in sizes {
            let end = Timestamp::from_secs((slot + 1).saturating_mul(segment::SLOT_SECS));
            let is_old = retention.max_age.is_some_and(|age| now.since(end) > age);
            let is_too_much = retention.max_octets.is_some_and(|max| total > max) && Some(slot) != youngest;
            if !is_old && !is_too_much {
                break;
            }
            self.open.remove(&slot);
            let dir = segment::slot_dir(&self.root, slot);
            fs::remove_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
            // Day, month and year go with their last slot; a directory that is not empty stays.
            for parent in dir.ancestors().skip(1).take(3) {
                if fs::remove_dir(parent).is_err() {
                    break;
                }
            }
            total -= octets;
            self.counters.expired_slots += 1;
            self.counters.expired_octets += octets;
        }
        Ok(())
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> StoreCounters {
        self.counters
    }

    /// Flushes, merges every slot that was written to, and lets go of the store.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush). Dropping a writer without `close` loses what is in memory.
    pub fn close(mut self) -> Result<StoreCounters, Error> {
        let flushed = self.flush();
        let slots: Vec<u64> = self.open.iter().filter(|(_, open)| open.fresh > 0).map(|(&slot, _)| slot).collect();
        let merged = slots.into_iter().try_for_each(|slot| self.merge_slot(slot));
        self.collect_garbage();
        flushed.and(merged).map(|()| self.counters)
    }
}

impl RecordSink for StoreWriter {
    /// As [`append`](StoreWriter::append); an error is kept for the next [`flush`](StoreWriter::flush).
    fn record(&mut self, record: &FlowRecord<'_>) {
        if let Err(e) = self.append(record) {
            self.error.get_or_insert(e);
        }
    }
}
