// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is in a trace, exactly: a summary as JSON, and a file with a line of octets for each flow.
//!
//! Beside `X.pcap` lie `X.pcap.truth.json`, `X.pcap.flows` and, where flows carry messages, `X.pcap.apps`.
//!
//! A flow in `X.pcap.flows`, 80 octets, numbers little-endian; the source is who sent the first packet:
//!
//! | octets | | octets | |
//! |---|---|---|---|
//! | 0..16 | source address (IPv4: the first four) | 40..44, 44..48 | packets forward, reverse |
//! | 16..32 | destination address | 48..56, 56..64 | octets forward, reverse, as IP counts |
//! | 32..34, 34..36 | ports | 64..72 | first packet, nanoseconds since 1970 |
//! | 36..38 | outermost VLAN | 72..80 | last packet |
//! | 38, 39 | protocol, IP version | | |
//!
//! A line of `X.pcap.apps` is the number of a flow in `X.pcap.flows`, a protocol, and what identifies one message of it: the
//! host of an HTTP request, the name of a DNS question, the server name in a TLS handshake, the sender of a mail, the
//! Call-ID of a SIP dialogue. Separated by tabs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_flow::{FlowKey, IpVersion};

use crate::trace::frame::Side;

/// Changes with what is written, so that old traces are made anew.
pub const VERSION: u64 = 2;
const FLOW_OCTETS: usize = 80;

/// Packets and octets of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Packets.
    pub packets: u32,
    /// Octets from the IP header on.
    pub octets: u64,
}

/// Everything about one flow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flow {
    /// As the first packet has it; with the VLAN, but without interface and class of service.
    pub key: FlowKey,
    /// From the key's source.
    pub forward: Count,
    /// Towards it.
    pub reverse: Count,
    /// Time of the first packet, in nanoseconds since 1970.
    pub first: u64,
    /// Time of the last packet.
    pub last: u64,
}

impl Flow {
    /// A flow without packets.
    #[must_use]
    pub fn new(key: FlowKey) -> Self {
        Self { key, ..Self::default() }
    }

    /// Counts a packet of `octets` from the IP header on.
    #[inline]
    pub fn count(&mut self, side: Side, octets: u64, micros: u64) {
        let nanos = micros * 1000;
        if self.packets() == 0 {
            self.first = nanos;
        }
        self.last = nanos;
        let count = if side == Side::Forward { &mut self.forward } else { &mut self.reverse };
        count.packets += 1;
        count.octets += octets;
    }

    /// Adds what another record of the same flow has, whichever direction its key has.
    pub fn merge(&mut self, other: &Self) {
        let [forward, reverse] =
            if other.key == self.key { [other.forward, other.reverse] } else { [other.reverse, other.forward] };
        for (to, from) in [(&mut self.forward, forward), (&mut self.reverse, reverse)] {
            to.packets += from.packets;
            to.octets += from.octets;
        }
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// Packets of both directions.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.forward.packets as u64 + self.reverse.packets as u64
    }

