// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow records: what a metering process makes and a collecting process gets back.

use std::net::IpAddr;

use crate::{FlowKey, Statistics, Timestamp, app::AppRef};

/// Bits of tcpControlBits (element 6), as in the TCP header (RFC 9293 section 3.1).
pub mod tcp_flags {
    /// No more data from sender.
    pub const FIN: u16 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u16 = 0x02;
    /// Reset the connection.
    pub const RST: u16 = 0x04;
    /// Push function.
    pub const PSH: u16 = 0x08;
    /// Acknowledgment field is significant.
    pub const ACK: u16 = 0x10;
    /// Urgent pointer field is significant.
    pub const URG: u16 = 0x20;
}

/// What was counted in one direction of a flow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Octets from the first of the IP header to the last of the IP payload.
    pub octets: u64,
    /// Earliest packet; meaningless while `packets` is zero.
    pub first: Timestamp,
    /// Latest packet; never before `first`.
    pub last: Timestamp,
    /// Control bits of all packets, or-ed; zero unless TCP.
    pub tcp_flags: u16,
}

impl Counters {
    /// Adds one packet.
    #[inline]
    pub fn count(&mut self, octets: u64, ts: Timestamp, tcp_flags: u16) {
        if self.packets == 0 {
            self.first = ts;
            self.last = ts;
        } else {
            self.first = self.first.min(ts);
            self.last = self.last.max(ts);
        }
        self.packets += 1;
        self.octets += octets;
        self.tcp_flags |= tcp_flags;
    }
}

/// Why a record left the cache: flowEndReason (element 136, RFC 5102 section 5.11.3).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct EndReason(pub u8);

impl EndReason {
    /// The exporter did not say.
    pub const UNKNOWN: Self = Self(0);
    /// No packet for the idle timeout.
    pub const IDLE: Self = Self(1);
    /// The record was open for the active timeout; the flow goes on.
    pub const ACTIVE: Self = Self(2);
    /// The end of the flow was seen: FIN in both directions, or RST.
    pub const END_OF_FLOW: Self = Self(3);
    /// The metering process closed it: at its own end, or because the next transaction of the same flow began.
    pub const FORCED: Self = Self(4);
    /// Room was needed for another flow.
    pub const LACK_OF_RESOURCES: Self = Self(5);
}

/// Who sent a record to a collecting process.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// Address of the exporting process; `None` within the metering process itself and for files.
    pub exporter: Option<IpAddr>,
    /// Observation domain (RFC 7011 section 3.1).
    pub domain: u32,
}

/// An information element that no field of [`FlowRecord`] carries, kept as it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExtraElement {
    /// Private enterprise number, zero for IANA's elements.
    pub enterprise: u32,
    /// Element identifier without the enterprise bit.
    pub id: u16,
    /// The encoded value, in network byte order.
    pub octets: Vec<u8>,
}

/// One flow record, borrowed from whoever made it for the duration of the hand-over.
///
/// A biflow (RFC 5103) has packets in `reverse`; a uniflow has none. `forward` is the direction of `key`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FlowRecord<'a> {
    /// The flow's key, in the direction of its initiator.
    pub key: FlowKey,
    /// Direction of `key`.
    pub forward: Counters,
    /// Opposite direction.
    pub reverse: Counters,
    /// The same for every record of one flow (element 148). Zero: unknown.
    pub flow_id: u64,
    /// Why it was closed.
    pub end_reason: EndReason,
    /// Identifier of the outermost VLAN of the first packet of the direction of `key`, zero if it had none.
    pub vlan: u16,
    /// Type of service or traffic class octet of that packet.
    pub class_of_service: u8,
    /// Interface of that packet.
    pub ingress_interface: u32,
    /// Interface of departure, where an exporter says so.
    pub egress_interface: u32,
    /// ICMP type in the upper octet, code in the lower one, of that packet; `None` unless ICMP or ICMPv6.
    pub icmp_type_code: Option<u16>,
    /// Fields of one application transaction.
    pub app: Option<AppRef<'a>>,
    /// What was measured of its packets.
    pub statistics: Option<&'a Statistics>,
    /// Elements that came with the record and have no field here.
    pub extra: &'a [ExtraElement],
    /// Who sent it.
    pub origin: Origin,
}

impl FlowRecord<'_> {
    /// Earliest packet of either direction.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        match (self.forward.packets, self.reverse.packets) {
            (_, 0) => self.forward.first,
            (0, _) => self.reverse.first,
            _ => self.forward.first.min(self.reverse.first),
        }
    }

    /// Latest packet of either direction.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.forward.last.max(self.reverse.last)
    }
}

/// Takes finished records.
pub trait RecordSink {
    /// Takes one record; it is borrowed for the duration of the call.
    fn record(&mut self, record: &FlowRecord<'_>);
}

impl<F: FnMut(&FlowRecord<'_>)> RecordSink for F {
    fn record(&mut self, record: &FlowRecord<'_>) {
        self(record);
    }
}
