// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir collect`: exporters to the store.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use weir_collector::{Collector, Config, Decoded, Handle, Listen, Received, Snapshot, read_file};
use weir_store::StoreCounters;

use crate::{Usage, pipeline::Pipeline};

/// How often signals are looked for.
const STEP: Duration = Duration::from_millis(200);

/// Collect IPFIX and NetFlow v5/v9 from exporters, or from files, into a store
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Listen there; may be given several times: udp://ADDRESS:PORT, tcp://ADDRESS:PORT
    /// [default: UDP and TCP, port 4739 of every address]
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,

    /// Read IPFIX files (RFC 5655) instead of listening
    #[arg(long, value_name = "FILE", conflicts_with = "listen", num_args = 1..)]
    read: Vec<PathBuf>,

    /// The store
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Also look for attacks; alerts go to alerts.jsonl and alerts.idea.jsonl in the store
    #[arg(long)]
    detect: bool,

    /// Stop after this many flow records
    #[arg(long, value_name = "N")]
    records: Option<u64>,

    /// Stop when nothing has come for this many seconds after the first record
    #[arg(long, value_name = "SECONDS")]
    quiet_after: Option<u64>,

    /// Enterprise number of fields that have a number nowhere else, as exporters are configured
    #[arg(long, value_name = "NUMBER", default_value_t = weir_ipfix::WEIR)]
    enterprise_number: u32,
}

/// Runs until a signal, or until the limits given are reached.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if !arguments.read.is_empty() {
        return read(&arguments);
    }
    let config = config(&arguments.listen, arguments.enterprise_number)?;
    let signals = Signals::catch()?;
    let pipeline = Pipeline::open(&arguments.data, arguments.detect)?;
    let until = Until { records: arguments.records, quiet: arguments.quiet_after.map(Duration::from_secs) };
    collect(config, pipeline, &signals, until, |_| {})
}

/// What `--listen` says, or the usual ports.
pub fn config(listen: &[String], enterprise: u32) -> anyhow::Result<Config> {
    let default = ["udp://[::]:4739".to_owned(), "tcp://[::]:4739".to_owned()];
    let listen = if listen.is_empty() { &default[..] } else { listen };
    let listen = listen.iter().map(|text| text.parse::<Listen>().map_err(|e| Usage(e.to_string())));
    Ok(Config { listen: listen.collect::<Result<_, _>>()?, enterprise, ..Config::default() })
}

/// When to stop without a signal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After so many records.
    pub records: Option<u64>,
    /// After so much silence behind the first record.
    pub quiet: Option<Duration>,
}

/// Collects until the end, then stores what is in flight and reports. `watch` sees the counters several times a second.
pub fn collect(
    config: Config,
    pipeline: Pipeline,
    signals: &Signals,
    until: Until,
    watch: impl FnMut(&Snapshot),
) -> anyhow::Result<ExitCode> {
    let handle = Collector::start(config, pipeline, Pipeline::tick)?;
    for listening in handle.listening() {
        eprintln!("weir: listening on {listening}");
    }
    wait(&handle, signals, until, watch);
    let (pipeline, snapshot) = handle.stop()?;
    finish(pipeline, &snapshot, true)
}

fn read(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut pipeline = Pipeline::open(&arguments.data, arguments.detect)?;
    let mut whole = Snapshot::default();
    let mut sound = true;
    for path in &arguments.read {
        let (snapshot, result) = read_file(path, arguments.enterprise_number, &mut pipeline);
        whole.decoded.add(&snapshot.decoded);
        if let Err(error) = result {
            eprintln!("weir: {}: {error}", path.display());
            sound = false;
        }
    }
    finish(pipeline, &whole, sound)
}

/// Closes the store, reports, and says whether every record decoded is stored.
fn finish(pipeline: Pipeline, snapshot: &Snapshot, sound: bool) -> anyhow::Result<ExitCode> {
    let stored = pipeline.close().context("the store could not be closed")?;
    eprint!("{}", summary(snapshot, &stored));
    let complete = sound && stored.dropped_by_write_error == 0;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for the end: a signal, enough records, silence, or the sink's panic.
fn wait<S>(handle: &Handle<S>, signals: &Signals, until: Until, mut watch: impl FnMut(&Snapshot)) {
    let mut last = (0, Instant::now());
    while handle.is_running() && !signals.arrived() {
        let enough = |snapshot: &Snapshot| until.records.is_some_and(|n| snapshot.decoded.records >= n);
        if handle.wait_for(STEP, enough) {
            return;
        }
        let snapshot = handle.snapshot();
        watch(&snapshot);
        let seen = snapshot.decoded.records;
        if seen != last.0 {
            last = (seen, Instant::now());
        }
        if seen > 0 && until.quiet.is_some_and(|quiet| last.1.elapsed() >= quiet) {
            return;
        }
    }
}

/// SIGINT and SIGTERM.
pub struct Signals(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Signals {
    /// From now on they end nothing by themselves.
    pub fn catch() -> anyhow::Result<Self> {
        let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // A second signal ends the process at once, should the first not be enough.
            signal_hook::flag::register_conditional_default(signal, flag.clone()).context("cannot catch signals")?;
            signal_hook::flag::register(signal, flag.clone()).context("cannot catch signals")?;
        }
        Ok(Self(flag))
    }

    /// Waits for one.
    pub fn wait(&self) {
        while !self.arrived() {
            std::thread::sleep(STEP);
        }
    }

    fn arrived(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A few lines for people; of the counters of trouble only those that are not zero.
fn summary(snapshot: &Snapshot, stored: &StoreCounters) -> String {
    /// What is no trouble.
    const EXPECTED: &[&str] = &[
        "datagrams",
        "stream_messages",
        "sessions_accepted",
        "sessions_closed",
        "messages",
        "octets",
        "messages_ipfix",
        "messages_netflow9",
        "messages_netflow5",
        "sets",
        "sets_of_templates",
        "sets_of_data",
        "sets_decoded",
        "records",
        "records_of_options",
        "templates_learned",
        "templates_repeated",
        "udp_sessions_begun",
    ];
    let decoded = &snapshot.decoded;
    let mut text = format!(
        "weir: {} messages, {} records received, {} stored\n",
        decoded.messages, decoded.records, stored.stored_records
    );
    let received = Received::DEFINITIONS.iter().zip(snapshot.received.values());
    let decoded = Decoded::DEFINITIONS.iter().zip(snapshot.decoded.values());
    for ((name, meaning), value) in received.chain(decoded) {
        if value > 0 && !EXPECTED.contains(name) {
            text.push_str(&format!("  {value} {name}: {}\n", meaning.trim()));
        }
    }
    if let Some(drops) = snapshot.kernel_drops.filter(|d| *d > 0) {
        text.push_str(&format!("  {drops} datagrams dropped by the kernel before they were read\n"));
    }
    if stored.dropped_by_write_error > 0 {
        text.push_str(&format!("  {} records not stored: write errors\n", stored.dropped_by_write_error));
    }
    text
}
