// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir demo`: captures all the way, from packets to answers.
//!
//! The meter is the real program, started for each capture; its records come over TCP to a collector within this process,
//! go into a store, and are judged from there in the order of time. Then the store is asked.

mod report;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use weir_analysis::{Alert, AlertSink, Engine, EngineCounters, Fanout};
use weir_collector::{Collector, Config, Handle, Listen, Snapshot};
use weir_store::StoreCounters;

use crate::{
    Usage,
    pipeline::{Pipeline, alert_files},
    query,
};

/// Play captures through meter, collector, store and analysis, and print what they hold
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Captures, or folders of them
    #[arg(value_name = "CAPTURE", required = true)]
    captures: Vec<PathBuf>,

    /// The store to make; one that an earlier demo made is replaced
    #[arg(long, value_name = "DIR", default_value = query::DEFAULT_DATA)]
    data: PathBuf,

    /// The meter [default: weir-meter beside this program]
    #[arg(long, value_name = "PROGRAM")]
    meter: Option<PathBuf>,
}

/// Marks a store that holds nothing but what a demo put there: the next one may replace it. Whoever else writes to the
/// store takes the mark away.
pub const MARK: &str = ".weir-demo";

/// What came of it.
#[derive(Debug)]
struct Run {
    captures: usize,
    /// Captures that the meter could not read to their end.
    damaged: Vec<String>,
    /// Counters of all ledgers, added up, by `section.name`.
    ledger: BTreeMap<String, u64>,
    /// Earliest and latest packet, nanoseconds since the epoch.
    span: Option<(u64, u64)>,
    snapshot: Snapshot,
    stored: StoreCounters,
    alerts: Vec<Alert>,
    judged: EngineCounters,
}

/// Plays, judges, asks, prints.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let captures = captures(&arguments.captures)?;
    let meter = meter(arguments)?;
    make_folder(&arguments.data)?;

    let listen = vec![Listen::Tcp(([127, 0, 0, 1], 0).into())];
    let config = Config { listen, ..Config::default() };
    // Records of captures come in any order of time; judged they are afterwards, in the right one.
    let pipeline = Pipeline::open(&arguments.data, false)?;
    fs::write(arguments.data.join(MARK), "").with_context(|| arguments.data.display().to_string())?;
    let handle = Collector::start(config, pipeline, Pipeline::tick)?;
    let mut run = play(&meter, &captures, &arguments.data, &handle)?;
    let (pipeline, snapshot) = handle.stop()?;
    run.snapshot = snapshot;
    run.stored = pipeline.close().context("the store could not be closed")?;
    (run.alerts, run.judged) = judge(&arguments.data)?;

    let complete = report::print(&run, &arguments.data)?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The captures in the folders and under the names given, in order of their names.
fn captures(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| path.display().to_string())?;
            open.extend(entries.flatten().map(|e| e.path()).filter(|p| p.is_dir() || is_capture(p)));
        } else if path.exists() {
            found.push(path);
        } else {
            bail!(Usage(format!("{}: there is no such capture", path.display())));
        }
    }
    if found.is_empty() {
        bail!(Usage("there is no capture in the folders given".to_owned()));
    }
    found.sort();
    Ok(found)
}

fn is_capture(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz"].iter().any(|end| name.ends_with(end))
}

fn meter(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    if let Some(meter) = &arguments.meter {
        return Ok(meter.clone());
    }
    let beside = std::env::current_exe()?.with_file_name("weir-meter");
    if !beside.exists() {
        bail!("{} is missing: cargo build -p weir-meter, or name one with --meter", beside.display());
    }
    Ok(beside)
}

/// Makes the folder of the store, empty. What a demo did not make is not removed.
fn make_folder(data: &Path) -> anyhow::Result<()> {
    if data.join(MARK).exists() {
        fs::remove_dir_all(data).with_context(|| format!("cannot replace {}", data.display()))?;
    } else if data.exists() && fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(Usage(format!("{} is not empty and not from an earlier demo: name another with --data", data.display())));
    }
    fs::create_dir_all(data).with_context(|| data.display().to_string())
}