    /// Octets of both directions.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.forward.octets + self.reverse.octets
    }

    /// Directions that have packets.
    #[must_use]
    pub const fn uniflows(&self) -> u64 {
        (self.forward.packets > 0) as u64 + (self.reverse.packets > 0) as u64
    }

    /// The key, the same for both directions.
    #[must_use]
    pub fn canonical(&self) -> FlowKey {
        self.key.min(self.key.reversed())
    }

    fn to_octets(self) -> [u8; FLOW_OCTETS] {
        let mut octets = [0; FLOW_OCTETS];
        let Self { key, forward, reverse, first, last } = self;
        let parts: [&[u8]; 13] = [
            &key.src,
            &key.dst,
            &key.src_port.to_le_bytes(),
            &key.dst_port.to_le_bytes(),
            &key.vlan.to_le_bytes(),
            &[key.protocol],
            &[key.version as u8],
            &forward.packets.to_le_bytes(),
            &reverse.packets.to_le_bytes(),
            &forward.octets.to_le_bytes(),
            &reverse.octets.to_le_bytes(),
            &first.to_le_bytes(),
            &last.to_le_bytes(),
        ];
        for (to, from) in octets.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        octets
    }

    fn from_octets(octets: &[u8; FLOW_OCTETS]) -> Self {
        let mut rest = octets.as_slice();
        let number = |rest: &mut &[u8], octets: usize| {
            let part = rest.split_off(..octets).unwrap_or_default();
            part.iter().rev().fold(0_u64, |number, octet| number << 8 | u64::from(*octet))
        };
        let address = |rest: &mut &[u8]| rest.split_off(..16).and_then(|part| part.try_into().ok()).unwrap_or_default();
        let (src, dst) = (address(&mut rest), address(&mut rest));
        let mut short = || u16::try_from(number(&mut rest, 2)).unwrap_or_default();
        let (src_port, dst_port, vlan) = (short(), short(), short());
        let protocol = u8::try_from(number(&mut rest, 1)).unwrap_or_default();
        let version = if number(&mut rest, 1) == 6 { IpVersion::V6 } else { IpVersion::V4 };
        let mut packets = || u32::try_from(number(&mut rest, 4)).unwrap_or_default();
        let (forward, reverse) = (packets(), packets());
        let mut long = || number(&mut rest, 8);
        Self {
            key: FlowKey { src, dst, src_port, dst_port, vlan, protocol, version, ..FlowKey::default() },
            forward: Count { packets: forward, octets: long() },
            reverse: Count { packets: reverse, octets: long() },
            first: long(),
            last: long(),
        }
    }
}

/// What all flows come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// What the trace was made from, as text: the same text, the same trace.
    pub made_from: String,
    /// Packets.
    pub packets: u64,
    /// Octets from the IP header on.
    pub ip_octets: u64,
    /// Octets of the frames, without frame check sequences.
    pub wire_octets: u64,
    /// Octets of the capture file.
    pub file_octets: u64,
    /// Flows, both directions in one.
    pub biflows: u64,
    /// Flows, each direction by itself.
    pub uniflows: u64,
    /// Numbers of flows that frames carry are below this.
    pub numbers: u64,
    /// Most flows that were between their first and their last packet at a time.
    pub open_flows: u64,
    /// From the first to the last packet, in nanoseconds.
    pub duration: u64,
    /// Messages in `X.pcap.apps`, by protocol.
    pub messages: BTreeMap<String, u64>,
}

impl Summary {
    /// The summary beside a trace.
    ///
    /// # Errors
    ///
    /// If there is none, or one of another version.
    pub fn load(trace: &Path) -> Result<Self> {
        let path = beside(trace, ".truth.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let value: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Self::from_json(&value).with_context(|| format!("{}: not of version {VERSION}", path.display()))
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "version": VERSION,
            "made_from": self.made_from,
            "packets": self.packets,
            "ip_octets": self.ip_octets,
            "wire_octets": self.wire_octets,
            "file_octets": self.file_octets,
            "biflows": self.biflows,
            "uniflows": self.uniflows,
            "numbers": self.numbers,
            "open_flows": self.open_flows,
            "duration_nanoseconds": self.duration,
            "messages": self.messages,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let messages = value.get("messages")?.as_object()?;
        (number("version")? == VERSION).then_some(Self {
            made_from: value.get("made_from")?.as_str()?.to_owned(),
            packets: number("packets")?,
            ip_octets: number("ip_octets")?,
            wire_octets: number("wire_octets")?,
            file_octets: number("file_octets")?,
            biflows: number("biflows")?,
            uniflows: number("uniflows")?,
            numbers: number("numbers")?,
            open_flows: number("open_flows")?,
            duration: number("duration_nanoseconds")?,
            messages: messages.iter().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect(),
        })
    }
}

/// The file beside a trace whose name ends in `ending`.
#[must_use]
pub fn beside(trace: &Path, ending: &str) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes the truth while a trace is made.
#[derive(Debug)]
pub struct TruthWriter {
    path: PathBuf,
    flows: BufWriter<File>,
    apps: BufWriter<File>,
    summary: Summary,
    first: u64,
    last: u64,
}

impl TruthWriter {
    /// Begins the files beside a trace. What says that the trace is whole is taken away.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn create(trace: &Path) -> io::Result<Self> {
        let _ = fs::remove_file(beside(trace, ".truth.json"));
        let file = |ending: &str| File::create(beside(trace, ending)).map(|f| BufWriter::with_capacity(1 << 18, f));
        Ok(Self {
            path: trace.to_owned(),
            flows: file(".flows")?,
            apps: file(".apps")?,
            summary: Summary::default(),
            first: u64::MAX,
            last: 0,
        })
    }

