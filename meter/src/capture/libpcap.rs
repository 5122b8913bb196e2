// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capture files that only libpcap reads, one packet at a time. Timestamps are in microseconds, as these files have them.

use std::io;

use pcap::{Capture, Offline};
use weir_flow::{LinkType, Merged, Packet, PacketSource, SourceError, SourceState, Timestamp};

/// Opens the file at `path`.
///
/// # Errors
///
/// What libpcap says.
pub(super) fn open(path: &str) -> Result<Box<dyn PacketSource + Send>, pcap::Error> {
    let capture = Capture::from_file(path)?;
    // The numbers of link types in files and in memory differ for a few BSDs only, whose own numbers are decoded too.
    let link = u16::try_from(capture.get_datalink().0).map_or(LinkType(u16::MAX), LinkType);
    Ok(Box::new(File { capture, link }))
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
