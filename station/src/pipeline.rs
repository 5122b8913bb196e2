// SPDX-License-Identifier: MIT OR Apache-2.0
//! What records go through behind the collecting process: store, then analysis.

use std::{
    fs::File,
    io::LineWriter,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use weir_analysis::{AlertSink, Config, Engine, EngineCounters, Fanout, Lines};
use weir_flow::{FlowRecord, RecordSink, Timestamp};
use weir_store::{StoreCounters, StoreWriter, WriterOptions};

/// Name of this installation in IDEA messages.
pub const NODE: &str = "weir";

/// What was stored and judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub stored: StoreCounters,
    pub judged: EngineCounters,
}

/// Stores and judges records.
pub struct Pipeline {
    store: StoreWriter,
    engine: Option<Engine>,
    counts: Arc<Mutex<Counts>>,
    /// The store could not be written when it was last tried.
    failing: bool,
}

impl Pipeline {
    /// A pipeline into the store at `data`; with `detect`, alerts go to files beside it.
    ///
    /// # Errors
    ///
    /// If the store or the files cannot be opened.
    pub fn open(data: &Path, detect: bool) -> anyhow::Result<Self> {
        let store = StoreWriter::open(data, WriterOptions::default())
            .with_context(|| format!("cannot open the store at {}", data.display()))?;
        // From now on it holds what nobody may replace.
        match std::fs::remove_file(data.join(crate::demo::MARK)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let engine = if detect {
            let mut engine = Engine::new(&Config::default(), Box::new(Fanout(alert_files(data)?)));
            engine.set_wall_clock(Some(now()));
            Some(engine)
        } else {
            None
        };
        Ok(Self { store, engine, counts: Arc::default(), failing: false })
    }

    /// Shows to other threads what was done up to the last tick.
    pub fn counts(&self) -> impl Fn() -> Counts + Send + Sync + use<> {
        let counts = Arc::clone(&self.counts);
        move || *counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time passes: what is in memory goes to disk, attacks that are over are ended.
    pub fn tick(&mut self) {
        // The writer counts what it could not write. It is said when it begins and when it ends, not each time.
        match self.store.flush() {
            Err(error) if !self.failing => {
                eprintln!("weir: records are lost, the store cannot be written: {error}");
                self.failing = true;
            }
            Ok(()) if self.failing => {
                let lost = self.store.counters().dropped_by_write_error;
                eprintln!("weir: the store can be written again; {lost} records were lost so far");
                self.failing = false;
            }
            _ => {}
        }
        if let Some(engine) = &mut self.engine {
            let now = now();
            engine.set_wall_clock(Some(now));
            engine.tick(now);
        }
        let judged = self.engine.as_ref().map_or_else(EngineCounters::default, |engine| *engine.counters());
        let counts = Counts { stored: self.store.counters(), judged };
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Ends all attacks and closes the store.
    ///
    /// # Errors
    ///
    /// If something could not be written.
    pub fn close(mut self) -> anyhow::Result<StoreCounters> {
        if let Some(engine) = &mut self.engine {
            engine.finish();
        }
        Ok(self.store.close()?)
    }
}

impl RecordSink for Pipeline {
    fn record(&mut self, record: &FlowRecord<'_>) {
        // An error is kept by the writer, and comes up with the next flush.
        let _ = self.store.append(record);
        if let Some(engine) = &mut self.engine {
            engine.record(record);
        }
    }
}

/// `alerts.jsonl` and `alerts.idea.jsonl` in a folder; what is there is kept. Each alert is written at once: others read
/// the files while they grow.
///
/// # Errors
///
/// If they cannot be opened.
pub fn alert_files(folder: &Path) -> anyhow::Result<Vec<Box<dyn AlertSink>>> {
    let open = |name: &str| {
        let path = folder.join(name);
        let file = File::options().create(true).append(true).open(&path);
        file.map(LineWriter::new).with_context(|| format!("cannot write {}", path.display()))
    };
    Ok(vec![Box::new(Lines::json(open("alerts.jsonl")?)), Box::new(Lines::idea(open("alerts.idea.jsonl")?, NODE))])
}

/// The wall clock.
pub fn now() -> Timestamp {
    Timestamp::ZERO.after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
