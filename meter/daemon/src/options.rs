// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command line and configuration file, and what they come to.
//!
//! The file says the same things under the same names; a flag overrides the file. Both are read as they stand
//! ([`Options`], [`FileOptions`]) and turned once into [`Settings`], which the rest of the program sees.

pub mod export;
pub mod live;

use std::{fmt::Write, num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use serde::Deserialize;
use weir_export::{Destination, ExporterConfig, Transport, WhenFull};
use weir_flow::statistics::MAX_PACKETS;
use weir_metering::{Groups, KeyFields, MeterConfig, TooLittleMemory, reading_memory};

use self::{
    export::ExportOptions,
    live::{LiveOptions, LiveSettings},
};
use crate::units::{parse_duration, parse_size, show_duration, show_size};

const EXPORT_HELP: &str = "Send records there; may be given several times: udp://HOST[:PORT], tcp://HOST[:PORT], \
    tls://HOST[:PORT], file:PATH, and lines of JSON: json:PATH, json:-, json:tcp://HOST:PORT; passive-dns:PATH or passive-dns:- \
    takes answers of DNS, added up";

const STATISTICS_HELP: &str = "Statistics of flows: any of packets[=N] (the first N packets one by one, 30 if not said), \
    histograms, bursts, entropy, tcp, ip; with empty, packets without payload are in the first two as well; all, or none \
    [default: none]";

/// Meters packets into application-aware flows and exports them as IPFIX.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "weir-meter", version, max_term_width = 100)]
#[command(after_help = "Examples:\n  \
    weir-meter -r capture.pcap --export json:-            flows as JSON lines on standard output\n  \
    weir-meter -r capture.pcap --export file:flows.ipfix  an IPFIX file\n  \
    weir-meter -r capture.pcap --export tcp://station     IPFIX to a collector\n  \
    weir-meter -i eth1 --export tcp://station             of an interface, until SIGTERM\n  \
    weir-meter status                                     what one that runs has done and lost\n\n\
    Exit status: 0 done, 1 failed or a capture is damaged, 2 wrong usage; 130 and 143 if reading files was\n\
    ended by SIGINT or SIGTERM.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What else there is to do.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Read packets from capture files (pcap, pcapng, gzip-compressed or not); - is standard input
    #[arg(short = 'r', long = "read", value_name = "FILE", num_args = 1..)]
    pub read: Vec<String>,

    /// Destinations of the records.
    // As text: in a comment, the brackets would be links.
    #[arg(short = 'e', long = "export", value_name = "DESTINATION", help = EXPORT_HELP)]
    pub export: Vec<String>,

    /// One record for each direction instead of biflows
    #[arg(long)]
    pub uniflow: bool,

    /// Close a record when its flow had no packet for this long [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub idle_timeout: Option<String>,

    /// Close a record when it was open for this long [default: 300s]
    #[arg(long, value_name = "DURATION")]
    pub active_timeout: Option<String>,

    /// Most memory for flows, application state, fragments, queues and buffers together, such as 64MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,

    /// Most flows in the cache, an equal part for each worker [default: as many as half of the memory holds]
    #[arg(long, value_name = "N")]
    pub flows: Option<usize>,

    /// Most flows with application state at a time, an equal part for each worker; 0 looks at no payload [default: 65536]
    #[arg(long, value_name = "N")]
    pub app_flows: Option<usize>,

    /// Most transactions of one flow and second that get a record of their own [default: 1000]
    #[arg(long, value_name = "N")]
    pub max_transactions: Option<u32>,

    /// Statistics of flows.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help = STATISTICS_HELP)]
    pub statistics: Option<Vec<String>>,

    /// Fields of the key beside addresses, ports and protocol: any of vlan, tos, interface, or none [default: vlan]
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub key: Option<Vec<String>>,

    /// Workers on each file, of which records are the same for any number as long as nothing is full [default: 1]; or on
    /// each interface [default: one for each receive queue, as far as there are cores]
    #[arg(long, visible_alias = "queues", value_name = "N")]
    pub workers: Option<usize>,

    /// Observation domain of the records [default: 1]
    #[arg(long, value_name = "ID")]
    pub observation_domain: Option<u32>,

    /// Enterprise number of fields that have a number nowhere else [default: 32473]
    #[arg(long, value_name = "NUMBER")]
    pub enterprise_number: Option<u32>,

    /// Most octets of a message over UDP [default: 1400]
    #[arg(long, value_name = "OCTETS")]
    pub max_datagram: Option<usize>,

    /// Seed of the flow table's hash, for runs that must be alike even when the cache is full
    #[arg(long, value_name = "NUMBER")]
    pub hash_seed: Option<u64>,

    /// Write the ledger as JSON to this file when done
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,

    /// Say by port how much no parser knew: with the summary, and by `weir-meter status --unrecognised`
    #[arg(long, alias = "unrecognized")]
    pub unrecognised: bool,

    /// Read settings from this TOML file; flags override it
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// No summary and no lines of status on standard error
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// Check the settings and exit
    #[arg(long)]
    pub check: bool,

    /// Print the settings in force as a configuration file and exit
    #[arg(long)]
    pub dump_config: bool,

    /// Print the application parsers of this build and exit
    #[arg(long)]
    pub list_parsers: bool,

    /// Print the interfaces of this machine and exit
    #[arg(long)]
    pub list_interfaces: bool,

    /// Exporting.
    #[command(flatten)]
    pub exporting: ExportOptions,

    /// Live capture.
    #[command(flatten)]
    pub live: LiveOptions,
}

