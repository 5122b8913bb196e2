// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reading side: which files hold what, and the query engine over them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::{
    arrow::array::RecordBatch,
    catalog::TableProvider,
    dataframe::DataFrame,
    datasource::{
        empty::EmptyTable,
        file_format::parquet::ParquetFormat,
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, memory_pool::FairSpillPool, object_store::ObjectStoreUrl,
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::{Expr, SortExpr, ident, lit},
    object_store::local::LocalFileSystem,
    prelude::{SessionConfig, SessionContext},
    scalar::ScalarValue,
};
use futures::StreamExt;

use weir_flow::{RecordSink, Timestamp};

use crate::{
    Error, Filter, Window, schema,
    segment::{self, SLOT_SECS, Segment},
    stored::Rows,
};

/// Where the engine finds the files: a store of its own, so that no query reads anything else.
const LOCATION: &str = "weir://store";
/// Compressed octets that are sorted at a time when records are listed in the order of time.
const CHUNK_OCTETS: u64 = 32 << 20;

/// A store to read from. Many may read at a time, also while one writes.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    options: StoreOptions,
}

/// How a store is read.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Octets of memory for one query; what sorts and groups need beyond that goes to temporary files.
    pub memory: usize,
    /// Threads' worth of work per query.
    pub partitions: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { memory: 1 << 30, partitions: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// Slots next to each other, with their files.
pub(crate) struct Chunk {
    first: u64,
    last: u64,
}

impl Store {
    /// Opens a store for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is none.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(dir, StoreOptions::default())
    }

    /// Opens a store for reading, within bounds.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is none.
    pub fn open_with(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, Error> {
        let root = dir.as_ref().to_path_buf();
        if !segment::flows_dir(&root).is_dir() {
            return Err(Error::Missing(root));
        }
        Ok(Self { root, options })
    }

    pub(crate) fn session(&self, filters_while_reading: bool) -> Result<SessionContext, Error> {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.options.partitions.max(1))
            .with_information_schema(false)
            .with_collect_statistics(false);
        let parquet = &mut config.options_mut().execution.parquet;
        // Pays where few rows of many columns are wanted, costs where many rows of few columns are summed.
        parquet.pushdown_filters = filters_while_reading;
        parquet.reorder_filters = filters_while_reading;
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(self.options.memory))).build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        let files = LocalFileSystem::new_with_prefix(&self.root).map_err(DataFusionError::from)?;
        context.register_object_store(ObjectStoreUrl::parse(LOCATION)?.as_ref(), Arc::new(files));
        Ok(context)
    }

    fn table(&self, segments: &[Segment]) -> Result<Arc<dyn TableProvider>, Error> {
        if segments.is_empty() {
            return Ok(Arc::new(EmptyTable::new(schema::schema())));
        }
        let mut paths = Vec::with_capacity(segments.len());
        for segment in segments {
            let path = segment.path.strip_prefix(&self.root).unwrap_or(&segment.path);
            paths.push(ListingTableUrl::parse(format!("{LOCATION}/{}", path.display()))?);
        }
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config =
            ListingTableConfig::new_with_multi_paths(paths).with_listing_options(options).with_schema(schema::schema());
        Ok(Arc::new(ListingTable::try_new(config)?))
    }

    /// The live segments of a window.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a directory cannot be read.
    pub fn segments(&self, window: Window) -> Result<Vec<Segment>, Error> {
        let chunk = Chunk::of(window);
        Ok(segment::live(&self.root, chunk.first, chunk.last)?.into_values().flatten().collect())
    }

    /// All flows of a chunk as a table.
    pub(crate) fn flows(&self, context: &SessionContext, chunk: &Chunk) -> Result<Arc<dyn TableProvider>, Error> {
        let _ = context;
        let segments: Vec<_> = segment::live(&self.root, chunk.first, chunk.last)?.into_values().flatten().collect();
        self.table(&segments)
    }

    /// The window in chunks that are small enough to be sorted one after the other.
    pub(crate) fn chunks(&self, window: Window) -> Result<Vec<Chunk>, Error> {
        let Chunk { first, last } = Chunk::of(window);
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut octets = 0;
        for (slot, segments) in segment::live(&self.root, first, last)? {
            let here: u64 = segments.iter().map(|s| s.octets).sum();
            match chunks.last_mut() {
                Some(chunk) if octets + here <= CHUNK_OCTETS => chunk.last = slot,
                _ => {
                    octets = 0;
                    chunks.push(Chunk { first: slot, last: slot });
                }
            }
            octets += here;
        }
        Ok(chunks)
    }

    /// Runs a plan over a chunk. If a file vanished between listing and reading (merged, expired), once more.
    pub(crate) async fn run(
        &self,
        chunk: &Chunk,
        filters_while_reading: bool,
        plan: impl Fn(DataFrame) -> Result<DataFrame, DataFusionError>,
    ) -> Result<Batches, Error> {
        let mut again = true;
        loop {
            let context = self.session(filters_while_reading)?;
            let table = context.read_table(self.flows(&context, chunk)?)?;
            let mut stream = plan(table)?.execute_stream().await?;
            match stream.next().await {
                Some(Err(e)) if again && is_not_found(&e) => again = false,
                Some(Err(e)) => return Err(e.into()),
                first => return Ok(Batches { first: first.and_then(Result::ok), stream }),
            }
        }
    }

    /// Gives every record of the window that passes the filter to the sink, in the order in which the flows ended; those
    /// that ended at the same time in the order of their start. Gives their number.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Query`]. The sink has then had a part.
    pub async fn for_each_record(
        &self,
        window: Window,
        filter: &Filter,
        sink: &mut dyn RecordSink,
    ) -> Result<u64, Error> {
        let mut count = 0;
        for chunk in self.chunks(window)? {
            let mut batches =
                self.run(&chunk, true, |t| in_time_order(select(t, window, &chunk, filter)?, None)).await?;
            while let Some(batch) = batches.next().await? {
                let rows = Rows::new(&batch);
                for row in 0..batch.num_rows() {
                    sink.record(&rows.read(row).as_record());
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

impl Chunk {
    pub(crate) fn of(window: Window) -> Self {
        let last = Timestamp::from_nanos(window.until.as_nanos().saturating_sub(1));
        Self { first: segment::slot_of(window.from), last: segment::slot_of(last) }
    }

    fn is_within(&self, window: Window) -> bool {
        let end = self.last.saturating_add(1).saturating_mul(SLOT_SECS);
        window.is_all()
            || (window.from <= Timestamp::from_secs(self.first * SLOT_SECS)
                && Timestamp::from_secs(end) <= window.until)
    }
}

/// Batches of an answer.
pub(crate) struct Batches {
    first: Option<RecordBatch>,
    stream: SendableRecordBatchStream,
}

impl Batches {
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        Ok(self.stream.next().await.transpose()?)
    }

    pub(crate) async fn all(mut self) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

fn is_not_found(error: &DataFusionError) -> bool {
    let text = error.to_string();
    text.contains("No such file") || text.contains("not found")
}

fn time_literal(ts: Timestamp) -> Expr {
    let nanos = i64::try_from(ts.as_nanos()).unwrap_or(i64::MAX);
    lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("+00:00".into())))
}

/// The rows of the window that pass the filter. A question about hosts on either side is asked for each side, since the
/// engine uses no bloom filter through an `or`.
pub(crate) fn select(
    table: DataFrame,
    window: Window,
    chunk: &Chunk,
    filter: &Filter,
) -> Result<DataFrame, DataFusionError> {
    let mut table = table;
    if !chunk.is_within(window) {
        let end = || ident("flow_end");
        table = table.filter(end().gt_eq(time_literal(window.from)).and(end().lt(time_literal(window.until))))?;
    }
    match filter.split_sides() {
        Some((src, dst)) => table.clone().filter(src.to_expr())?.union(table.filter(dst.to_expr())?),
        None if *filter == Filter::any() => Ok(table),
        None => table.filter(filter.to_expr()),
    }
}

/// What tells records apart that ended at the same time, so that an answer is the same every time.
pub(crate) const TIE_BREAKERS: &[&str] = &[
    "flow_end",
    "flow_start",
    "flow_id",
    "src4",
    "src6",
    "dst4",
    "dst6",
    "src_port",
    "dst_port",
    "protocol",
    "octets",
];

pub(crate) fn sort_by(columns: &[&str]) -> Vec<SortExpr> {
    columns.iter().map(|c| ident(*c).sort(true, true)).collect()
}

pub(crate) fn in_time_order(table: DataFrame, limit: Option<usize>) -> Result<DataFrame, DataFusionError> {
    let table = table.sort(sort_by(TIE_BREAKERS))?;
    match limit {
        Some(limit) => table.limit(0, Some(limit)),
        None => Ok(table),
    }
}
