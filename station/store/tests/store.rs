// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written comes back, whole and once, whatever happens in between.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{Owned, T0, read, store, uniflow};
use parquet::{basic::Compression, file::metadata::ParquetMetaDataReader};
use proptest::prelude::*;
use weir_flow::{RecordSink, Timestamp};
use weir_store::{Error, Filter, Retention, Store, StoreWriter, Window, WriterOptions};

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.join("flows")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let parts: Vec<_> = path.iter().rev().take(2).map(|p| p.to_str().unwrap()).collect();
                found.push(format!("{}/{}", parts[1], parts[0]));
            }
        }
    }
    found.sort();
    found
}

fn key(record: &Owned) -> String {
    format!("{record:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_record_comes_back_as_it_was(records in prop::collection::vec(common::record(), 1..40)) {
        let (_dir, store) = store(&records);
        let found = read(&store, Window::ALL, &Filter::any());
        let ends: Vec<_> = found.iter().map(|r| r.record.end()).collect();
        prop_assert!(ends.is_sorted());
        let mut found: Vec<_> = found.iter().map(key).collect();
        let mut expected: Vec<_> = records.iter().map(key).collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

fn at(millis: u64) -> Owned {
    uniflow("10.0.0.1", "10.0.0.2", (1, 2), 6, (millis, 0), (1, millis))
}

#[test]
fn the_end_of_the_flow_decides_the_slot() {
    let long = uniflow("10.0.0.1", "10.0.0.2", (1, 2), 6, (0, 300_000), (1, 40));
    let (dir, store) = store(&[at(0), at(299_999), at(300_000), long]);
    assert_eq!(files(dir.path()), ["1405/00000001-00000001.parquet", "1410/00000001-00000001.parquet"]);
    let window = |text| Window::parse(text, Timestamp::ZERO).unwrap();
    assert_eq!(read(&store, window("2026/11/20.14:05-2026/11/20.14:09"), &Filter::any()).len(), 2);
    assert_eq!(read(&store, window("2026/11/20.14:10"), &Filter::any()).len(), 2);
    // A window that is no whole slot.
    assert_eq!(read(&store, window("2026/11/20.14:09:59"), &Filter::any()), [at(299_999)]);
}

#[test]
fn what_a_crash_leaves_is_neither_read_nor_kept() {
    let (dir, store) = store(&[at(0)]);
    let slot = dir.path().join("flows/2026/11/20/1405");
    fs::write(slot.join(".00000002-00000002.tmp"), b"PAR1 half a file").unwrap();
    // A merge whose parts were not deleted: the part is in the merged file.
    fs::copy(slot.join("00000001-00000001.parquet"), slot.join("00000001-00000003.parquet")).unwrap();
    fs::write(slot.join("00000002-00000003.parquet"), b"superseded, not even read").unwrap();
    assert_eq!(read(&store, Window::ALL, &Filter::any()), [at(0)]);

    let mut writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    assert_eq!(writer.counters().removed_temporary_files, 1);
    assert_eq!(writer.counters().removed_superseded_segments, 2);
    assert_eq!(files(dir.path()), ["1405/00000001-00000003.parquet"]);
    // Numbers go on after the last.
    writer.append(&at(1).as_record()).unwrap();
    writer.flush().unwrap();
    assert_eq!(files(dir.path()), ["1405/00000001-00000003.parquet", "1405/00000004-00000004.parquet"]);
    assert_eq!(read(&store, Window::ALL, &Filter::any()), [at(0), at(1)]);
}

#[test]
fn small_segments_are_merged_when_the_slot_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    for millis in 0..3 {
        writer.append(&at(millis).as_record()).unwrap();
        writer.flush().unwrap();
        assert_eq!(read(&store, Window::ALL, &Filter::any()).len() as u64, millis + 1);
    }
    assert_eq!(files(dir.path()).len(), 3);
    writer.append(&at(600_000).as_record()).unwrap();
    writer.flush().unwrap();
    // Whoever reads the parts may go on; they are superseded.
    assert_eq!(files(dir.path()).len(), 5);
    assert_eq!(read(&store, Window::ALL, &Filter::any()).len(), 4);
    let counters = writer.close().unwrap();
    assert_eq!((counters.received_records, counters.stored_records, counters.merged_segments), (4, 4, 3));
    assert_eq!(files(dir.path()), ["1405/00000001-00000003.parquet", "1415/00000001-00000001.parquet"]);
    assert_eq!(read(&store, Window::ALL, &Filter::any()), [at(0), at(1), at(2), at(600_000)]);
}

#[test]
fn a_merge_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = WriterOptions { flush_rows: 4, merge_rows: 10, ..WriterOptions::default() };
    let mut writer = StoreWriter::open(dir.path(), options).unwrap();
    for millis in 0..24 {
        writer.record(&at(millis).as_record());
    }
    writer.close().unwrap();
    assert_eq!(files(dir.path()).len(), 3);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(read(&store, Window::ALL, &Filter::any()), (0..24).map(at).collect::<Vec<_>>());
}