/// What else there is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Asks a weir-meter that captures for its counters
    Status(StatusOptions),
}

/// How status is asked for.
#[derive(Args, Clone, Debug)]
pub struct StatusOptions {
    /// Say of each counter what it means, where it comes from, and what helps
    #[arg(long)]
    pub explain: bool,

    /// All counters as one JSON object
    #[arg(long, conflicts_with = "explain")]
    pub json: bool,

    /// By port, how much no parser knew, of one that was started with --unrecognised
    #[arg(long, alias = "unrecognized", conflicts_with_all = ["explain", "json"])]
    pub unrecognised: bool,

    /// Its socket.
    // As text: in a comment, the brackets would be a link.
    #[arg(long, value_name = "PATH", help = "Its socket [default: the only one that is called @weir-meter/…]")]
    pub socket: Option<PathBuf>,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileOptions {
    read: Option<Vec<String>>,
    export: Option<Vec<String>>,
    uniflow: Option<bool>,
    idle_timeout: Option<String>,
    active_timeout: Option<String>,
    memory: Option<String>,
    flows: Option<usize>,
    app_flows: Option<usize>,
    max_transactions: Option<u32>,
    statistics: Option<Vec<String>>,
    key: Option<Vec<String>>,
    workers: Option<usize>,
    observation_domain: Option<u32>,
    enterprise_number: Option<u32>,
    max_datagram: Option<usize>,
    export_policy: Option<String>,
    spool_memory: Option<String>,
    spool_dir: Option<PathBuf>,
    spool_size: Option<String>,
    resend: Option<String>,
    rotate_interval: Option<String>,
    rotate_size: Option<String>,
    template_interval: Option<String>,
    template_messages: Option<u32>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    hash_seed: Option<u64>,
    ledger: Option<PathBuf>,
    unrecognised: Option<bool>,
    quiet: Option<bool>,
    interface: Option<Vec<String>>,
    capture: Option<String>,
    filter: Option<String>,
    snaplen: Option<u32>,
    no_promiscuous: Option<bool>,
    hardware_time: Option<bool>,
    fanout: Option<String>,
    cores: Option<String>,
    steal: Option<bool>,
    busy_poll: Option<bool>,
    status_interval: Option<String>,
    status_socket: Option<PathBuf>,
    metrics: Option<String>,
    user: Option<String>,
    no_sandbox: Option<bool>,
}

impl FileOptions {
    /// What the file says of exporting.
    fn exporting(&mut self) -> ExportOptions {
        ExportOptions {
            export_policy: self.export_policy.take(),
            spool_memory: self.spool_memory.take(),
            spool_dir: self.spool_dir.take(),
            spool_size: self.spool_size.take(),
            resend: self.resend.take(),
            rotate_interval: self.rotate_interval.take(),
            rotate_size: self.rotate_size.take(),
            template_interval: self.template_interval.take(),
            template_messages: self.template_messages,
            tls_ca: self.tls_ca.take(),
            tls_cert: self.tls_cert.take(),
            tls_key: self.tls_key.take(),
        }
    }

