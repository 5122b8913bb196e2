// SPDX-License-Identifier: MIT OR Apache-2.0
//! What only live capture has.

use std::{fmt::Display, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use weir_metering::capture::MAX_CAPTURED;

use crate::backends::Backend;
use crate::nic;
use crate::units::{parse_duration, show_duration};

const SOCKET_HELP: &str = "Socket on which `weir-meter status` asks; none for no such socket [default: @weir-meter/INTERFACES, which is in no folder]";

/// As they stand on the command line, or in the file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Live capture")]
pub struct LiveOptions {
    /// Meter the packets of these interfaces until SIGTERM or SIGINT
    #[arg(short = 'i', long = "interface", value_name = "INTERFACE")]
    pub interface: Vec<String>,

    /// Through which layer: auto, packet (AF_PACKET), xdp (AF_XDP) or pcap (libpcap) [default: auto]
    #[arg(long, value_name = "LAYER")]
    pub capture: Option<String>,

    /// Capture only packets that match this expression of tcpdump's language
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,

    /// Octets of each packet that are captured at most [default: 262144]
    #[arg(long, value_name = "OCTETS")]
    pub snaplen: Option<u32>,

    /// Do not put interfaces into promiscuous mode
    #[arg(long)]
    pub no_promiscuous: bool,

    /// Take timestamps of the interface, where it makes them and through AF_PACKET; else those of the kernel
    #[arg(long)]
    pub hardware_time: bool,

    /// What decides which worker gets a packet of AF_PACKET: hash of addresses and ports, addresses alone (which keeps
    /// fragments with their flow), cpu or queue that it came by [default: hash]
    #[arg(long, value_name = "MODE")]
    pub fanout: Option<String>,

    /// Cores that workers run on, such as 2,3,8-11 [default: near the interfaces, where there are as many as workers]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,

    /// Let AF_XDP take the packets of an interface that the system itself uses: it will not get them any more
    #[arg(long)]
    pub steal: bool,

    /// Poll AF_XDP without a pause, for the lowest delay: each worker takes a whole core
    #[arg(long)]
    pub busy_poll: bool,

    /// Print a line of status as often; 0s never does [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub status_interval: Option<String>,

    /// Where status is asked for.
    // As text: in a comment, the brackets would be a link.
    #[arg(long, value_name = "PATH", help = SOCKET_HELP)]
    pub status_socket: Option<PathBuf>,

    /// Serve counters for Prometheus at http://ADDRESS/metrics, such as 127.0.0.1:9739
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,

    /// Become this user once everything is open, if started as root [default: weir if there is one, else nobody]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Stay as privileged and as free as started
    #[arg(long)]
    pub no_sandbox: bool,
}

impl LiveOptions {
    /// The first of them that was given.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.interface.is_empty(), "interface"),
            (self.capture.is_some(), "capture"),
            (self.filter.is_some(), "filter"),
            (self.snaplen.is_some(), "snaplen"),
            (self.no_promiscuous, "no-promiscuous"),
            (self.hardware_time, "hardware-time"),
            (self.fanout.is_some(), "fanout"),
            (self.cores.is_some(), "cores"),
            (self.steal, "steal"),
            (self.busy_poll, "busy-poll"),
            (self.status_interval.is_some(), "status-interval"),
            (self.status_socket.is_some(), "status-socket"),
            (self.metrics.is_some(), "metrics"),
            (self.user.is_some(), "user"),
            (self.no_sandbox, "no-sandbox"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }
}

/// Through which layer packets come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layer {
    /// What serves best.
    Auto,
    /// This one.
    Only(Backend),
}

/// What decides which worker gets a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShareOut {
    /// Both addresses.
    Addresses,
    /// The processor that received it.
    Cpu,
    /// A hash of its addresses and ports.
    Hash,
    /// The queue that received it.
    Queue,
}

/// Where status is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StatusSocket {
    /// Where it usually is, if that is possible.
    Usual,
    /// There.
    At(PathBuf),
    /// Nowhere.
    None,
}

