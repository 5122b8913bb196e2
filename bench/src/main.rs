// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `weir-bench`.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use weir_bench::{
    compare::{self, Settings},
    encode,
    machine::{self, Machine},
    meter::{
        self, Subject,
        report::{Report, Summary},
    },
    parsers,
    plan::{self, Planned, Size},
    receive, report as compared,
    send::{self, Frames},
    subject,
    trace::{Kind, MAX_FLOWS, MAX_FRAME, MIN_FRAME, Order, Spec, Trace, TraceSpec},
    wire::{
        self, Traffic,
        receiver::{self, Receiver},
        search::Offer,
    },
};
use weir_export::Format;
use weir_flow::LinkType;
use weir_metering::{MeterConfig, capture::ring};

/// Measures Weir: beside other meters on capture files, and its parts on packets made in memory.
#[derive(Debug, Parser)]
#[command(name = "weir-bench", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The metering process: one worker, beside the floor.
    Meter(MeterOptions),
    /// Each application parser, on the flows of captures that it recognises: nanoseconds for each packet and transaction.
    Parsers(ParsersOptions),
    /// The exporting process: records to an IPFIX file.
    Encode(EncodeOptions),
    /// Writes a capture file from a seed, and the truth about it beside it.
    Trace(TraceOptions),
    /// weir-meter beside its peers, on capture files.
    Compare(CompareOptions),
    /// Sends packets to an interface, and says how many it has taken.
    Send(SendOptions),
    /// weir-meter and its peers on a wire: the rate at which each loses nothing; or one trial at a rate.
    Wire(WireOptions),
    /// Takes packets of an interface through the ring, and says how many came and how many were lost.
    Receive(ReceiveOptions),
    /// The floor, as `compare` runs it.
    #[command(hide = true)]
    Floor {
        /// A capture file.
        trace: PathBuf,
        /// Flows in it.
        flows: usize,
        /// Map the file in place of reading it.
        #[arg(long)]
        mapped: bool,
    },
    /// Reading alone, as `compare` runs it.
    #[command(hide = true)]
    Reading {
        /// A capture file.
        trace: PathBuf,
    },
}

