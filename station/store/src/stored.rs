// SPDX-License-Identifier: MIT OR Apache-2.0
//! Columns back to flow records.

use std::net::{Ipv4Addr, Ipv6Addr};

use datafusion::arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, ListArray, RecordBatch, StringArray, StructArray, UInt16Array,
        UInt32Array,
    },
    datatypes::{Float64Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};

use weir_flow::{
    ExtraElement, FlowRecord, Statistics, Timestamp, Value,
    app::{AppFields, Fields as _},
};

use crate::schema::{self, APP, AppColumn, BASE, Kind};

/// A record as it came back from the store, owned.
#[derive(Clone, Debug, Default)]
pub struct StoredRecord {
    record: FlowRecord<'static>,
    app: Option<AppFields>,
    statistics: Option<Box<Statistics>>,
    extra: Vec<ExtraElement>,
}

impl StoredRecord {
    /// The record, borrowed.
    #[must_use]
    pub fn as_record(&self) -> FlowRecord<'_> {
        let app = self.app.as_ref().map(AppFields::borrow);
        FlowRecord { app, statistics: self.statistics.as_deref(), extra: &self.extra, ..self.record }
    }

    pub(crate) fn record_mut(&mut self) -> &mut FlowRecord<'static> {
        &mut self.record
    }
}

/// One cell; `scratch` holds what a value borrows but the column does not have as it is.
fn cell<'a>(array: &'a ArrayRef, kind: Kind, row: usize, scratch: &'a mut Vec<u8>) -> Option<Value<'a>> {
    if array.is_null(row) {
        return None;
    }
    Some(match kind {
        Kind::Float => Value::Float(array.as_primitive_opt::<Float64Type>()?.value(row)),
        Kind::Hex => {
            let text = array.as_string_opt::<i32>()?.value(row).as_bytes();
            scratch.clear();
            for pair in text.chunks_exact(2) {
                scratch.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
            }
            Value::Octets(scratch)
        }
        Kind::Ip => {
            let text = array.as_string_opt::<i32>()?.value(row);
            match text.parse::<Ipv4Addr>() {
                Ok(address) => Value::Ipv4(address.octets()),
                Err(_) => Value::Ipv6(text.parse::<Ipv6Addr>().ok()?.octets()),
            }
        }
        Kind::Ipv4 => Value::Ipv4(array.as_primitive_opt::<UInt32Type>()?.value(row).to_be_bytes()),
        Kind::Ipv6 => Value::Ipv6(array.as_fixed_size_binary_opt()?.value(row).try_into().ok()?),
        Kind::Signed => Value::Signed(array.as_primitive_opt::<Int64Type>()?.value(row)),
        Kind::Text => Value::Text(array.as_string_opt::<i32>()?.value(row).as_bytes()),
        Kind::Time => {
            let nanos = array.as_primitive_opt::<TimestampNanosecondType>()?.value(row);
            Value::Time(Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(0)))
        }
        Kind::Unsigned16 => Value::Unsigned(array.as_primitive_opt::<UInt16Type>()?.value(row).into()),
        Kind::Unsigned32 => Value::Unsigned(array.as_primitive_opt::<UInt32Type>()?.value(row).into()),
        Kind::Unsigned64 => Value::Unsigned(array.as_primitive_opt::<UInt64Type>()?.value(row)),
        Kind::Unsigned8 => Value::Unsigned(array.as_primitive_opt::<UInt8Type>()?.value(row).into()),
    })
}

fn list_at(array: &ArrayRef, row: usize) -> Option<ArrayRef> {
    let list = array.as_any().downcast_ref::<ListArray>()?;
    list.is_valid(row).then(|| list.value(row))
}

fn part<T: 'static>(parts: &StructArray, index: usize) -> Option<&T> {
    parts.columns().get(index)?.as_any().downcast_ref()
}

