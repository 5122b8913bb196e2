// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets, and where they come from.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::{Timestamp, ledger::Captured};

/// Most packets in one batch.
///
/// Large enough that memory latency overlaps over the packets of a batch, small enough that their headers stay in the
/// first-level cache.
pub const BATCH: usize = 64;

/// Kind of the first header of a packet: a LINKTYPE_ number of the pcap file format.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without address and control octets.
    pub const PPP: Self = Self(9);
    /// Raw IP, as some BSDs number it.
    pub const RAW_BSD: Self = Self(12);
    /// Raw IP, as OpenBSD numbers it.
    pub const RAW_OPENBSD: Self = Self(14);
    /// PPP in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session packets without an Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP, the version tells which.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One observed packet, borrowed from its source until the next batch is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The captured bytes, from the first octet of the link header on. May be shorter than the packet was (snap length).
    pub data: &'a [u8],
    /// Octets that the packet had on the wire, link header included, frame check sequence not. Of a merged one, octets of
    /// all the packets that it was.
    pub wire_octets: u32,
    /// When it was observed.
    pub ts: Timestamp,
    /// Interface that it was observed on: index within the source, or the system's for a live one.
    pub interface: u32,
    /// Kind of its first header.
    pub link: LinkType,
    /// The packets that the system merged into this one.
    pub merged: Merged,
}

/// What a packet was on the wire if the system merged several of a flow into one before it was observed (generic receive
/// offload), or will cut it into several after (segmentation offload). A file has no such packets, nor has the default.
///
/// All of them had the same headers, from the link layer to the transport layer. So
///
/// - packets on the wire: `1 + further_packets`
/// - octets that the merged packet has as one: `wire_octets - further_packets * header_octets`, of which all may be captured
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Merged {
    /// Packets on the wire beyond the first.
    pub further_packets: u16,
    /// Octets of headers that each of them had, the link header included; zero if there are none.
    pub header_octets: u16,
}

impl Merged {
    /// Nothing was merged.
    pub const NOT: Self = Self { further_packets: 0, header_octets: 0 };

    /// Octets of headers that the further packets had: what is on the wire beyond the merged packet itself.
    #[inline]
    #[must_use]
    pub const fn repeated_octets(self) -> u32 {
        // 16 bits by 16 bits.
        self.further_packets as u32 * self.header_octets as u32
    }
}

impl Packet<'_> {
    /// In place of a packet that has not come.
    pub const NOTHING: Packet<'static> = Packet {
        data: &[],
        wire_octets: 0,
        ts: Timestamp::ZERO,
        interface: 0,
        link: LinkType::NULL,
        merged: Merged::NOT,
    };

    /// Packets on the wire that this one stands for, at least one.
    #[inline]
    #[must_use]
    pub const fn wire_packets(&self) -> u32 {
        1 + self.merged.further_packets as u32
    }

    /// Octets that the packet has as the one that it is here.
    #[inline]
    #[must_use]
    pub const fn octets_as_one(&self) -> u32 {
        self.wire_octets.saturating_sub(self.merged.repeated_octets())
    }
}

/// What a source has to say after a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceState {
    /// There may be more.
    More,
    /// A live source had nothing within its waiting time.
    Idle,
    /// A file is at its end.
    End,
}

/// Octets that packets lie in, for whoever looks at them on another thread.
pub type SharedOctets = Arc<[u8]>;

/// A source of packets: a capture file, a ring of the kernel.
pub trait PacketSource {
    /// Hands the packets at hand to `visit`, in batches of 1 to [`BATCH`] packets in the order observed. There may be
    /// none; there are not many more than fit into a buffer of the source.
    ///
    /// The packets are borrowed for the duration of the call to `visit`. A live source blocks for a bounded time when
    /// there is nothing.
    ///
    /// # Errors
    ///
    /// When the source can yield nothing more. All packets before the damage have been handed over by then.
    fn poll(&mut self, visit: &mut dyn FnMut(&[Packet<'_>])) -> Result<SourceState, SourceError>;

    /// As [`Self::poll`], and hands over the memory that the packets lie in, if there is such: whoever keeps a clone of it
    /// may look at them after the call to `visit`, without a copy. As long as he does, the source reads on into other
    /// memory.
    ///
    /// # Errors
    ///
    /// As of [`Self::poll`].
    fn poll_shared(
        &mut self,
        visit: &mut dyn FnMut(&[Packet<'_>], Option<&SharedOctets>),
    ) -> Result<SourceState, SourceError> {
        self.poll(&mut |batch| visit(batch, None))
    }

    /// Whether a poll may take its time, for packets that are only coming. Not so of a file.
    fn may_wait(&self) -> bool {
        true
    }

    /// Whether the interface of a live source is down or away, as far as is known.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// Why a live source cannot take up its interface, though that is there and up again. It goes on trying, where that may
    /// help; of the kind [`io::ErrorKind::PermissionDenied`] is what this process has no right to any more.
    fn refusal(&self) -> Option<io::Error> {
        None
    }

    /// Times that the interface of a live source went down or away, since it was opened.
    fn interruptions(&self) -> u64 {
        0
    }

    /// What the layers below did with the packets of a live source, since it was opened.
    fn captured(&mut self) -> Captured {
        Captured::default()
    }
}

/// Why a source ended early.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// The bytes at `offset` are not what the file format allows there.
    Damaged {
        /// Byte offset of the first octet that cannot be right, from the start of the file (uncompressed).
        offset: u64,
        /// What was expected there, and what was found.
        what: String,
    },
    /// The system refused to read on.
    Io(io::Error),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { offset, what } => write!(f, "damaged at byte {offset}: {what}"),
            Self::Io(error) => write!(f, "cannot read: {error}"),
        }
    }
}

impl std::error::Error for SourceError {}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