#[derive(Debug, Parser)]
struct ParsersOptions {
    /// Capture files.
    #[arg(required = true, value_name = "FILE")]
    captures: Vec<String>,
    /// Measurements of each parser, of which medians are given.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Print one JSON object in place of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
struct EncodeOptions {
    /// What records are of; all kinds if none is named.
    #[arg(long)]
    kind: Vec<encode::Kind>,
    /// Records of a run.
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    records: u64,
    /// Runs of each kind, interleaved, of which medians are given.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Where records go; the file is made anew for each run, and stays.
    #[arg(long, value_name = "PATH", default_value = "/dev/shm/weir-bench.ipfix")]
    file: PathBuf,
    /// Write JSON, one record a line, in place of IPFIX.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
struct TraceOptions {
    /// Kind of traffic.
    kind: Kind,
    /// Flows that packets are of; of the mix, conversations that are open at a time [default: 100000; mix: 10000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    flows: Option<u32>,
    /// Packets.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    packets: u64,
    /// Seed of all that is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The capture file.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Parser)]
struct MeterOptions {
    /// Flows that packets are of.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    flows: u32,
    /// Packets of a pass.
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// Octets of a frame, the frame check sequence left out.
    #[arg(long, value_name = "OCTETS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(MIN_FRAME as i64..=MAX_FRAME as i64))]
    size: u16,
    /// Which flow comes next.
    #[arg(long, default_value = "random")]
    order: Order,
    /// Seed of the trace.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Runs, of which medians are given.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Fill frames with padding in place of payload: nothing for the parsers to look at.
    #[arg(long)]
    no_payload: bool,
    /// Print one JSON object in place of the table.
    #[arg(long)]
    json: bool,
    /// Few packets, one run: checks what is counted, and measures nothing.
    #[arg(long, conflicts_with_all = ["flows", "packets", "runs"])]
    smoke: bool,
}

#[derive(Debug, Parser)]
struct CompareOptions {
    /// Folder in which traces are kept [default: weir-bench in the user's cache folder; for a check a temporary one].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A weir-meter to measure, by itself or under a name; several times for several [default: the one beside weir-bench].
    #[arg(long, value_name = "[NAME=]PATH")]
    weir: Vec<String>,
    /// Traces to use [default: all].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    traces: Vec<String>,
    /// Subjects to run: whose names begin with one of these [default: all].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Packets of each trace, in place of its own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    packets: Option<u64>,
    /// Seed of all traces, and of the order of subjects.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Runs of each subject on each trace.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A subject that has taken as long on one trace gets no further run on it.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// A run that takes longer is ended and has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Write all figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the plot over active flows to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Remove each trace when it is done with.
    #[arg(long)]
    forget: bool,
    /// Small traces, one run: checks what is counted, and measures nothing.
    #[arg(long, conflicts_with_all = ["rounds", "packets"])]
    quick: bool,
}

#[derive(Debug, Parser)]
struct SendOptions {
    /// The interface, as in `ip link`.
    interface: String,
    /// Packets to send [default: 1000000; with --seconds as many as there is time for].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Packets per second [default: as many as there can be].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Send the packets of this capture file, in place of those made from a seed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["flows", "size", "order", "seed", "no_payload", "distinct"])]
    file: Option<String>,
    /// Flows that packets are of.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    flows: u32,
    /// Octets of a frame, the frame check sequence left out.
    #[arg(long, value_name = "OCTETS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(MIN_FRAME as i64..=MAX_FRAME as i64))]
    size: u16,
    /// Which flow comes next.
    #[arg(long, default_value = "random")]
    order: Order,
    /// Seed of all that is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Fill frames with padding in place of payload: nothing for the parsers to look at.
    #[arg(long)]
    no_payload: bool,
    /// Frames that are made, at most; after them, the first one is sent again.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    distinct: u64,
}

#[derive(Debug, Parser)]
struct WireOptions {
    /// Search for the highest rate without loss, of all receivers (this is what it does unless told a rate).
    #[arg(long, conflicts_with = "rate")]
    search: bool,
    /// One trial of weir-meter at so many packets per second, or `max`: exit status 1 unless sent = metered + lost.
    #[arg(long, value_name = "N")]
    rate: Option<String>,
    /// Length of a trial; RFC 2544 asks for 60 [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// With --rate: exit status 1 also if a packet was lost.
    #[arg(long, requires = "rate")]
    no_loss: bool,
    /// With --rate: the layer that weir-meter captures through.
    #[arg(long, value_name = "LAYER", requires = "rate", default_value = "packet", value_parser = receiver::CAPTURES)]
    capture: String,
    /// Queues of the wire, as many workers of weir-meter, as many senders [default: 1,2; with --rate 1].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: Vec<u16>,
    /// Kinds of traffic [default: uniform,mix; with --rate uniform].
    #[arg(long, value_name = "KIND", value_delimiter = ',', conflicts_with = "file")]
    traffic: Vec<WireTraffic>,
    /// Send the packets of this capture file, round and round. They should be IP: peers have no record of others.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Receivers to search for: whose names begin with one of these [default: all].
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "rate")]
    only: Vec<String>,
    /// Searches for each, of which medians are given.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Part of the rate to which it is found, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=50))]
    resolution: u8,
    /// Seed of all that is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The weir-meter to measure [default: the one beside weir-bench].
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// Write all figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is sent on a wire.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WireTraffic {
    /// Whole conversations, with what parsers look for.
    Mix,
    /// 64 octets on the wire, any of 10,000 flows with each packet.
    Uniform,
}

#[derive(Debug, Parser)]
struct ReceiveOptions {
    /// The interface, as in `ip link`.
    interface: String,
    /// Meter the packets; records are counted only.
    #[arg(long)]
    meter: bool,
    /// Memory of the ring.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=4096))]
    ring: u32,
    /// Take only what this expression of tcpdump takes.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// End when nothing has come for so many seconds, once there was something.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    idle: u64,
}

fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Meter(options) => bench_meter(&options),
        Command::Parsers(options) => bench_parsers(&options),
        Command::Encode(options) => bench_encode(&options),
        Command::Trace(options) => write_trace(&options),
        Command::Compare(options) => compare_all(options),
        Command::Send(options) => send_frames(&options),
        Command::Wire(options) => on_wire(options),
        Command::Receive(options) => receive_frames(options),
        Command::Floor { trace, flows, mapped } => subject::run_floor(&trace, flows, mapped),
        Command::Reading { trace } => subject::run_reading(&trace),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn bench_parsers(options: &ParsersOptions) -> Result<()> {
    let machine = Machine::here();
    let costs = parsers::measure(&options.captures, options.runs)?;
    ensure!(!costs.is_empty(), "no parser recognises anything there");
    if options.json {
        println!("{:#}", parsers::to_json(&machine, &costs));
    } else {
        print!("{}", parsers::table(&machine, &costs));
    }
    Ok(())
}

fn bench_encode(options: &EncodeOptions) -> Result<()> {
    let kinds = if options.kind.is_empty() { &encode::Kind::ALL[..] } else { &options.kind };
    let format = if options.json { Format::Json } else { Format::Ipfix };
    let mut results: Vec<_> = kinds.iter().map(|kind| (*kind, Vec::new())).collect();
    for _ in 0..options.runs {
        for (kind, runs) in &mut results {
            runs.push(encode::run(*kind, options.records, format, &options.file)?);
        }
    }
    print!("{}", encode::table(options.records, &results));
    Ok(())
}

fn write_trace(options: &TraceOptions) -> Result<()> {
    let &TraceOptions { kind, flows, packets, seed, .. } = options;
    let flows = flows.unwrap_or(if kind == Kind::Mix { 10_000 } else { 100_000 });
    let spec = Spec { kind, flows, packets, seed };
    eprintln!("weir-bench: {}: about {} MiB", options.out.display(), spec.expected_octets() >> 20);
    // The truth stands beside it: a device has no place for that.
    let out = options.out.display();
    ensure!(!options.out.exists() || options.out.is_file(), "{out} is no file: the truth is written beside it");
    let summary = spec.write(&options.out).with_context(|| format!("cannot write {out}"))?;
    println!("{:#}", summary.json());
    Ok(())
}

fn send_frames(options: &SendOptions) -> Result<()> {
    let packets = options.packets.unwrap_or(if options.seconds.is_some() { u64::MAX } else { 1_000_000 });
    let frames = match &options.file {
        Some(path) => Frames::of_file(path)?,
        None => Frames::of_trace(&Trace::new(TraceSpec {
            flows: options.flows,
            packets: usize::try_from(options.distinct.min(packets))?,
            size: usize::from(options.size),
            has_payload: !options.no_payload,
            order: options.order,
            seed: options.seed,
        })),
    };
    let plan = send::Plan { packets, time: options.seconds.map(Duration::from_secs), rate: options.rate };
    println!("{}", send::send(&options.interface, &frames, &plan)?.json());
    Ok(())
}

fn receive_frames(options: ReceiveOptions) -> Result<()> {
    let expression = options.filter.as_deref();
    let filter = expression.map(|text| ring::filter::compile(text, LinkType::ETHERNET)).transpose()?;
    let config = ring::RingConfig { blocks: options.ring, filter, ..ring::RingConfig::new(&options.interface) };
    let until =
        receive::Until { time: options.seconds.map(Duration::from_secs), idle: Duration::from_secs(options.idle) };
    println!("{}", receive::receive(config, options.meter, &until)?);
    Ok(())
}

fn on_wire(options: WireOptions) -> Result<()> {
    let meter = match &options.weir {
        Some(path) => path.clone(),
        None => env::current_exe()?.with_file_name("weir-meter"),
    };
    ensure!(meter.is_file(), "{} is not there: cargo build --release -p weir-meter", meter.display());
    let traffic = |defaults: &[WireTraffic]| -> Vec<Traffic> {
        let kinds = if options.traffic.is_empty() { defaults } else { &options.traffic };
        let of_kind = |kind: &WireTraffic| match kind {
            WireTraffic::Mix => Traffic::Mix,
            WireTraffic::Uniform => Traffic::Uniform,
        };
        options.file.as_ref().map_or_else(|| kinds.iter().map(of_kind).collect(), |f| vec![Traffic::File(f.clone())])
    };
    let queues = |defaults: &[usize]| -> Vec<usize> {
        let asked: Vec<_> = options.queues.iter().copied().map(usize::from).collect();
        if asked.is_empty() { defaults.to_vec() } else { asked }
    };
    let Some(rate) = &options.rate else {
        return search_on_wire(&options, &meter, traffic(&[WireTraffic::Uniform, WireTraffic::Mix]), queues(&[1, 2]));
    };
    let offer = match rate.as_str() {
        "max" => Offer::FlatOut,
        rate => Offer::Rate(rate.parse().with_context(|| format!("--rate {rate}: neither a number nor max"))?),
    };
    let (traffic, queues) = (traffic(&[WireTraffic::Uniform]), queues(&[1]));
    let ([traffic], [queues]) = (&*traffic, &*queues) else { bail!("one trial is of one kind of traffic on one wire") };
    let capture = receiver::CAPTURES.into_iter().find(|capture| options.capture == *capture).unwrap_or_default();
    let receiver = Receiver::Weir { path: meter, capture };
    let time = Duration::from_secs(options.seconds.unwrap_or(10));
    let trial = wire::single(&receiver, traffic, *queues, offer, time, options.seed)?;
    print!("{}", wire::report::trial_text(&receiver, traffic, *queues, &trial));
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", wire::report::trial_json(&trial)))?;
    }
    ensure!(trial.closes(), "the sum does not close");
    ensure!(!options.no_loss || trial.is_loss_free(), "packets were lost");
    Ok(())
}