/// Meters all captures into the collector.
fn play(meter: &Path, captures: &[PathBuf], data: &Path, handle: &Handle<Pipeline>) -> anyhow::Result<Run> {
    let Some(Listen::Tcp(address)) = handle.listening().first() else { bail!("the collector does not listen") };
    let export = format!("tcp://{address}");
    let ledger = data.join("ledger.json");
    let progress = progress(captures.len());
    let mut run = Run {
        captures: captures.len(),
        damaged: Vec::new(),
        ledger: BTreeMap::new(),
        span: None,
        snapshot: Snapshot::default(),
        stored: StoreCounters::default(),
        alerts: Vec::new(),
        judged: EngineCounters::default(),
    };
    for (domain, capture) in (1_u32..).zip(captures) {
        progress.set_message(capture.file_name().unwrap_or_default().to_string_lossy().into_owned());
        // Each capture is an observation domain of its own.
        let output = Command::new(meter)
            .args(["--quiet", "--read"])
            .arg(capture)
            .args(["--export", &export, "--observation-domain", &domain.to_string(), "--ledger"])
            .arg(&ledger)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", meter.display()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if !output.status.success() {
            run.damaged.push(if said.is_empty() { capture.display().to_string() } else { said });
        }
        if let Ok(text) = fs::read_to_string(&ledger) {
            add_ledger(&mut run, &text).with_context(|| format!("the ledger of {}", capture.display()))?;
            fs::remove_file(&ledger)?;
        }
        progress.inc(1);
    }
    // What was sent has reached the collector when it says so; a meter that failed may have sent less.
    let sent = run.ledger.get("sent.records_sent").copied().unwrap_or(0);
    handle.wait_for(Duration::from_secs(30), |snapshot| snapshot.decoded.records >= sent);
    progress.finish_and_clear();
    Ok(run)
}

/// A bar on a terminal, nothing elsewhere.
fn progress(captures: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("metering {bar:32} {pos}/{len} {msg}");
    let bar = ProgressBar::new(captures as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn add_ledger(run: &mut Run, text: &str) -> anyhow::Result<()> {
    let ledger: serde_json::Value = serde_json::from_str(text)?;
    for section in ["metered", "ignored", "records", "sent"] {
        for (name, value) in ledger[section].as_object().into_iter().flatten() {
            *run.ledger.entry(format!("{section}.{name}")).or_default() += value.as_u64().unwrap_or(0);
        }
    }
    if let (Some(first), Some(last)) = (ledger["first_packet_ns"].as_u64(), ledger["last_packet_ns"].as_u64()) {
        let span = run.span.unwrap_or((first, last));
        run.span = Some((span.0.min(first), span.1.max(last)));
    }
    Ok(())
}

/// Judges what is stored. Alerts go to files beside the store; the last word on each attack is given.
fn judge(data: &Path) -> anyhow::Result<(Vec<Alert>, EngineCounters)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut sinks = alert_files(data)?;
    sinks.push(Box::new(move |alert: &Alert| drop(sender.send(alert.clone()))) as Box<dyn AlertSink>);
    let mut engine = Engine::new(&weir_analysis::Config::default(), Box::new(Fanout(sinks)));
    query::each_record(data, "all", &mut engine)?;
    engine.finish();
    let judged = *engine.counters();
    drop(engine);
    let mut last: BTreeMap<String, Alert> = BTreeMap::new();
    for alert in receiver {
        last.insert(alert.id.to_string(), alert);
    }
    let mut alerts: Vec<Alert> = last.into_values().collect();
    alerts.sort_by_key(|alert| (alert.first_time, alert.id.to_string()));
    Ok((alerts, judged))
}
