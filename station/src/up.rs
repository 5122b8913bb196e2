// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir up`: collecting process, store, analysis and console in one process; `weir console`: the console alone.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use weir_analysis::EngineCounters;
use weir_collector::{Decoded, Exporter, Protocol, Received, Snapshot, Transport};
use weir_store::StoreCounters;
use weir_ui::{Config, Console, Counter, Stage, StartError, Status, StatusSource};

use crate::{
    Usage,
    collect::{self, Signals, Until},
    pipeline::{Counts, Pipeline},
    query::DEFAULT_DATA,
};

/// Collect, store, look for attacks, and serve the console: all in one process
#[derive(Debug, clap::Args)]
#[command(after_help = "SIGINT and SIGTERM end it; what is in flight is stored first.")]
pub struct Arguments {
    /// Listen there for exporters; may be given several times: udp://ADDRESS:PORT, tcp://ADDRESS:PORT
    /// [default: UDP and TCP, port 4739 of every address]
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,

    /// The store
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,

    #[command(flatten)]
    console: Place,

    /// Enterprise number of fields that have a number nowhere else, as exporters are configured
    #[arg(long, value_name = "NUMBER", default_value_t = weir_ipfix::WEIR)]
    enterprise_number: u32,
}

/// Serve the console over a store, without collecting
#[derive(Debug, clap::Args)]
pub struct ConsoleArguments {
    /// The store
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,

    #[command(flatten)]
    console: Place,
}

/// Where the console is.
#[derive(Debug, clap::Args)]
struct Place {
    /// Serve the console there, over HTTP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    console: SocketAddr,

    /// Allow an address that other machines reach, though there is neither TLS nor a login
    #[arg(long)]
    console_without_tls: bool,
}

/// Runs until a signal.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = collect::config(&arguments.listen, arguments.enterprise_number)?;
    let signals = Signals::catch()?;
    let pipeline = Pipeline::open(&arguments.data, true)?;
    let counts = pipeline.counts();
    let latest = Arc::new(Mutex::new(Snapshot::default()));
    let seen = Arc::clone(&latest);
    let source: StatusSource =
        Arc::new(move || status(&seen.lock().unwrap_or_else(PoisonError::into_inner), &counts()));
    // Answers until everything is stored.
    let _console = start(&arguments.console, arguments.data, Some(source))?;
    collect::collect(config, pipeline, &signals, Until::default(), |snapshot| {
        latest.lock().unwrap_or_else(PoisonError::into_inner).clone_from(snapshot);
    })
}

/// Runs until a signal.
pub fn run_console(arguments: ConsoleArguments) -> anyhow::Result<ExitCode> {
    let signals = Signals::catch()?;
    let _console = start(&arguments.console, arguments.data, None)?;
    signals.wait();
    Ok(ExitCode::SUCCESS)
}

fn start(place: &Place, data: PathBuf, status: Option<StatusSource>) -> anyhow::Result<Console> {
    let config = Config { address: place.console, without_tls: place.console_without_tls, data };
    let console = Console::start(config, status).map_err(|error| match error {
        StartError::NotLoopback(_) => {
            anyhow::Error::new(Usage(format!("{error}; --console-without-tls serves it there all the same")))
        }
        error => error.into(),
    })?;
    eprintln!("weir: console at http://{}/", console.address());
    Ok(console)
}

/// What the console is told.
fn status(snapshot: &Snapshot, counts: &Counts) -> Status {
    let mut received = Stage::new("received", Received::DEFINITIONS, &snapshot.received.values());
    received.counters.extend(snapshot.kernel_drops.map(|value| Counter {
        name: "kernel_drops",
        meaning: "datagrams dropped by the kernel before they were read",
        value,
    }));
    Status {
        stages: vec![
            received,
            Stage::new("decoded", Decoded::DEFINITIONS, &snapshot.decoded.values()),
            Stage::new("stored", StoreCounters::DEFINITIONS, &counts.stored.values()),
            Stage::new("judged", EngineCounters::DEFINITIONS, &counts.judged.values()),
        ],
        exporters: snapshot.exporters.iter().map(exporter).collect(),
    }
}

fn exporter(exporter: &Exporter) -> weir_ui::Exporter {
    weir_ui::Exporter {
        address: exporter.address,
        domain: exporter.domain,
        protocol: match exporter.protocol {
            Protocol::Ipfix => "IPFIX",
            Protocol::Netflow5 => "NetFlow v5",
            Protocol::Netflow9 => "NetFlow v9",
        },
        transport: match exporter.transport {
            Transport::File => "file",
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        },
        messages: exporter.messages,
        records: exporter.records,
        lost: exporter.lost,
        lost_unit: if exporter.protocol == Protocol::Netflow9 { "messages" } else { "records" },
        sampling_interval: exporter.sampling_interval,
        last_seen_milliseconds: exporter.last_seen.as_millis(),
    }
}
