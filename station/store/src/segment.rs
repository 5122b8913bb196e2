// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments: the files of a store, their names, and how one comes to be.
//!
//! ```text
//! DIR/writer.lock                                    held by the one writer
//! DIR/flows/2026/11/20/1405/00000001-00000001.parquet   what one flush wrote
//!                           00000002-00000005.parquet   what was 2, 3, 4 and 5, merged
//!                           .00000006-00000006.tmp      being written, or left by a crash
//! ```
//!
//! A slot is five minutes of event time, the end of the flow, UTC. Within a slot each flush has the next number, and the
//! name says which numbers a file holds. A file whose numbers are all in another file is *superseded*: readers leave it
//! out. So a merge is one rename, and a crash before the parts are deleted duplicates nothing.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::arrow::{
    array::{RecordBatch, UInt32Array, new_null_array},
    compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
    schema::types::ColumnPath,
};

use weir_flow::Timestamp;

use crate::{Error, schema};

/// Length of a slot.
pub const SLOT_SECS: u64 = 300;

/// Rows of a page: what a reader skips at a time.
const PAGE_ROWS: usize = 20_000;
/// Rows of a row group. Smaller groups cost bytes: 128 Ki rows took 10 to 14 % more than 512 Ki.
const GROUP_ROWS: usize = 512 * 1024;
/// Columns that are asked for by equality.
const BLOOM: &[&str] =
    &["src4", "dst4", "src6", "dst6", "flow_id", "http_request_host", "dns_query_name", "tls_server_name"];

/// Number of the slot that a point in time falls into.
pub(crate) fn slot_of(ts: Timestamp) -> u64 {
    ts.as_secs() / SLOT_SECS
}

/// One file of the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Slot, in units of [`SLOT_SECS`] since 1970.
    pub slot: u64,
    /// First and last flush that it holds.
    pub flushes: (u64, u64),
    /// Where it is.
    pub path: PathBuf,
    /// Its size in octets.
    pub octets: u64,
}

/// What a walk over the store found in one slot.
#[derive(Default)]
pub(crate) struct SlotFiles {
    pub(crate) live: Vec<Segment>,
    pub(crate) superseded: Vec<Segment>,
    pub(crate) temporary: Vec<PathBuf>,
}

pub(crate) fn flows_dir(root: &Path) -> PathBuf {
    root.join("flows")
}

pub(crate) fn slot_dir(root: &Path, slot: u64) -> PathBuf {
    let secs = i64::try_from(slot.saturating_mul(SLOT_SECS)).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX).to_zoned(jiff::tz::TimeZone::UTC);
    flows_dir(root).join(time.strftime("%Y/%m/%d/%H%M").to_string())
}

fn file_name((first, last): (u64, u64)) -> String {
    format!("{first:08}-{last:08}")
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".parquet")?.split_once('-')?;
    let flushes = (first.parse().ok()?, last.parse().ok()?);
    (flushes.0 <= flushes.1).then_some(flushes)
}