    /// What flags and file say of live capture. `flags_read` if flags name files to read: then no interface of the
    /// configuration is meant.
    fn live(&mut self, flags: LiveOptions, flags_read: bool) -> LiveOptions {
        let interfaces = self.interface.take().filter(|_| !flags_read).unwrap_or_default();
        let is_set = |flag: bool, file: Option<bool>| flag || file.unwrap_or(false);
        LiveOptions {
            interface: if flags.interface.is_empty() { interfaces } else { flags.interface },
            capture: flags.capture.or(self.capture.take()),
            filter: flags.filter.or(self.filter.take()),
            snaplen: flags.snaplen.or(self.snaplen),
            no_promiscuous: is_set(flags.no_promiscuous, self.no_promiscuous),
            hardware_time: is_set(flags.hardware_time, self.hardware_time),
            fanout: flags.fanout.or(self.fanout.take()),
            cores: flags.cores.or(self.cores.take()),
            steal: is_set(flags.steal, self.steal),
            busy_poll: is_set(flags.busy_poll, self.busy_poll),
            status_interval: flags.status_interval.or(self.status_interval.take()),
            status_socket: flags.status_socket.or(self.status_socket.take()),
            metrics: flags.metrics.or(self.metrics.take()),
            user: flags.user.or(self.user.take()),
            no_sandbox: is_set(flags.no_sandbox, self.no_sandbox),
        }
    }
}

/// Memory that the program takes unless told otherwise, beside some four MiB for itself.
const DEFAULT_MEMORY: usize = 256 << 20;

/// Most flows that can be asked for: some hundred gigabytes of memory.
const MAX_FLOWS: usize = 1 << 29;

/// Most workers.
const MAX_WORKERS: usize = 256;

/// The part of the memory in which packets of interfaces wait, one in so many, and bounds of it for each worker.
const RING_SHARE: usize = 8;
const MIN_RING: usize = 1 << 20;
const MAX_RING: usize = 64 << 20;

/// What to do, checked.
#[derive(Debug)]
pub struct Settings {
    /// Capture files.
    pub read: Vec<String>,
    /// Octets of memory that everything below shares.
    pub memory: usize,
    /// Metering.
    pub meter: MeterConfig,
    /// Exporting.
    pub exporter: ExporterConfig,
    /// Workers on each file, or on all interfaces together.
    pub workers: NonZeroUsize,
    /// Where the ledger goes as JSON.
    pub ledger: Option<PathBuf>,
    /// Say how much no parser knew.
    pub unrecognised: bool,
    /// No summary.
    pub quiet: bool,
    /// Live capture, if there is an interface.
    pub live: LiveSettings,
    /// Configuration file.
    pub config: Option<PathBuf>,
}

impl Settings {
    /// Puts flags and file together and checks them.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or something in it or on the command line makes no sense; the message names it.
    pub fn new(options: Options) -> anyhow::Result<Self> {
        let mut file = match &options.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read configuration {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("in configuration {}", path.display()))?
            }
            None => FileOptions::default(),
        };
        if let (Some(live), false) = (options.live.given(), options.read.is_empty()) {
            bail!("{live}: makes no sense with files to read (-r)");
        }
        let exporting = options.exporting.or(file.exporting());
        let mut live = LiveSettings::new(file.live(options.live, !options.read.is_empty()))?;
        let default = MeterConfig::default();
        let duration = |name: &str, flag: Option<String>, file: Option<String>, default: Duration| {
            let Some(text) = flag.or(file) else { return Ok(default) };
            match parse_duration(&text).map_err(anyhow::Error::msg).with_context(|| name.to_owned())? {
                Duration::ZERO => bail!("{name}: must be longer than 0s"),
                duration => Ok(duration),
            }
        };
        let several = |flag: Vec<String>, file: Option<Vec<String>>| {
            if flag.is_empty() { file.unwrap_or_default() } else { flag }
        };
        let meter = MeterConfig {
            app_flows: options.app_flows.or(file.app_flows).unwrap_or(default.app_flows),
            idle_timeout: duration("idle-timeout", options.idle_timeout, file.idle_timeout, default.idle_timeout)?,
            active_timeout: duration(
                "active-timeout",
                options.active_timeout,
                file.active_timeout,
                default.active_timeout,
            )?,
            uniflow: options.uniflow || file.uniflow.unwrap_or(false),
            key: options.key.or(file.key).map_or(Ok(default.key), |names| key_fields(&names))?,
            statistics: options.statistics.or(file.statistics).map_or(Ok(default.statistics), |list| groups(&list))?,
            max_transactions: options.max_transactions.or(file.max_transactions).unwrap_or(default.max_transactions),
            hash_seed: options.hash_seed.or(file.hash_seed),
            // Memory decides of the rest.
            ..default
        };
        let flows = options.flows.or(file.flows);
        if let Some(flows) = flows.filter(|flows| !(MeterConfig::MIN_FLOWS..=MAX_FLOWS).contains(flows)) {
            bail!("flows: {flows} is not within {} and {MAX_FLOWS}", MeterConfig::MIN_FLOWS);
        }
        if meter.app_flows > MAX_FLOWS {
            bail!("app-flows: {} is more than {MAX_FLOWS}", meter.app_flows);
        }
        let memory = match options.memory.or(file.memory) {
            Some(text) => parse_size(&text).map_err(anyhow::Error::msg).context("memory")?,
            None => DEFAULT_MEMORY,
        };
        if let Some(there) = machine_memory().filter(|there| memory > *there) {
            bail!("memory: {} is more than the {} MiB of this machine", show_size(memory), there >> 20);
        }
        let is_live = !live.interfaces.is_empty();
        // Interfaces on the command line are meant, not files of the configuration.
        let read = if is_live { Vec::new() } else { several(options.read, file.read) };
        let asked = options.workers.or(file.workers);
        if let Some(workers) = asked.filter(|workers| !(1..=MAX_WORKERS).contains(workers)) {
            bail!("workers: {workers} is not within 1 and {MAX_WORKERS}");
        }
        let workers = if is_live { live.share_out(asked)? } else { asked.unwrap_or(1) };
        let Some(workers) = NonZeroUsize::new(workers).filter(|w| w.get() <= MAX_WORKERS) else {
            bail!("workers: {workers} on all interfaces together are more than {MAX_WORKERS}");
        };
        if read.iter().filter(|path| *path == "-").count() > 1 {
            bail!("read: standard input can be read once only");
        }
        let exporter = ExporterConfig {
            destinations: several(options.export, file.export)
                .iter()
                .map(|text| text.parse::<Destination>().context("export"))
                .collect::<Result<_, _>>()?,
            domain: options.observation_domain.or(file.observation_domain).unwrap_or(1),
            enterprise: options.enterprise_number.or(file.enterprise_number).unwrap_or(32473),
            max_datagram: options.max_datagram.or(file.max_datagram).unwrap_or(1400),
            when_full: if is_live { WhenFull::Drop } else { WhenFull::Wait },
            ..ExporterConfig::default()
        };
        let exporter = exporting.complete(memory, exporter)?;
        if !(512..=65_507).contains(&exporter.max_datagram) {
            bail!("max-datagram: {} is not within 512 and 65507", exporter.max_datagram);
        }
        distinct_files(&read, &exporter.destinations)?;
        check_names(&exporter)?;
        live.buffer_octets = (memory / RING_SHARE / workers).clamp(MIN_RING, MAX_RING);
        let intake = if is_live { workers.get() * live.buffer_octets } else { reading_memory(workers) };
        let queues = exporter.memory(workers.get());
        let mut meter = share_memory(memory, flows, workers, meter, queues + intake)?;
        // Messages are made when there is something to send.
        meter.heap_octets = Some(meter.app_octets + queues);
        let ledger = options.ledger.or(file.ledger);
        let unrecognised = options.unrecognised || file.unrecognised.unwrap_or(false);
        let quiet = options.quiet || file.quiet.unwrap_or(false);
        Ok(Self { read, memory, meter, exporter, workers, ledger, unrecognised, quiet, live, config: options.config })
    }

    /// Keys whose values are others in `other`.
    pub fn changed(&self, other: &Self) -> impl Iterator<Item = String> {
        let (mine, others) = (self.dump(), other.dump());
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (mine, others) = (lines(&mine), lines(&others));
        let only = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
        let mut keys: Vec<_> = [only(&mine, &others), only(&others, &mine)].concat();
        keys.iter_mut().for_each(|line| line.truncate(line.find(" = ").unwrap_or(line.len())));
        keys.sort();
        keys.dedup();
        keys.into_iter()
    }

    /// The settings as a configuration file.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let list = |items: Vec<String>| toml::Value::from(items).to_string();
        let meter = &self.meter;
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} = {value}");
        };
        line("read", list(self.read.clone()));
        line("export", list(self.exporter.destinations.iter().map(ToString::to_string).collect()));
        line("uniflow", meter.uniflow.to_string());
        line("idle-timeout", format!("\"{}\"", show_duration(meter.idle_timeout)));
        line("active-timeout", format!("\"{}\"", show_duration(meter.active_timeout)));
        line("memory", format!("\"{}\"", show_size(self.memory)));
        line("flows", meter.flows.to_string());
        line("app-flows", meter.app_flows.to_string());
        line("max-transactions", meter.max_transactions.to_string());
        line("statistics", list(group_names(meter.statistics)));
        line("key", list(key_names(meter.key)));
        if self.live.interfaces.is_empty() {
            line("workers", self.workers.to_string());
        } else if let Some(workers) = self.live.workers_asked {
            line("workers", workers.to_string());
        }
        line("observation-domain", self.exporter.domain.to_string());
        line("enterprise-number", self.exporter.enterprise.to_string());
        line("max-datagram", self.exporter.max_datagram.to_string());
        export::dump(&self.exporter, &mut line);
        if let Some(seed) = meter.hash_seed {
            line("hash-seed", seed.to_string());
        }
        if let Some(path) = &self.ledger {
            line("ledger", toml::Value::from(path.display().to_string()).to_string());
        }
        line("unrecognised", self.unrecognised.to_string());
        line("quiet", self.quiet.to_string());
        self.live.dump(&mut line);
        text
    }
}

