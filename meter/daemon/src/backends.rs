// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layers that packets of an interface come through, and how each is opened.

use std::{fs, time::Duration};

use anyhow::ensure;
use weir_flow::LinkType;
use weir_metering::{
    capture::{
        PcapSettings, open_pcap,
        ring::{Fanout, FanoutMode, Instruction, Ring, RingConfig, filter},
    },
    live::Source,
};

use crate::{
    options::{
        Settings,
        live::{Layer, LiveSettings, ShareOut},
    },
    say::say,
    xdp,
};

/// A layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// AF_PACKET.
    Packet,
    /// libpcap.
    Pcap,
    /// AF_XDP.
    Xdp,
}

impl Backend {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packet => "AF_PACKET",
            Self::Pcap => "libpcap",
            Self::Xdp => "AF_XDP",
        }
    }
}

/// An open interface.
pub struct Opened {
    /// Its name.
    pub name: String,
    /// What it is captured through.
    pub backend: Backend,
    /// A source for each worker.
    pub sources: Vec<Source>,
}

/// Longest time that a source waits for packets before it says that there are none.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// Octets of a block of a ring, where there is room for several.
const BLOCK: u32 = 1 << 20;

/// Opens an interface for so many workers.
///
/// # Errors
///
/// If it cannot be captured that way; the message names the interface.
pub fn open(settings: &Settings, name: &str, workers: usize) -> anyhow::Result<Opened> {
    let live = &settings.live;
    let backend = match live.layer {
        Layer::Only(backend) => backend,
        Layer::Auto => best(live, name, workers),
    };
    for option in without_effect(live, backend, workers) {
        say!("weir-meter: {name}: --{option} has no effect: {workers} worker(s) through {}", backend.name());
    }
    let sources = match backend {
        Backend::Packet => rings(live, name, workers)?,
        Backend::Pcap => vec![through_pcap(live, name)?],
        Backend::Xdp => xdp::open(live, name, workers)?,
    };
    Ok(Opened { name: name.to_owned(), backend, sources })
}

/// Options that were given, and that this layer makes nothing of.
fn without_effect(live: &LiveSettings, backend: Backend, workers: usize) -> impl Iterator<Item = &'static str> {
    let options = [
        ("busy-poll", live.busy_poll && backend != Backend::Xdp),
        ("fanout", live.fanout_asked && (backend != Backend::Packet || workers == 1)),
        ("snaplen", live.snap_octets_asked && backend == Backend::Xdp),
    ];
    options.into_iter().filter_map(|(option, is_idle)| is_idle.then_some(option))
}

/// AF_XDP on a port that nothing else uses, if it can do what is asked for; else AF_PACKET.
fn best(live: &LiveSettings, name: &str, workers: usize) -> Backend {
    let serves = live.filter.is_none()
        && live.promiscuous
        && !live.hardware_time
        && is_mirror_port(name)
        && xdp::serves(name, workers);
    if serves { Backend::Xdp } else { Backend::Packet }
}

/// Whether an interface has a driver of its own: what is virtual gains nothing by AF_XDP, and often cannot do it well.
fn is_mirror_port(name: &str) -> bool {
    fs::exists(format!("/sys/class/net/{name}/device")).unwrap_or(false)
}

/// Opens an interface through libpcap.
///
/// # Errors
///
/// As libpcap says.
pub fn through_pcap(live: &LiveSettings, name: &str) -> anyhow::Result<Source> {
    ensure!(!live.hardware_time, "hardware-time: not through libpcap: use --capture packet");
    Ok(open_pcap(name, &pcap_settings(live))?)
}

/// The same, for whoever opens it again.
pub fn pcap_settings(live: &LiveSettings) -> PcapSettings {
    PcapSettings {
        snap_octets: live.snap_octets,
        promiscuous: live.promiscuous,
        filter: live.filter.clone(),
        buffer_octets: live.buffer_octets,
    }
}

fn rings(live: &LiveSettings, name: &str, workers: usize) -> anyhow::Result<Vec<Source>> {
    let filter = match &live.filter {
        Some(expression) => Some(filter::compile(expression, link_type(name))?),
        None => None,
    };
    let open = |index: usize| -> anyhow::Result<Source> {
        let config = ring_config(live, name, filter.clone(), workers);
        let ring = Ring::open(config)?;
        if index == 0 && !ring.recognises_merged() {
            say!("weir-meter: {name}: this kernel does not tell which packets it merged: each counts as one");
        }
        Ok(Box::new(ring))
    };
    (0..workers).map(open).collect()
}

fn ring_config(live: &LiveSettings, name: &str, filter: Option<Vec<Instruction>>, workers: usize) -> RingConfig {
    let octets = u32::try_from(live.buffer_octets).unwrap_or(u32::MAX);
    // The largest packet must fit into a block, and the kernel fills one while another is read.
    let block_octets = if octets >= 4 * BLOCK { BLOCK } else { BLOCK / 2 };
    let mode = match live.fanout {
        ShareOut::Addresses => FanoutMode::Addresses,
        ShareOut::Cpu => FanoutMode::Cpu,
        ShareOut::Hash => FanoutMode::Hash,
        ShareOut::Queue => FanoutMode::Queue,
    };
    let members = u32::try_from(workers).unwrap_or(u32::MAX);
    RingConfig {
        block_octets,
        blocks: (octets / block_octets).max(2),
        snap_octets: live.snap_octets,
        promiscuous: live.promiscuous,
        hardware_time: live.hardware_time,
        filter,
        poll_timeout: PATIENCE,
        fanout: (workers > 1).then(|| Fanout { group: group(name), mode, members }),
        ..RingConfig::new(name)
    }
}

/// A number for the fanout group of an interface that other programs hardly have, nor another interface of this one.
fn group(name: &str) -> u16 {
    let octets = name.bytes().map(u32::from).chain([std::process::id()]);
    let hash = octets.fold(0x811c_9dc5_u32, |hash, octet| (hash ^ octet).wrapping_mul(0x0100_0193));
    u16::try_from(hash >> 16).unwrap_or(0)
}

/// What packets of an interface begin with: `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` (linux/if_arp.h) have Ethernet headers.
fn link_type(name: &str) -> LinkType {
    let kind = fs::read_to_string(format!("/sys/class/net/{name}/type")).unwrap_or_default();
    if matches!(kind.trim(), "1" | "772") { LinkType::ETHERNET } else { LinkType::RAW }
}
