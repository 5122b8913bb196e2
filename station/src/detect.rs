// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir detect`: alerts from stored flows.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::bail;
use weir_analysis::{AlertSink, Config, Engine, EngineCounters, Lines};
use weir_collector::read_file;

use crate::{Usage, pipeline::NODE, query};

/// Look for attacks in stored flows; alerts go to standard output, one a line
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A store, or an IPFIX file
    #[arg(long, value_name = "DIR|FILE")]
    read: PathBuf,

    /// Form of the alerts: json or idea
    #[arg(short = 'o', long, value_name = "FORM", default_value = "json")]
    output: String,

    /// Only flows that ended in this window: 2026/11/20.14:05-2026/11/20.14:10, or last 1h
    #[arg(short = 't', long, value_name = "WINDOW", default_value = "all")]
    time: String,
}

/// Judges all records, in the order of time if they come from a store.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let failure = Arc::default();
    let out = io::BufWriter::new(Watched { out: io::stdout(), failure: Arc::clone(&failure) });
    let sink: Box<dyn AlertSink> = match arguments.output.as_str() {
        "json" => Box::new(Lines::json(out)),
        "idea" => Box::new(Lines::idea(out, NODE)),
        other => bail!(Usage(format!("-o: '{other}' is neither json nor idea"))),
    };
    let mut engine = Engine::new(&Config::default(), sink);
    let mut sound = true;
    if arguments.read.is_dir() {
        query::each_record(&arguments.read, &arguments.time, &mut engine)?;
    } else {
        let (_, result) = read_file(&arguments.read, weir_ipfix::WEIR, &mut engine);
        if let Err(error) = result {
            eprintln!("weir: {}: {error}", arguments.read.display());
            sound = false;
        }
    }
    engine.finish();
    let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(error) = failure {
        return Err(anyhow::Error::from(error).context("alerts could not be written"));
    }
    let counters = engine.counters();
    eprintln!("weir: {} records judged of {}, {} alerts", counters.judged, counters.records, counters.alerts);
    for ((name, meaning), value) in EngineCounters::DEFINITIONS.iter().zip(counters.values()) {
        if value > 0 && ["without_packets", "off_wall", "off_clock"].contains(name) {
            eprintln!("  {value} {name}: {meaning}");
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A writer that remembers why it failed: it is given away to the engine.
struct Watched<W> {
    out: W,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl<W> Watched<W> {
    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.kind().into());
        })
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.watch(result)
    }
}