fn search_on_wire(options: &WireOptions, meter: &Path, traffic: Vec<Traffic>, queues: Vec<usize>) -> Result<()> {
    let (mut receivers, missing) = Receiver::all(meter);
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.starts_with(only));
    receivers.retain(|receiver| is_wanted(&receiver.name()));
    ensure!(!receivers.is_empty(), "no receiver has such a name");
    let settings = wire::Settings {
        receivers,
        traffic,
        queues,
        time: Duration::from_secs(options.seconds.unwrap_or(10)),
        resolution: f64::from(options.resolution) / 100.0,
        rounds: options.rounds.into(),
        seed: options.seed,
    };
    let machine = Machine::here();
    let results = wire::search(&settings)?;
    let report = wire::report::Report { machine, settings, missing, results };
    print!("{}", report.table());
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report.json()))?;
    }
    let faults = report.faults_of_ours();
    ensure!(faults.is_empty(), "the sum does not close: {}", faults.join("; "));
    Ok(())
}

/// A name and a path from `NAME=PATH`, or from a path alone.
fn named_meter(text: &str) -> (String, PathBuf) {
    let (name, path) = text.split_once('=').unwrap_or(("weir-meter", text));
    (name.to_owned(), path.into())
}

fn compare_all(options: CompareOptions) -> Result<()> {
    let mut meters: Vec<_> = options.weir.iter().map(|text| named_meter(text)).collect();
    if meters.is_empty() {
        meters.push(("weir-meter".to_owned(), env::current_exe()?.with_file_name("weir-meter")));
    }
    for (_, path) in &meters {
        ensure!(path.is_file(), "{} is not there: cargo build --release -p weir-meter", path.display());
    }
    let mut planned = plan::all(if options.quick { Size::Quick } else { Size::Full }, options.seed);
    for name in &options.traces {
        ensure!(planned.iter().any(|p| p.name == *name), "no trace {name}: {}", names(&planned));
    }
    planned.retain(|planned| options.traces.is_empty() || options.traces.contains(&planned.name));
    for planned in &mut planned {
        planned.spec.packets = options.packets.unwrap_or(planned.spec.packets);
    }
    let mut lineup = subject::lineup(&meters);
    let is_wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.starts_with(only.as_str()));
    lineup.subjects.retain(|subject| is_wanted(subject.name()));
    let is_temporary = options.quick && options.dir.is_none();
    let settings = Settings {
        folder: options.dir.unwrap_or_else(if options.quick { plan::temporary_folder } else { plan::default_folder }),
        rounds: if options.quick { 1 } else { options.rounds },
        patience: Duration::from_secs(options.patience),
        limit: Duration::from_secs(options.timeout),
        forget: options.forget || is_temporary,
    };
    let octets: u64 = planned.iter().map(|planned| planned.spec.expected_octets()).sum();
    eprintln!("weir-bench: traces in {}, about {} MiB in all", settings.folder.display(), octets >> 20);
    let machine = Machine::here();
    let mut traces = Vec::new();
    for planned in &planned {
        traces.push(compare::on_trace(planned, &lineup.subjects, &settings)?);
    }
    if is_temporary {
        fs::remove_dir_all(&settings.folder)?;
    }
    let report = compared::Report { machine, settings, is_quick: options.quick, missing: lineup.missing, traces };
    print!("{}", if options.quick { report.check() } else { report.table() });
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report.json()))?;
    }
    if let (Some(path), Some(plot)) = (&options.svg, report.plot()) {
        fs::write(path, plot)?;
    }
    let faults = report.faults_of_ours();
    ensure!(faults.is_empty(), "not exact: {}", faults.join("; "));
    if options.quick && env::var_os("WEIR_REQUIRE_PEERS").is_some() {
        let faults = report.faults_of_peers();
        ensure!(faults.is_empty(), "a peer is not exact: {}", faults.join("; "));
    }
    Ok(())
}