/// Octets of memory of this machine, where the system says so.
fn machine_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Gives metering what `others`, the exporting process and the reading of captures, leave of the memory.
fn share_memory(
    memory: usize,
    flows: Option<usize>,
    workers: NonZeroUsize,
    meter: MeterConfig,
    others: usize,
) -> anyhow::Result<MeterConfig> {
    let rest = memory.saturating_sub(others);
    let too_little = |error: &TooLittleMemory| {
        format!(
            "memory: {} is too little for {} flows over {} worker(s): {}MiB are needed, queues and buffers included",
            show_size(memory),
            error.flows,
            error.workers,
            (error.needed + others).div_ceil(1 << 20)
        )
    };
    meter.within(rest, flows, workers.get()).map_err(|error| anyhow::Error::msg(too_little(&error)))
}

/// No destination may overwrite a capture, or another destination.
fn distinct_files(read: &[String], destinations: &[Destination]) -> anyhow::Result<()> {
    let mut taken: Vec<PathBuf> = read.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    for destination in destinations {
        let path = match &destination.transport {
            // A device such as /dev/null takes from anybody.
            Transport::File(path) if !path.exists() || path.is_file() => path,
            _ => continue,
        };
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        if taken.contains(&path) {
            bail!("export: {destination} would overwrite a file that is read or written already");
        }
        taken.push(path);
    }
    Ok(())
}