/// The same, checked.
#[derive(Debug)]
pub struct LiveSettings {
    /// Interfaces; none if files are read.
    pub interfaces: Vec<String>,
    /// Layer.
    pub layer: Layer,
    /// Expression of tcpdump's language.
    pub filter: Option<String>,
    /// Octets of a packet.
    pub snap_octets: u32,
    /// Whether these were asked for.
    pub snap_octets_asked: bool,
    /// Whether packets for others are captured.
    pub promiscuous: bool,
    /// Timestamps of the interface are wanted.
    pub hardware_time: bool,
    /// How packets come to workers.
    pub fanout: ShareOut,
    /// Whether that was asked for.
    pub fanout_asked: bool,
    /// Cores, in the order of workers; empty for any.
    pub cores: Vec<usize>,
    /// AF_XDP may take packets away.
    pub steal: bool,
    /// AF_XDP polls without a pause.
    pub busy_poll: bool,
    /// How often a line of status is printed; zero for never.
    pub status_interval: Duration,
    /// Where status is asked for.
    pub status_socket: StatusSocket,
    /// Where counters are served.
    pub metrics: Option<SocketAddr>,
    /// Whom to become.
    pub user: Option<String>,
    /// Whether to confine the process.
    pub sandbox: bool,
    /// Workers on each interface that were asked for.
    pub workers_asked: Option<usize>,
    /// Workers on each interface.
    pub workers: Vec<usize>,
    /// Octets in which packets wait for each worker.
    pub buffer_octets: usize,
}

/// Most interfaces: each has a thread, a table and a ring at least.
const MAX_INTERFACES: usize = 64;

impl LiveSettings {
    /// Checks options in which file and flags are put together already.
    ///
    /// # Errors
    ///
    /// If one of them makes no sense; the message names it.
    pub fn new(options: LiveOptions) -> anyhow::Result<Self> {
        let interfaces = options.interface;
        if interfaces.len() > MAX_INTERFACES {
            bail!("interface: {} are more than {MAX_INTERFACES}", interfaces.len());
        }
        for (index, name) in interfaces.iter().enumerate() {
            // As the kernel has it: dev_valid_name().
            if name.is_empty() || name.len() > 15 || name.contains(['/', ' ', ':']) || name == "." || name == ".." {
                bail!("interface: '{name}' is no name of an interface");
            }
            if interfaces.iter().take(index).any(|other| other == name) {
                bail!("interface: {name} is given twice");
            }
        }
        let snap_octets = options.snaplen.unwrap_or(MAX_CAPTURED);
        if !(64..=MAX_CAPTURED).contains(&snap_octets) {
            bail!("snaplen: {snap_octets} is not within 64 and {MAX_CAPTURED}");
        }
        let status_interval = match options.status_interval {
            Some(text) => parse_duration(&text).map_err(anyhow::Error::msg).context("status-interval")?,
            None => Duration::from_secs(60),
        };
        let status_socket = match options.status_socket {
            None => StatusSocket::Usual,
            Some(path) if path.as_os_str() == "none" => StatusSocket::None,
            Some(path) => StatusSocket::At(path),
        };
        let metrics = match options.metrics {
            Some(text) => Some(text.parse().with_context(|| format!("metrics: '{text}' is no address with a port"))?),
            None => None,
        };
        Ok(Self {
            interfaces,
            layer: one_of("capture", options.capture, Layer::Auto, LAYERS)?,
            filter: options.filter,
            snap_octets,
            snap_octets_asked: options.snaplen.is_some(),
            promiscuous: !options.no_promiscuous,
            hardware_time: options.hardware_time,
            fanout_asked: options.fanout.is_some(),
            fanout: one_of("fanout", options.fanout, ShareOut::Hash, FANOUTS)?,
            cores: options.cores.map_or(Ok(Vec::new()), |text| cores(&text))?,
            steal: options.steal,
            busy_poll: options.busy_poll,
            status_interval,
            status_socket,
            metrics,
            user: options.user,
            sandbox: !options.no_sandbox,
            workers_asked: None,
            workers: Vec::new(),
            buffer_octets: 0,
        })
    }