#[test]
fn records_that_cannot_be_written_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    // A file where the slot's directory should be.
    fs::create_dir_all(dir.path().join("flows/2026/11/20")).unwrap();
    fs::write(dir.path().join("flows/2026/11/20/1405"), b"").unwrap();
    writer.append(&at(0).as_record()).unwrap();
    writer.append(&at(300_000).as_record()).unwrap();
    assert!(matches!(writer.flush(), Err(Error::Io { .. })));
    let counters = writer.counters();
    assert_eq!(
        (counters.received_records, counters.stored_records, counters.dropped_by_write_error, counters.failed_flushes),
        (2, 1, 1, 1)
    );
    // The store goes on.
    writer.append(&at(300_001).as_record()).unwrap();
    writer.flush().unwrap();
}

#[test]
fn old_slots_expire_and_the_youngest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    for slot in 0..4 {
        writer.append(&at(slot * 300_000).as_record()).unwrap();
    }
    writer.flush().unwrap();
    let by_age = Retention { max_age: Some(Duration::from_secs(600)), max_octets: None };
    writer.retain(&by_age, Timestamp::from_secs(T0 + 901)).unwrap();
    assert_eq!(writer.counters().expired_slots, 1);
    writer.retain(&Retention { max_age: None, max_octets: Some(0) }, Timestamp::from_secs(T0)).unwrap();
    assert_eq!(writer.counters().expired_slots, 3);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(read(&store, Window::ALL, &Filter::any()), [at(900_000)]);
}

#[test]
fn a_file_says_what_it_is_and_has_its_indexes() {
    let (dir, _store) = store(&[at(0), uniflow("2001:db8::1", "2001:db8::2", (1, 2), 17, (5, 0), (1, 1))]);
    let file = fs::File::open(dir.path().join("flows/2026/11/20/1405/00000001-00000001.parquet")).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let version = metadata.file_metadata().key_value_metadata().unwrap().iter().find(|kv| kv.key == "weir.schema");
    assert_eq!(version.unwrap().value.as_deref(), Some("1"));
    for column in metadata.row_group(0).columns() {
        let name = column.column_path().string();
        let wants =
            ["src4", "dst4", "src6", "dst6", "flow_id", "dns_query_name", "tls_server_name", "http_request_host"];
        assert_eq!(column.bloom_filter_offset().is_some(), wants.contains(&name.as_str()), "{name}");
        assert!(column.offset_index_offset().is_some(), "{name}");
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{name}");
    }
}

#[test]
fn one_writer_at_a_time_and_no_store_no_reader() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Missing(_))));
    let _writer = StoreWriter::open(dir.path(), WriterOptions::default()).unwrap();
    assert!(matches!(StoreWriter::open(dir.path(), WriterOptions::default()), Err(Error::Locked(_))));
}