/// Names of files that are finished one after the other must be understood.
fn check_names(exporter: &ExporterConfig) -> anyhow::Result<()> {
    if exporter.rotation.is_on() {
        for destination in &exporter.destinations {
            if let Transport::File(path) = &destination.transport {
                exporter.rotation.check(path).context("export")?;
            }
        }
    }
    Ok(())
}

fn key_fields(names: &[String]) -> anyhow::Result<KeyFields> {
    let mut fields = KeyFields { vlan: false, class_of_service: false, interface: false };
    for name in names {
        match name.as_str() {
            "vlan" => fields.vlan = true,
            "tos" => fields.class_of_service = true,
            "interface" => fields.interface = true,
            "none" if names.len() == 1 => {}
            _ => bail!("key: '{name}' is none of vlan, tos, interface, or none by itself"),
        }
    }
    Ok(fields)
}

fn key_names(fields: KeyFields) -> Vec<String> {
    let names = [(fields.vlan, "vlan"), (fields.class_of_service, "tos"), (fields.interface, "interface")];
    let names: Vec<String> = names.iter().filter(|n| n.0).map(|n| n.1.to_owned()).collect();
    if names.is_empty() { vec!["none".to_owned()] } else { names }
}

/// Statistics by name.
fn groups(names: &[String]) -> anyhow::Result<Groups> {
    let mut groups = Groups::default();
    for name in names {
        match name.as_str() {
            "all" => {
                let packets = groups.packets.max(Groups::PACKETS);
                let empty = groups.empty;
                groups = Groups { packets, histograms: true, bursts: true, entropy: true, tcp: true, ip: true, empty };
            }
            "packets" => groups.packets = Groups::PACKETS,
            "histograms" => groups.histograms = true,
            "bursts" => groups.bursts = true,
            "entropy" => groups.entropy = true,
            "tcp" => groups.tcp = true,
            "ip" => groups.ip = true,
            "empty" => groups.empty = true,
            "none" if names.len() == 1 => {}
            _ => groups.packets = first_packets(name)?,
        }
    }
    if groups.empty && groups.packets == 0 && !groups.histograms {
        bail!("statistics: empty makes no sense without packets or histograms");
    }
    Ok(groups)
}