/// A batch whose columns are looked up once. Columns that are missing read as null.
pub(crate) struct Rows<'a> {
    base: Vec<Option<&'a ArrayRef>>,
    exporter: Option<&'a StringArray>,
    application: Option<&'a StringArray>,
    app: Vec<Option<&'a ArrayRef>>,
    extra: Option<&'a ArrayRef>,
    raw: Option<&'a ArrayRef>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(batch: &'a RecordBatch) -> Self {
        Self {
            base: BASE.iter().map(|c| batch.column_by_name(c.name)).collect(),
            exporter: batch.column_by_name(schema::EXPORTER).and_then(|a| a.as_string_opt()),
            application: batch.column_by_name(schema::APPLICATION).and_then(|a| a.as_string_opt()),
            app: APP.iter().map(|c| batch.column_by_name(&c.name)).collect(),
            extra: batch.column_by_name(schema::EXTRA),
            raw: batch.column_by_name(schema::RAW_TEXT),
        }
    }

    /// The record in a row of the batch.
    pub(crate) fn read(&self, row: usize) -> StoredRecord {
        let mut stored = StoredRecord::default();
        let mut scratch = Vec::new();
        for (array, column) in self.base.iter().zip(BASE) {
            if let Some(value) = array.and_then(|a| cell(a, column.kind, row, &mut scratch)) {
                (column.set)(&mut stored.record, value);
            }
        }
        let text = |a: Option<&'a StringArray>| a.filter(|a| a.is_valid(row)).map(|a| a.value(row));
        stored.record.origin.exporter = text(self.exporter).and_then(|t| t.parse().ok());
        stored.app = text(self.application).and_then(AppFields::new);
        if let (Some(app), Some(slug)) = (&mut stored.app, text(self.application)) {
            let raw = self.raw_text(row);
            for (array, column) in self.app.iter().zip(APP.iter()).filter(|(_, c)| c.slug == slug) {
                if let Some(array) = array {
                    read_field(column, array, row, &raw, &mut |value| app.assign(column.row.field, value));
                }
            }
        }
        for (array, column) in self.app.iter().zip(APP.iter()).filter(|(_, c)| c.is_statistic()) {
            if let Some(array) = array.filter(|array| array.is_valid(row)) {
                let statistics = stored.statistics.get_or_insert_default();
                read_field(column, array, row, &[], &mut |value| statistics.assign(column.row.field, value));
            }
        }
        if let Some(items) = self.extra.and_then(|a| list_at(a, row)) {
            stored.extra = extra_elements(&items).unwrap_or_default();
        }
        stored
    }

    fn raw_text(&self, row: usize) -> Vec<(String, u32, Vec<u8>)> {
        let read = || {
            let items = list_at(self.raw?, row)?;
            let parts = items.as_struct_opt()?;
            let columns = part::<StringArray>(parts, 0)?;
            let places = part::<UInt32Array>(parts, 1)?;
            let octets = part::<BinaryArray>(parts, 2)?;
            let raw = |i| (columns.value(i).to_owned(), places.value(i), octets.value(i).to_vec());
            Some((0..parts.len()).map(raw).collect())
        };
        read().unwrap_or_default()
    }
}

fn extra_elements(items: &ArrayRef) -> Option<Vec<ExtraElement>> {
    let parts = items.as_struct_opt()?;
    let enterprise = part::<UInt32Array>(parts, 0)?;
    let id = part::<UInt16Array>(parts, 1)?;
    let octets = part::<BinaryArray>(parts, 2)?;
    let element =
        |i| ExtraElement { enterprise: enterprise.value(i), id: id.value(i), octets: octets.value(i).to_vec() };
    Some((0..parts.len()).map(element).collect())
}

fn read_field(
    column: &AppColumn,
    array: &ArrayRef,
    row: usize,
    raw: &[(String, u32, Vec<u8>)],
    take: &mut dyn FnMut(Value<'_>) -> bool,
) {
    let mut scratch = Vec::new();
    let mut assign = |array: &ArrayRef, row: usize, item: usize| {
        let raw = raw.iter().find(|(name, at, _)| *name == column.name && u32::try_from(item) == Ok(*at));
        let value = match raw {
            Some((_, _, octets)) => Some(Value::Text(octets)),
            None => cell(array, column.kind, row, &mut scratch),
        };
        if let Some(value) = value {
            take(value);
        }
    };
    if column.row.list {
        if let Some(items) = list_at(array, row) {
            for item in 0..items.len() {
                assign(&items, item, item);
            }
        }
    } else if array.is_valid(row) {
        assign(array, row, 0);
    }
}