    /// Adds a flow that has all its packets, and gives its number; one without packets is left out.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn flow(&mut self, flow: &Flow) -> io::Result<u64> {
        if flow.packets() == 0 {
            return Ok(self.summary.biflows);
        }
        self.first = self.first.min(flow.first);
        self.last = self.last.max(flow.last);
        let summary = &mut self.summary;
        summary.biflows += 1;
        summary.uniflows += flow.uniflows();
        summary.packets += flow.packets();
        summary.ip_octets += flow.octets();
        self.flows.write_all(&flow.to_octets())?;
        Ok(self.summary.biflows - 1)
    }

    /// Adds a message of a flow.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn message(&mut self, flow: u64, protocol: &'static str, identity: &str) -> io::Result<()> {
        *self.summary.messages.entry(protocol.to_owned()).or_default() += 1;
        writeln!(self.apps, "{flow}\t{protocol}\t{identity}")
    }

    /// Writes what is left, and the summary last of all: what is `known`, and what was counted here.
    ///
    /// # Errors
    ///
    /// If something cannot be written.
    pub fn finish(mut self, known: Summary) -> Result<Summary> {
        self.flows.flush()?;
        self.apps.flush()?;
        let Summary { packets, ip_octets, biflows, uniflows, messages, .. } = self.summary;
        let duration = self.last.saturating_sub(self.first);
        let numbers = known.numbers.max(biflows);
        let summary = Summary { packets, ip_octets, biflows, uniflows, messages, duration, numbers, ..known };
        fs::write(beside(&self.path, ".truth.json"), format!("{:#}\n", summary.json()))?;
        Ok(summary)
    }
}

/// All flows of a trace, in the order of their numbers.
///
/// # Errors
///
/// If they cannot be read.
pub fn flows(trace: &Path) -> Result<Vec<Flow>> {
    let path = beside(trace, ".flows");
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let mut flows = Vec::with_capacity(usize::try_from(file.metadata()?.len())? / FLOW_OCTETS);
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut octets = [0; FLOW_OCTETS];
    for _ in 0..flows.capacity() {
        reader.read_exact(&mut octets)?;
        flows.push(Flow::from_octets(&octets));
    }
    Ok(flows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_written_and_read_and_counts_what_it_is_told() {
        let key = FlowKey { vlan: 7, ..FlowKey::new([0x20; 16].into(), [0x21; 16].into(), 1, 2, 17) };
        let mut flow = Flow::new(key);
        flow.count(Side::Forward, 100, 5);
        flow.count(Side::Reverse, 50, 9);
        flow.count(Side::Reverse, 60, 11);
        assert_eq!((flow.packets(), flow.octets(), flow.uniflows()), (3, 210, 2));
        assert_eq!((flow.first, flow.last), (5000, 11_000));
        assert_eq!(Flow::from_octets(&flow.to_octets()), flow);
        let mut other = Flow::new(key.reversed());
        other.count(Side::Forward, 70, 3);
        flow.merge(&other);
        assert_eq!((flow.reverse, flow.first, flow.last), (Count { packets: 3, octets: 180 }, 3000, 11_000));
        assert_eq!(flow.canonical(), other.canonical());
    }

    #[test]
    fn a_summary_of_another_version_is_none() {
        let summary =
            Summary { made_from: "x".into(), packets: 7, messages: [("dns".into(), 3)].into(), ..Summary::default() };
        assert_eq!(Summary::from_json(&summary.json()), Some(summary.clone()));
        let mut other = summary.json();
        other["version"] = (VERSION + 1).into();
        assert_eq!(Summary::from_json(&other), None);
    }
}
