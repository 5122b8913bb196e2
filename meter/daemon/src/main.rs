// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `weir-meter`. It wires the rooms; what they do is theirs.

// Standard error may be a full disk, or a pipe that nobody reads: see say.rs.
#![deny(clippy::print_stderr)]

mod backends;
mod board;
mod cores;
mod driver;
mod interfaces;
mod live;
mod metrics;
mod nic;
mod notify;
mod options;
mod remedies;
mod report;
mod sandbox;
mod say;
mod serve;
mod signals;
mod sink;
mod status;
mod system;
mod units;
mod unrecognised;
mod xdp;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use weir_export::Exporter;
use weir_flow::{Timestamp, ledger::Ledger};
use weir_metering::{capture, meter};

use options::{Command, Options, Settings, StatusOptions};
use report::Report;
use say::say;
use signals::{Interrupted, Interruptible};
use sink::Sink;
use unrecognised::Noting;

/// Exit status for wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let _at_end = say::UntilSaid;
    let options = Options::parse();
    if let Some(Command::Status(asked)) = &options.command {
        return ask_for_status(asked);
    }
    let (check, dump) = (options.check, options.dump_config);
    if options.list_parsers {
        return answer(&list_parsers());
    }
    if options.list_interfaces {
        return answer(&interfaces::list());
    }
    let given = options.clone();
    let settings = match Settings::new(options) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, USAGE),
    };
    if dump {
        return answer(&settings.dump());
    }
    if let Err(error) = cores::check(&settings.live.cores) {
        return fail(&error, USAGE);
    }
    if check {
        return ExitCode::SUCCESS;
    }
    let is_live = !settings.live.interfaces.is_empty();
    if settings.read.is_empty() && !is_live {
        let nothing = "nothing to read: give capture files with -r, or interfaces with -i (see --help)";
        return fail(&anyhow::anyhow!(nothing), USAGE);
    }
    if settings.exporter.destinations.is_empty() {
        return fail(&anyhow::anyhow!("nowhere to send records: give --export json:- or another (see --help)"), USAGE);
    }
    match if is_live { live::run(settings, given) } else { run(&settings) } {
        Ok(status) => status,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &anyhow::Error, status: u8) -> ExitCode {
    say!("weir-meter: {}", say::chain(error));
    ExitCode::from(status)
}

fn ask_for_status(asked: &StatusOptions) -> ExitCode {
    let word = match asked {
        StatusOptions { explain: true, .. } => "explain",
        StatusOptions { json: true, .. } => "json",
        StatusOptions { unrecognised: true, .. } => "unrecognised",
        _ => "status",
    };
    match status::ask(asked.socket.as_deref(), word) {
        Ok(text) => answer(&text),
        Err(error) => fail(&error, 1),
    }
}

fn list_parsers() -> String {
    let line = |identity: &weir_parsers::app::Identity| {
        let ports: String = identity.port_hints.iter().map(|port| format!(" {port}")).collect();
        let ports = if ports.is_empty() { ports } else { format!(", asked first on ports{ports}") };
        format!("{:<10} {:?}{ports}\n", identity.slug, identity.transports)
    };
    weir_parsers::app::IDENTITIES.iter().map(line).collect()
}

/// Writes an answer to standard output.
fn answer(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error.into(), 1),
        _ => ExitCode::SUCCESS,
    }
}

/// Meters all files, one after the other, into one exporting process.
fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let interrupted = Interrupted::new().context("cannot wait for signals")?;
    let exporter = Exporter::start(&settings.exporter)?;
    let unrecognised = settings.unrecognised.then(unrecognised::Shared::default);
    let noting = || unrecognised.clone().map(Noting::new);
    let mut sinks: Vec<_> = (0..settings.workers.get()).map(|_| Sink::new(exporter.sink(), noting())).collect();
    let mut ledger = Ledger::default();
    let mut span: Option<(Timestamp, Timestamp)> = None;
    let mut files = 0;
    let mut failed = false;
    for (index, path) in settings.read.iter().enumerate() {
        // Captures have nothing to do with each other: each begins with an empty cache.
        let outcome = match capture::open_until(path, interrupted.is_over()) {
            Ok(source) => match meter(&mut Interruptible::new(source, interrupted.clone()), &settings.meter, sinks) {
                Ok(outcome) => outcome,
                Err(error) => {
                    // What was handed over before still goes out.
                    let _ = exporter.finish(Vec::new());
                    return Err(error).context("cannot reserve memory");
                }
            },
            Err(error) => {
                say!("weir-meter: {error}");
                failed = true;
                continue;
            }
        };
        files += 1;
        if let Some(damage) = &outcome.damage {
            say!("weir-meter: {path}: {damage}");
            failed = true;
        }
        ledger.add(&outcome.ledger);
        span = match (span, outcome.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        sinks = outcome.sinks;
        if index + 1 == settings.read.len() || interrupted.by().is_some() {
            // The system takes it back faster than we could give it, and the process ends with this file.
            std::mem::forget(outcome.held);
            break;
        }
    }
    let (sink, destinations) = exporter.finish(sinks.into_iter().map(Sink::into_inner).collect());
    // Whoever reads standard output may have had enough: what was not written after that is no failure, but counted.
    let mut had_enough = false;
    for report in &destinations {
        if report.reader_had_enough() {
            had_enough = true;
            continue;
        }
        if let Some(error) = &report.error {
            say!("weir-meter: {}: {error}", report.destination);
            failed = true;
        }
        failed |= report.counters.lost_records() > 0;
    }
    failed |= sink.records_dropped_size > 0 || (sink.records_dropped_queue > 0 && !had_enough);
    let report = Report { files, ledger, span, sink, destinations };
    if let Some(path) = &settings.ledger {
        std::fs::write(path, report.json()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !settings.quiet && report.files > 0 {
        say::text(report.text());
    }
    if let Some(unrecognised) = &unrecognised {
        say::text(unrecognised::text(unrecognised));
    }
    if let Some(signal) = interrupted.by() {
        say!("weir-meter: interrupted: what was read until then was metered");
        return Ok(ExitCode::from(128 + signal));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
