// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traces from seeds: packets in memory for the micro benchmark, and capture files with the truth beside them for the
//! comparison with others.

mod collision;
pub mod draw;
pub mod frame;
mod memory;
mod messages;
mod mix;
pub mod pcap;
mod script;
mod small;
mod tunnel;

use std::{fs, path::Path};

use anyhow::Result;

pub use memory::{MAX_FLOWS, MAX_FRAME, MIN_FRAME, Order, Trace, TraceSpec};

use crate::truth::{Summary, TruthWriter};
use pcap::PcapWriter;

/// When traces begin, in microseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000_000;

/// What kind of traffic a capture file has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Kind {
    /// 64 octets on the wire, UDP over IPv4, any flow and direction with each packet.
    Uniform,
    /// The same, flow number n being drawn as often as n to the power of -1.1 says.
    Zipf,
    /// The same, 16 packets of a flow at a time.
    Burst,
    /// TCP SYN of 64 octets on the wire, each of a flow of its own.
    Syn,
    /// As uniform, with keys that meet in one bucket of tables whose hash anybody can compute.
    Collision,
    /// VLAN, MPLS, GRE, VXLAN, IP in IP, and fragments.
    Tunnel,
    /// HTTP, DNS, TLS, SMTP, SIP and others, IPv4 and IPv6, whole conversations, some out of order and some repeated.
    Mix,
}

impl Kind {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
            Self::Burst => "burst",
            Self::Syn => "syn",
            Self::Mix => "mix",
            Self::Collision => "collision",
            Self::Tunnel => "tunnel",
        }
    }
}

/// What a capture file is made from. The same gives the same file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spec {
    /// The kind of traffic.
    pub kind: Kind,
    /// Flows to draw from; of [`Kind::Mix`], conversations that are open at a time. Means nothing to [`Kind::Syn`].
    pub flows: u32,
    /// Packets; of [`Kind::Mix`] and [`Kind::Tunnel`] a few more, so that the last conversation or datagram is whole.
    pub packets: u64,
    /// Seed of all that is drawn.
    pub seed: u64,
}

impl Spec {
    /// As text, which goes into the truth.
    #[must_use]
    pub fn made_from(&self) -> String {
        let Self { kind, flows, packets, seed } = self;
        format!("{} --flows {flows} --packets {packets} --seed {seed}", kind.name())
    }

    /// About how many octets of disk the capture file and its truth take.
    #[must_use]
    pub const fn expected_octets(&self) -> u64 {
        match self.kind {
            Kind::Mix => self.packets * 735,
            Kind::Tunnel => self.packets * 900,
            Kind::Syn => self.packets * (76 + 80),
            _ => self.packets * 76 + self.flows as u64 * 80,
        }
    }

    /// Microseconds of the whole trace: shorter than the idle timeout of 30 seconds, so that no flow is split that has
    /// not ended; of the mix longer, so that idle flows expire under way.
    fn duration(&self) -> u64 {
        let (step, most) = if self.kind == Kind::Mix { (10, 50_000_000) } else { (1, 20_000_000) };
        (self.packets * step).min(most)
    }

    /// Time of a packet, in microseconds since 1970.
    #[inline]
    fn micros(&self, packet: u64) -> u64 {
        // 128 bits: billions of packets times millions of microseconds.
        let at = u128::from(packet) * u128::from(self.duration()) / u128::from(self.packets.max(1));
        BEGIN + u64::try_from(at).unwrap_or(0)
    }

    /// Whether the trace at `path` is what this makes, whole.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let length = fs::metadata(path).map(|m| m.len());
        Summary::load(path).is_ok_and(|s| s.made_from == self.made_from() && length.is_ok_and(|l| l == s.file_octets))
    }

    /// Writes the capture file, and the truth beside it.
    ///
    /// # Errors
    ///
    /// If something cannot be written.
    pub fn write(&self, path: &Path) -> Result<Summary> {
        let mut out = Output { pcap: PcapWriter::create(path)?, truth: TruthWriter::create(path)? };
        let open_flows = match self.kind {
            Kind::Burst | Kind::Collision | Kind::Uniform | Kind::Zipf => small::datagrams(self, &mut out)?,
            Kind::Syn => small::syn(self, &mut out)?,
            Kind::Mix => mix::write(self, &mut out)?,
            Kind::Tunnel => tunnel::write(self, &mut out)?,
        };
        let (wire_octets, file_octets) = (out.pcap.wire_octets, out.pcap.file_octets());
        out.pcap.finish()?;
        let numbers = if matches!(self.kind, Kind::Mix | Kind::Syn) { 0 } else { self.flows.into() };
        let known = Summary {
            made_from: self.made_from(),
            numbers,
            open_flows,
            wire_octets,
            file_octets,
            ..Summary::default()
        };
        out.truth.finish(known)
    }
}

/// Where a trace goes.
#[derive(Debug)]
struct Output {
    pcap: PcapWriter,
    truth: TruthWriter,
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, env, process};

    use clap::ValueEnum;

    use super::*;
    use crate::truth;

    #[test]
    fn the_truth_is_what_is_in_the_file_and_the_seed_decides_it() {
        for kind in Kind::value_variants() {
            let path = env::temp_dir().join(format!("weir-bench-{}-{}.pcap", process::id(), kind.name()));
            let spec = Spec { kind: *kind, flows: 100, packets: 3_000, seed: 3 };
            let summary = spec.write(&path).unwrap();
            assert!(spec.is_at(&path) && !Spec { seed: 4, ..spec }.is_at(&path));
            let file = fs::read(&path).unwrap();
            assert_eq!(file.len() as u64, summary.file_octets);
            let records: Vec<_> = pcap::records(&file).collect();
            assert_eq!(records.len() as u64, summary.packets, "{kind:?}");
            assert_eq!(records.iter().map(|r| u64::from(r.0)).sum::<u64>(), summary.wire_octets);
            let numbers: HashSet<_> = records.iter().map(|r| r.1[frame::FLOW_NUMBER].to_vec()).collect();
            let flows = truth::flows(&path).unwrap();
            assert_eq!((numbers.len(), flows.len()), (flows.len(), usize::try_from(summary.biflows).unwrap()));
            assert_eq!(flows.iter().map(truth::Flow::packets).sum::<u64>(), summary.packets);
            let keys: HashSet<_> = flows.iter().map(truth::Flow::canonical).collect();
            assert_eq!(keys.len(), flows.len());
            Spec { seed: 4, ..spec }.write(&path).unwrap();
            assert_ne!(fs::read(&path).unwrap(), file, "{kind:?}");
            for ending in ["", ".flows", ".apps", ".truth.json"] {
                fs::remove_file(truth::beside(&path, ending)).unwrap();
            }
        }
    }
}
