// SPDX-License-Identifier: MIT OR Apache-2.0
//! libpcap: capture files that only it reads, and interfaces that are captured through it.
//!
//! libpcap lends a packet for the time of a callback only, so a live source copies packets into a batch: what comes after
//! gains more from batches than the copy costs. It waits by itself: libpcap's own waiting may last, on an idle link, much
//! longer than its timeout says. Counters are those of `pcap_stats`, 32 bits wide, made wide here.

use std::{io, time::Duration};

use pcap::{Active, Capture, Offline, Precision, Stat};
use weir_flow::{BATCH, LinkType, Merged, Packet, PacketSource, SourceError, SourceState, Timestamp, ledger::Captured};

use super::{OpenError, PATIENCE, PcapSettings, wait};

/// Packets that are taken from libpcap's buffer before others have their turn.
const DISPATCH: usize = 16 * BATCH;
/// How long libpcap's buffer collects packets before it hands them over.
const COLLECT: Duration = Duration::from_millis(10);

/// Opens the file at `path`. Timestamps are in microseconds, as these files have them.
///
/// # Errors
///
/// What libpcap says.
pub(super) fn open(path: &str) -> Result<Box<dyn PacketSource + Send>, pcap::Error> {
    let capture = Capture::from_file(path)?;
    let link = link_type(capture.get_datalink());
    Ok(Box::new(File { capture, link }))
}

/// The numbers of link types in files and in memory differ for a few BSDs only, whose own numbers are decoded too.
fn link_type(link: pcap::Linktype) -> LinkType {
    u16::try_from(link.0).map_or(LinkType(u16::MAX), LinkType)
}

struct File {
    capture: Capture<Offline>,
    link: LinkType,
}

impl PacketSource for File {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        match self.capture.next_packet() {
            Ok(packet) => {
                let secs = u64::try_from(packet.header.ts.tv_sec).unwrap_or_default();
                let micros = u64::try_from(packet.header.ts.tv_usec).unwrap_or_default();
                let captured = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
                visit(&[Packet {
                    data: packet.data,
                    wire_octets: packet.header.len.max(captured),
                    ts: Timestamp::from_micros(secs.saturating_mul(1_000_000).saturating_add(micros)),
                    interface: 0,
                    link: self.link,
                    merged: Merged::NOT,
                }]);
                Ok(SourceState::More)
            }
            Err(pcap::Error::NoMorePackets) => Ok(SourceState::End),
            // libpcap does not say where.
            Err(error) => Err(SourceError::Io(io::Error::other(error))),
        }
    }
}

/// Opens an interface.
///
/// # Errors
///
/// What libpcap says: there is no such interface, this process may not capture, the filter makes no sense.
pub(super) fn open_live(interface: &str, settings: &PcapSettings) -> Result<Box<dyn PacketSource + Send>, OpenError> {
    let failed = |error: pcap::Error| {
        let text = error.to_string();
        // libpcap gives a text, not the number of the error.
        let is_refused = ["not permitted", "ermission"].iter().any(|refusal| text.contains(refusal));
        let remedy = if is_refused { " (it takes CAP_NET_RAW)" } else { "" };
        OpenError::Interface { interface: interface.to_owned(), reason: format!("{text}{remedy}") }
    };
    let number = |octets: usize| i32::try_from(octets).unwrap_or(i32::MAX);
    let inactive = Capture::from_device(interface)
        .map_err(failed)?
        .promisc(settings.promiscuous)
        .snaplen(number(settings.snap_octets as usize))
        .timeout(number(COLLECT.as_millis() as usize))
        .buffer_size(number(settings.buffer_octets));
    let mut capture = inactive.precision(Precision::Nano).open().map_err(failed)?;
    if let Some(filter) = &settings.filter {
        capture.filter(filter, true).map_err(failed)?;
    }
    let capture = capture.setnonblock().map_err(failed)?;
    let link = link_type(capture.get_datalink());
    let index = super::interface_index(interface).unwrap_or(0);
    Ok(Box::new(Live {
        capture,
        link,
        index,
        name: interface.to_owned(),
        is_down: false,
        interruptions: 0,
        batch: Batch::default(),
        stat: Stat { received: 0, dropped: 0, if_dropped: 0 },
        captured: Captured::default(),
    }))
}