    /// How many workers all interfaces have together: on each as many as are asked for, or one for each receive queue, as far
    /// as there are cores; through AF_XDP, which takes all queues or none, also beyond.
    ///
    /// # Errors
    ///
    /// If there cannot be so many.
    pub fn share_out(&mut self, asked: Option<usize>) -> anyhow::Result<usize> {
        let is_single = self.layer == Layer::Only(Backend::Pcap);
        if is_single && asked.is_some_and(|asked| asked > 1) {
            bail!("workers: through libpcap an interface has one");
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let most = if self.layer == Layer::Only(Backend::Xdp) { usize::MAX } else { cores };
        let usual = |name: &String| nic::receive_queues(name).min(most);
        self.workers_asked = asked;
        self.workers = self
            .interfaces
            .iter()
            .map(|name| if is_single { 1 } else { asked.unwrap_or_else(|| usual(name)) })
            .collect();
        Ok(self.workers.iter().sum())
    }

    /// Tells each as it stands in a configuration file.
    pub fn dump(&self, line: &mut dyn FnMut(&str, String)) {
        let text = |text: &dyn Display| toml::Value::from(text.to_string()).to_string();
        line("interface", toml::Value::from(self.interfaces.clone()).to_string());
        line("capture", text(&name_of(self.layer, LAYERS)));
        if let Some(filter) = &self.filter {
            line("filter", text(filter));
        }
        line("snaplen", self.snap_octets.to_string());
        line("no-promiscuous", (!self.promiscuous).to_string());
        line("hardware-time", self.hardware_time.to_string());
        line("fanout", text(&name_of(self.fanout, FANOUTS)));
        if !self.cores.is_empty() {
            let cores: Vec<_> = self.cores.iter().map(usize::to_string).collect();
            line("cores", text(&cores.join(",")));
        }
        line("steal", self.steal.to_string());
        line("busy-poll", self.busy_poll.to_string());
        line("status-interval", text(&show_duration(self.status_interval)));
        match &self.status_socket {
            StatusSocket::Usual => {}
            StatusSocket::At(path) => line("status-socket", text(&path.display())),
            StatusSocket::None => line("status-socket", text(&"none")),
        }
        if let Some(metrics) = self.metrics {
            line("metrics", text(&metrics));
        }
        if let Some(user) = &self.user {
            line("user", text(user));
        }
        line("no-sandbox", (!self.sandbox).to_string());
    }
}

const LAYERS: &[(&str, Layer)] = &[
    ("auto", Layer::Auto),
    ("packet", Layer::Only(Backend::Packet)),
    ("pcap", Layer::Only(Backend::Pcap)),
    ("xdp", Layer::Only(Backend::Xdp)),
];

const FANOUTS: &[(&str, ShareOut)] =
    &[("hash", ShareOut::Hash), ("addresses", ShareOut::Addresses), ("cpu", ShareOut::Cpu), ("queue", ShareOut::Queue)];

fn one_of<T: Copy>(key: &str, given: Option<String>, default: T, names: &[(&str, T)]) -> anyhow::Result<T> {
    let Some(given) = given else { return Ok(default) };
    let Some((_, found)) = names.iter().find(|(name, _)| *name == given) else {
        let names: Vec<_> = names.iter().map(|n| n.0).collect();
        bail!("{key}: '{given}' is none of {}", names.join(", "));
    };
    Ok(*found)
}

fn name_of<T: PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find_map(|(name, v)| (*v == value).then_some(*name)).unwrap_or_default()
}

/// Reads a list of cores: numbers and ranges, as the kernel writes them.
pub fn cores(text: &str) -> anyhow::Result<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|core| *core < 4096);
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cores.extend(first..=last),
            _ => bail!("cores: '{part}' is no core below 4096, nor a range of them"),
        }
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_as_the_kernel_writes_them() {
        assert_eq!(cores("2,3,8-11").unwrap(), [2, 3, 8, 9, 10, 11]);
        assert_eq!(cores("0").unwrap(), [0]);
        for text in ["", "a", "3-1", "1,,2", "-1", "0-99999"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }
}