/// Names of the entries of a directory that are numbers; none if there is no such directory.
fn numbers(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(dir, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(dir, e))?;
        if let Some(number) = entry.file_name().to_str().and_then(|n| n.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Slots with a directory, from `first` to `last` inclusive, in order.
pub(crate) fn slots(root: &Path, first: u64, last: u64) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    let day_of = |slot: u64| slot / (86_400 / SLOT_SECS);
    for (year, path) in numbers(&flows_dir(root))? {
        for (month, path) in numbers(&path)? {
            for (day, path) in numbers(&path)? {
                let Some(midnight) = midnight(year, month, day) else { continue };
                if day_of(midnight) < day_of(first) || day_of(midnight) > day_of(last) {
                    continue;
                }
                for (time, _) in numbers(&path)? {
                    let slot = midnight + (time / 100 * 3600 + time % 100 * 60) / SLOT_SECS;
                    if (first..=last).contains(&slot) {
                        found.push(slot);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// First slot of a day.
fn midnight(year: u64, month: u64, day: u64) -> Option<u64> {
    let date =
        jiff::civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let time = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(u64::try_from(time.as_second()).ok()? / SLOT_SECS)
}

/// The files of one slot; nothing if the slot has just been removed.
pub(crate) fn scan_slot(root: &Path, slot: u64) -> Result<SlotFiles, Error> {
    let dir = slot_dir(root, slot);
    let mut found = SlotFiles::default();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(Error::io(&dir, e)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(&dir, e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') && name.ends_with(".tmp") {
            found.temporary.push(entry.path());
        } else if let Some(flushes) = parse_name(name) {
            // Gone since the directory was read: retention or a merge.
            let Ok(meta) = entry.metadata() else { continue };
            segments.push(Segment { slot, flushes, path: entry.path(), octets: meta.len() });
        }
    }
    // The widest of those that begin together comes first, so that what it holds comes after it.
    segments.sort_unstable_by_key(|s| (s.flushes.0, std::cmp::Reverse(s.flushes.1)));
    let mut last = None;
    for segment in segments {
        if last.is_some_and(|last| segment.flushes.1 <= last) {
            found.superseded.push(segment);
        } else {
            last = Some(segment.flushes.1);
            found.live.push(segment);
        }
    }
    Ok(found)
}

/// Live files of all slots from `first` to `last`, in order of time.
pub(crate) fn live(root: &Path, first: u64, last: u64) -> Result<BTreeMap<u64, Vec<Segment>>, Error> {
    let mut found = BTreeMap::new();
    for slot in slots(root, first, last)? {
        let live = scan_slot(root, slot)?.live;
        if !live.is_empty() {
            found.insert(slot, live);
        }
    }
    Ok(found)
}

fn properties(zstd_level: i32, rows: usize) -> Result<WriterProperties, Error> {
    let level = ZstdLevel::try_new(zstd_level).map_err(Error::parquet)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_created_by(format!("weir {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![KeyValue::new(schema::VERSION_KEY.to_owned(), schema::VERSION.to_owned())]));
    let values = u64::try_from(rows.min(GROUP_ROWS)).unwrap_or(u64::MAX).max(1);
    for column in BLOOM {
        let path = ColumnPath::from(*column);
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(path, values);
    }
    Ok(properties.build())
}

/// Makes a directory and its parents last.
fn create_dir_synced(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    create_dir_synced(parent)?;
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io(dir, e)),
        _ => {}
    }
    sync_dir(parent)
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    // An empty parent is the current directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, e))
}

/// Writes one segment: under a temporary name, synced, renamed, the directory synced. Gives its size in octets.
pub(crate) fn write(
    root: &Path,
    slot: u64,
    flushes: (u64, u64),
    batch: &RecordBatch,
    level: i32,
) -> Result<u64, Error> {
    let dir = slot_dir(root, slot);
    create_dir_synced(&dir)?;
    let temporary = dir.join(format!(".{}.tmp", file_name(flushes)));
    let path = dir.join(format!("{}.parquet", file_name(flushes)));
    let written = write_file(&temporary, batch, level)
        .and_then(|octets| fs::rename(&temporary, &path).map(|()| octets).map_err(|e| Error::io(&path, e)));
    if written.is_err() {
        // The disk may be full: what cannot be used must not stay. If even that fails, the next start cleans up.
        let _ = fs::remove_file(&temporary);
    }
    sync_dir(&dir)?;
    written
}

fn write_file(path: &Path, batch: &RecordBatch, level: i32) -> Result<u64, Error> {
    let file = File::create(path).map_err(|e| Error::io(path, e))?;
    let mut writer = ArrowWriter::try_new(&file, batch.schema(), Some(properties(level, batch.num_rows())?))
        .map_err(Error::parquet)?;
    writer.write(batch).map_err(Error::parquet)?;
    writer.close().map_err(Error::parquet)?;
    file.sync_all().map_err(|e| Error::io(path, e))?;
    Ok(file.metadata().map_err(|e| Error::io(path, e))?.len())
}

/// All rows of a file, with today's columns: those that an older file lacks are null.
fn read(path: &Path) -> Result<Vec<RecordBatch>, Error> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.build()).map_err(Error::parquet)?;
    let schema = schema::schema();
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.map_err(Error::arrow)?;
        let column = |field: &Arc<datafusion::arrow::datatypes::Field>| {
            batch
                .column_by_name(field.name())
                .cloned()
                .unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
        };
        let columns = schema.fields().iter().map(column).collect();
        batches.push(RecordBatch::try_new(schema.clone(), columns).map_err(Error::arrow)?);
    }
    Ok(batches)
}

/// Number of rows by the file's own account.
pub(crate) fn rows(path: &Path) -> Result<usize, Error> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::parquet)?;
    Ok(usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0))
}

/// Merges segments of one slot that follow each other, sorted by addresses and time: a question about one host then reads
/// few pages. The parts are superseded by it, and are the caller's to delete.
pub(crate) fn merge(root: &Path, parts: &[Segment], level: i32) -> Result<u64, Error> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(0) };
    let mut batches = Vec::new();
    for part in parts {
        batches.extend(read(&part.path)?);
    }
    let batch = concat_batches(&schema::schema(), &batches).map_err(Error::arrow)?;
    drop(batches);
    let sorted = sort(&batch, &["src4", "src6", "dst4", "dst6", "flow_end"])?;
    drop(batch);
    write(root, first.slot, (first.flushes.0, last.flushes.1), &sorted, level)
}

/// A batch in the order of these columns.
fn sort(batch: &RecordBatch, columns: &[&str]) -> Result<RecordBatch, Error> {
    take_record_batch(batch, &order(batch, columns)?).map_err(Error::arrow)
}

/// The rows of a batch in the order of these columns.
pub(crate) fn order(batch: &RecordBatch, columns: &[&str]) -> Result<UInt32Array, Error> {
    let columns: Vec<SortColumn> = columns
        .iter()
        .filter_map(|c| batch.column_by_name(c))
        .map(|values| SortColumn { values: values.clone(), options: None })
        .collect();
    lexsort_to_indices(&columns, None).map_err(Error::arrow)
}