fn names(planned: &[Planned]) -> String {
    planned.iter().map(|planned| planned.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn bench_meter(options: &MeterOptions) -> Result<()> {
    let (flows, packets, runs) =
        if options.smoke { (1_000, 50_000, 1) } else { (options.flows, options.packets, options.runs) };
    let spec = TraceSpec {
        flows,
        packets: usize::try_from(packets)?,
        size: usize::from(options.size),
        has_payload: !options.no_payload,
        order: options.order,
        seed: options.seed,
    };
    if let Some(available) = machine::available_memory() {
        let needed = spec.octets() >> 20;
        let available = available >> 20;
        ensure!(needed < available, "the trace needs {needed} MiB of memory, and {available} are available");
    }
    let machine = Machine::here();
    let trace = Trace::new(spec);
    let defaults = MeterConfig::default();
    let config = MeterConfig { flows: defaults.flows.max(trace.flows()), ..defaults };
    let mut of_subject = Subject::ALL.map(|subject| (subject, Vec::new()));
    let held = machine::resident();
    let mut peak_memory = machine::peak_resident();
    for _ in 0..runs {
        for (subject, runs) in &mut of_subject {
            runs.push(meter::run(*subject, &trace, &config)?);
            peak_memory = peak_memory.max(machine::peak_resident());
        }
    }
    let summaries = of_subject.map(|(subject, runs)| Summary::new(subject, trace.packets(), held, &runs));
    let report = Report {
        machine: &machine,
        spec: &spec,
        trace: &trace,
        runs: usize::from(runs),
        summaries: &summaries,
        peak_memory,
    };
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}