struct Live {
    capture: Capture<Active>,
    link: LinkType,
    index: u32,
    name: String,
    /// Whether the interface was down when it was looked at last.
    is_down: bool,
    interruptions: u64,
    batch: Batch,
    /// Counters as libpcap last said them.
    stat: Stat,
    captured: Captured,
}

/// Packets that were copied.
#[derive(Default)]
struct Batch {
    octets: Vec<u8>,
    packets: Vec<Copied>,
}

#[derive(Clone, Copy)]
struct Copied {
    begin: usize,
    end: usize,
    wire_octets: u32,
    ts: Timestamp,
}

impl Batch {
    fn push(&mut self, packet: &pcap::Packet<'_>) {
        let begin = self.octets.len();
        self.octets.extend_from_slice(packet.data);
        let captured = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        let secs = u64::try_from(packet.header.ts.tv_sec).unwrap_or_default();
        // With this precision, nanoseconds are where microseconds were.
        let nanos = u64::try_from(packet.header.ts.tv_usec).unwrap_or_default();
        let ts = Timestamp::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos));
        let wire_octets = packet.header.len.max(captured);
        self.packets.push(Copied { begin, end: self.octets.len(), wire_octets, ts });
    }

    /// Hands over what was copied, and forgets it.
    fn give(&mut self, interface: u32, link: LinkType, visit: &mut dyn FnMut(&[Packet<'_>])) {
        let packet = |copied: &Copied| Packet {
            data: self.octets.get(copied.begin..copied.end).unwrap_or_default(),
            wire_octets: copied.wire_octets,
            ts: copied.ts,
            interface,
            link,
            merged: Merged::NOT,
        };
        let mut packets = [packet(&Copied { begin: 0, end: 0, wire_octets: 0, ts: Timestamp::ZERO }); BATCH];
        for (place, copied) in packets.iter_mut().zip(&self.packets) {
            *place = packet(copied);
        }
        if let Some(batch @ [_, ..]) = packets.get(..self.packets.len()) {
            visit(batch);
        }
        self.octets.clear();
        self.packets.clear();
    }
}

impl Live {
    /// Looks whether the interface is down, of which libpcap says nothing. If it is away, libpcap does.
    fn look_at_interface(&mut self) {
        let Some(is_up) = super::interface_is_up(&self.name) else { return };
        if !is_up && !self.is_down {
            self.interruptions += 1;
        }
        self.is_down = !is_up;
    }
}

impl PacketSource for Live {
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError> {
        let Self { capture, link, index, batch, .. } = self;
        let taken = capture.dispatch(Some(DISPATCH), |packet| {
            batch.push(&packet);
            if batch.packets.len() == BATCH {
                batch.give(*index, *link, visit);
            }
        });
        batch.give(*index, *link, visit);
        match taken {
            Ok(1..) => Ok(SourceState::More),
            Ok(0) if wait::readable(capture, PATIENCE)? => Ok(SourceState::More),
            Ok(0) => {
                self.look_at_interface();
                Ok(SourceState::Idle)
            }
            Err(error) => Err(SourceError::Io(io::Error::other(error))),
        }
    }

    fn is_interrupted(&self) -> bool {
        self.is_down
    }

    fn interruptions(&self) -> u64 {
        self.interruptions
    }

    fn captured(&mut self) -> Captured {
        if let Ok(stat) = self.capture.stats() {
            let more = |now: u32, before: u32| u64::from(now.wrapping_sub(before));
            let by_interface = more(stat.if_dropped, self.stat.if_dropped);
            // libpcap's number has those in it that found its buffer full.
            self.captured.offered_packets += more(stat.received, self.stat.received) + by_interface;
            self.captured.lost_ring_full += more(stat.dropped, self.stat.dropped);
            self.captured.lost_by_interface += by_interface;
            self.stat = stat;
        }
        self.captured
    }
}