/// `packets=N`.
fn first_packets(name: &str) -> anyhow::Result<u8> {
    let number = name.strip_prefix("packets=").and_then(|number| number.parse::<u8>().ok());
    match number.filter(|number| (1..=MAX_PACKETS).contains(&usize::from(*number))) {
        Some(number) => Ok(number),
        None => bail!(
            "statistics: '{name}' is none of packets, packets=1 to packets={MAX_PACKETS}, histograms, bursts, entropy, tcp, \
             ip, empty, all, or none by itself"
        ),
    }
}

fn group_names(groups: Groups) -> Vec<String> {
    let Groups { packets, histograms, bursts, entropy, tcp, ip, empty } = groups;
    let first = (packets > 0).then(|| format!("packets={packets}"));
    let others = [
        (histograms, "histograms"),
        (bursts, "bursts"),
        (entropy, "entropy"),
        (tcp, "tcp"),
        (ip, "ip"),
        (empty, "empty"),
    ];
    let others = others.iter().filter(|group| group.0).map(|group| group.1.to_owned());
    let names: Vec<_> = first.into_iter().chain(others).collect();
    if names.is_empty() { vec!["none".to_owned()] } else { names }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> anyhow::Result<Settings> {
        Settings::new(Options::try_parse_from(std::iter::once(&"weir-meter").chain(arguments))?)
    }

    #[test]
    fn too_little_memory_is_told_with_what_is_enough() {
        let with = |memory: &str| settings(&["-r", "a.pcap", "-e", "json:-", "--flows", "100000", "--memory", memory]);
        let told = with("12MiB").unwrap_err().to_string();
        let (before, after) = told.split_once("MiB are needed").unwrap();
        assert!(before.starts_with("memory: 12MiB is too little for 100000 flows"), "{told}");
        assert!(!after.contains("MiB"), "{told}");
        let needed: u32 = before.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(with(&format!("{needed}MiB")).is_ok(), "{told}");
        assert!(with(&format!("{}MiB", needed - 2)).is_err(), "{told}");
    }

    #[test]
    fn what_is_dumped_reads_the_same() {
        let arguments = ["-r", "a.pcap", "b.pcap", "-e", "json:-", "-e", "udp://x", "--key", "tos,interface"];
        let arguments = [&arguments[..], &["--statistics", "packets=12,tcp,empty"]].concat();
        let exporting =
            ["-e", "tls://x?name=y", "--tls-ca", "ca.pem", "--export-policy", "failover", "--resend", "1MiB"];
        let arguments = [&arguments[..], &exporting, &["--spool-dir", "/tmp", "--rotate-interval", "5m"]].concat();
        let first = settings(&[&arguments[..], &["--idle-timeout", "1500ms", "--flows", "64"]].concat()).unwrap();
        let path = std::env::temp_dir().join(format!("weir-options-{}.toml", std::process::id()));
        std::fs::write(&path, first.dump()).unwrap();
        let second = settings(&["-c", path.to_str().unwrap()]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(first.dump(), second.dump());
        assert_eq!(first.meter, second.meter);
    }

    #[test]
    fn unknown_keys_and_nonsense_are_named() {
        let path = std::env::temp_dir().join(format!("weir-unknown-{}.toml", std::process::id()));
        std::fs::write(&path, "uniflow = true\nidle-timeot = \"3s\"\n").unwrap();
        let error = format!("{:#}", settings(&["-c", path.to_str().unwrap()]).unwrap_err());
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("line 2") && error.contains("idle-timeot"), "{error}");
        for (arguments, named) in [
            (&["--flows", "3"][..], "flows"),
            (&["--app-flows", "1152921504606846976"], "app-flows"),
            (&["--memory", "lots"], "memory"),
            (&["--memory", "3MiB"], "memory"),
            (&["--memory", "1000000GiB"], "memory"),
            (&["--memory", "64MiB", "--flows", "1000000"], "memory"),
            (&["--idle-timeout", "0s"], "idle-timeout"),
            (&["--active-timeout", "soon"], "active-timeout"),
            (&["--key", "mac"], "key"),
            (&["--statistics", "packets=0"], "statistics"),
            (&["--statistics", "packets=121"], "statistics"),
            (&["--statistics", "tcp,none"], "statistics"),
            (&["--statistics", "tcp,empty"], "statistics"),
            (&["--key", "none,vlan"], "key"),
            (&["-e", "ftp://x"], "export"),
            (&["-r", "-", "-r", "-"], "read"),
            (&["--workers", "0"], "workers"),
            (&["--max-datagram", "70000"], "max-datagram"),
            (&["-e", "file:x", "-e", "json:x"], "export"),
            (&["-e", "tls://x?trust=all"], "export"),
            (&["--export-policy", "some"], "export-policy"),
            (&["--spool-memory", "1KiB"], "spool-memory"),
            (&["--rotate-interval", "0s"], "rotate-interval"),
            (&["--rotate-size", "1"], "rotate-size"),
            (&["--template-messages", "0"], "template-messages"),
            (&["--tls-cert", "x"], "tls-key"),
            (&["--rotate-size", "1MiB", "-e", "file:%q"], "export"),
            (&["-r", "Cargo.toml", "-e", "file:./Cargo.toml"], "export"),
        ] {
            let error = format!("{:#}", settings(arguments).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
