// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path, where it is asked for. Flow statistics: beside the flow table, a slab with a state for each flow, and in it what
//! the groups need that are switched on. Definitions are in `docs/statistics.md`.
//!
//! A flow gets its state when it begins, and gives it back when it is over; where none is left it has no statistics, which is
//! counted. What is measured is of the packets that a record counts, each of them in just one record: closing a record begins
//! all anew but for what is needed to understand the next packets, such as sequence numbers.
//!
//! A packet that the system merged of several is as many packets as it was on the wire, of one time and of equal shares of its
//! payload, the first ones larger by an octet where that does not come out even. Of a packet that was captured in part, lengths
//! are those on the wire, and what was cut off is not looked at.

mod bursts;
mod entropy;
mod histograms;
mod ip;
mod packets;
mod tcp;

use std::io;

use weir_flow::{Packet, Statistics, protocol, statistics::MAX_PACKETS};
use weir_parsers::packet::Headers;

pub use self::{bursts::Bursts, entropy::Entropy, histograms::Histograms, ip::Ip, packets::Seen, tcp::Tcp};
use crate::memory::{Array, prefetch, prefetch_range};

/// Which statistics are measured; none by default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Groups {
    /// So many first packets one by one, at most [`MAX_PACKETS`].
    pub packets: u8,
    /// Histograms of sizes and times.
    pub histograms: bool,
    /// Bursts.
    pub bursts: bool,
    /// Entropy of payload.
    pub entropy: bool,
    /// TCP: times, order, windows, options.
    pub tcp: bool,
    /// IP: time to live, flags; MPLS.
    pub ip: bool,
    /// Packets without payload are in `packets` and `histograms` as well.
    pub empty: bool,
}

impl Groups {
    /// First packets where nothing else is said.
    pub const PACKETS: u8 = 30;

    /// Whether there is anything to measure.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.packets > 0 || self.histograms || self.bursts || self.entropy || self.tcp || self.ip
    }

    /// Whether there is anything to measure of flows of a protocol.
    #[must_use]
    pub const fn measure(&self, protocol: u8) -> bool {
        let Self { packets, histograms, bursts, entropy, tcp, ip, .. } = *self;
        packets > 0 || histograms || bursts || entropy || ip || (tcp && protocol == protocol::TCP)
    }

    /// Octets of memory that the state of one flow takes.
    #[must_use]
    pub fn octets(&self) -> usize {
        if !self.is_on() {
            return 0;
        }
        let mut octets = size_of::<Common>() + size_of::<u32>() + self.seen() * size_of::<Seen>();
        let of = |is_on: bool, octets: usize| if is_on { octets } else { 0 };
        octets += of(self.histograms, size_of::<Histograms>());
        octets += of(self.bursts, size_of::<Bursts>());
        octets += of(self.entropy, size_of::<Entropy>());
        octets += of(self.tcp, size_of::<Tcp>());
        octets += of(self.ip, size_of::<Ip>());
        octets
    }

    /// Octets of memory for so many flows, of which so many have a state.
    #[must_use]
    pub fn memory(&self, flows: usize, states: usize) -> usize {
        if !self.is_on() {
            return 0;
        }
        flows.saturating_mul(size_of::<u32>()).saturating_add(states.saturating_mul(self.octets()))
    }

    const fn seen(&self) -> usize {
        if self.packets as usize > MAX_PACKETS { MAX_PACKETS } else { self.packets as usize }
    }
}

/// What every state has. All zero at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Common {
    /// First packets noted.
    seen: u16,
    /// Directions of which there is a packet in the open record, a bit for each.
    sides: u16,
}

/// One packet of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Its direction: 0 is that of the flow's initiator.
    pub side: usize,
    /// When it was observed, in nanoseconds.
    pub ts: u64,
    /// Packets that it was on the wire.
    pub packets: u32,
    /// Octets of the IP packet, or of all of them.
    pub ip_octets: u64,
    /// Octets of payload on the wire.
    pub payload_octets: u32,
    /// What was captured of them.
    pub payload: &'a [u8],
    /// Whether it is TCP with a header.
    pub is_tcp: bool,
    /// Control bits of TCP.
    pub flags: u16,
    /// Sequence number of TCP.
    pub sequence: u32,
    /// All that was captured.
    pub packet: &'a Packet<'a>,
}

impl Sample<'_> {
    /// Octets of payload of the packets on the wire, and how many have so many: smaller ones, then those with one octet more.
    fn lengths(&self) -> ((u32, u32), (u32, u32)) {
        let Self { packets, payload_octets, .. } = *self;
        if packets <= 1 {
            return ((payload_octets, 1), (payload_octets, 0));
        }
        let (each, larger) = (payload_octets / packets, payload_octets % packets);
        ((each, packets - larger), (each + 1, larger))
    }
}

/// Which directions a record has, as sides of the flow.
#[derive(Clone, Copy, Debug)]
pub enum View {
    /// A biflow, of which this side is the forward direction.
    Both(usize),
    /// A uniflow of this side, with the times of the connection if it is the first of two, or alone.
    One(usize, bool),
}

/// What is known elsewhere of the first packet of the reverse direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reverse {
    /// Identifier of the outermost VLAN, or zero.
    pub vlan: u16,
    /// Type of service or traffic class.
    pub class_of_service: u8,
    /// ICMP type and code.
    pub icmp_type_code: Option<u16>,
    /// Whether that is of ICMPv6.
    pub is_v6: bool,
}

/// The statistics of all flows of one cache.
#[derive(Debug)]
pub struct Measures {
    is_on: bool,
    groups: Groups,
    /// For each slot of the flow table, the place of its state, and one more; zero if there is none.
    places: Array<u32>,
    common: Array<Common>,
    seen: Array<Seen>,
    histograms: Array<Histograms>,
    bursts: Array<Bursts>,
    entropy: Array<Entropy>,
    tcp: Array<Tcp>,
    ip: Array<Ip>,
    free: Vec<u32>,
    /// States that were ever used: those behind are free, too.
    used: u32,
    states: u32,
    /// The record under construction.
    record: Box<Statistics>,
}

impl Measures {
    /// No statistics yet, for so many flows, of which so many may have a state at a time.
    ///
    /// # Errors
    ///
    /// If the system has not so much memory to give.
    pub fn new(groups: Groups, flows: usize, states: usize) -> io::Result<Self> {
        let is_on = groups.is_on();
        let states = if is_on { states.min(flows) } else { 0 };
        let of = |is_on: bool| if is_on { states } else { 0 };
        Ok(Self {
            is_on,
            groups,
            places: Array::new(if is_on { flows } else { 0 })?,
            common: Array::new(states)?,
            seen: Array::new(states.saturating_mul(groups.seen()))?,
            histograms: Array::new(of(groups.histograms))?,
            bursts: Array::new(of(groups.bursts))?,
            entropy: Array::new(of(groups.entropy))?,
            tcp: Array::new(of(groups.tcp))?,
            ip: Array::new(of(groups.ip))?,
            free: Vec::with_capacity(states),
            used: 0,
            states: u32::try_from(states).unwrap_or(u32::MAX),
            record: Box::default(),
        })
    }

    /// Whether anything is measured.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    /// The place of the state of the flow in a slot.
    #[inline]
    fn place(&self, slot: u32) -> Option<usize> {
        self.places.get(slot as usize)?.checked_sub(1).map(|place| place as usize)
    }

    /// Asks for the place of a flow's state.
    #[inline]
    pub fn prefetch_place(&self, slot: u32) {
        if let Some(place) = self.places.get(slot as usize) {
            prefetch(place);
        }
    }

    /// Asks for a flow's state, whose place was asked for.
    #[inline]
    pub fn prefetch_state(&self, slot: u32) {
        /// Asks for the first octets of a state, of which there are several lines.
        fn first<T>(array: &Array<T>, place: usize, octets: usize) {
            if let Some(state) = array.get(place) {
                let start = std::ptr::from_ref(state).cast::<u8>();
                prefetch_range(&(start..start.wrapping_add(octets.min(size_of::<T>()))));
            }
        }
        const LINE: usize = 64;
        if let Some(place) = self.place(slot) {
            first(&self.common, place, 1);
            first(&self.histograms, place, 3 * LINE);
            first(&self.bursts, place, 2 * LINE);
            first(&self.entropy, place, 1);
            first(&self.tcp, place, 4 * LINE);
            first(&self.ip, place, 1);
        }
    }

    /// A flow begins in a slot. False: there is no room for its statistics.
    pub fn begin(&mut self, slot: u32) -> bool {
        let fresh = if self.used < self.states { Some(self.used) } else { None };
        let found = self.free.pop().or(fresh);
        let (Some(state), Some(place)) = (found, self.places.get_mut(slot as usize)) else {
            return false;
        };
        self.used = self.used.max(state + 1);
        *place = state + 1;
        let state = state as usize;
        clear(&mut self.common, state);
        clear(&mut self.histograms, state);
        clear(&mut self.tcp, state);
        clear(&mut self.ip, state);
        if let Some(bursts) = self.bursts.get_mut(state) {
            bursts.begin_record();
        }
        if let Some(entropy) = self.entropy.get_mut(state) {
            entropy.begin();
        }
        true
    }

    /// The flow in a slot is over.
    pub fn end(&mut self, slot: u32) {
        if let Some(place) = self.places.get_mut(slot as usize)
            && let Some(state) = std::mem::take(place).checked_sub(1)
        {
            self.free.push(state);
        }
    }

    /// Takes a packet that was counted in the open record of the flow in a slot.
    pub fn packet(&mut self, slot: u32, sample: &Sample<'_>) {
        let Some(place) = self.place(slot) else { return };
        let groups = self.groups;
        let Some(common) = self.common.get_mut(place) else { return };
        common.sides |= 1 << sample.side;
        let has_payload = sample.payload_octets > 0;
        if has_payload || groups.empty {
            let (seen, most) = (usize::from(common.seen), groups.seen());
            if seen < most {
                let places = self.seen.get_mut(place * most + seen..(place + 1) * most);
                common.seen += Seen::note(places.unwrap_or_default(), sample) as u16;
            }
            if let Some(histograms) = self.histograms.get_mut(place) {
                histograms.packet(sample);
            }
        }
        if has_payload {
            if let Some(bursts) = self.bursts.get_mut(place) {
                bursts.packet(sample);
            }
            if let Some(entropy) = self.entropy.get_mut(place) {
                entropy.packet(sample);
            }
        }
        if groups.ip || (groups.tcp && sample.is_tcp) {
            let headers = Headers::read(sample.packet);
            if let (Some(ip), Some(headers)) = (self.ip.get_mut(place), &headers) {
                ip.packet(sample.side, headers);
            }
            if let Some(tcp) = self.tcp.get_mut(place).filter(|_| sample.is_tcp) {
                let &Sample { side, ts, sequence, flags, payload_octets: payload, packets, ip_octets, .. } = sample;
                let header = headers.and_then(|headers| headers.tcp);
                tcp.segment(&tcp::Segment { side, ts, sequence, flags, payload, packets, ip_octets, header });
            }
        }
    }

    /// The statistics of the open record of the flow in a slot; `None` if it has none. They stay until [`Self::begin_record`].
    pub fn record(&mut self, slot: u32, view: View, reverse: Reverse) -> Option<&Statistics> {
        use weir_flow::app::Fields;
        let place = self.place(slot)?;
        let common = *self.common.get(place)?;
        let has_packet = match view {
            View::Both(_) => common.sides != 0,
            View::One(side, _) => common.sides & 1 << side != 0,
        };
        if !has_packet {
            return None;
        }
        let (forward, other) = match view {
            View::Both(side) => (side, Some(1 - side)),
            View::One(side, _) => (side, None),
        };
        let out = &mut *self.record;
        out.clear();
        let most = self.groups.seen();
        let seen = self.seen.get(place * most..place * most + usize::from(common.seen)).unwrap_or_default();
        seen.iter().filter(|seen| other.is_some() || seen.side() == forward).for_each(|seen| seen.list(forward, out));
        if let Some(histograms) = self.histograms.get(place) {
            histograms.forward(forward, out);
            other.into_iter().for_each(|side| histograms.reverse(side, out));
        }
        if let Some(bursts) = self.bursts.get_mut(place) {
            bursts.end();
            bursts.forward(forward, out);
            other.into_iter().for_each(|side| bursts.reverse(side, out));
        }
        if let Some(entropy) = self.entropy.get(place) {
            entropy.forward(forward, out);
            other.into_iter().for_each(|side| entropy.reverse(side, out));
        }
        if let Some(tcp) = self.tcp.get(place) {
            tcp.forward(forward, out);
            other.into_iter().for_each(|side| tcp.reverse(side, out));
            if !matches!(view, View::One(_, false)) {
                tcp.times(out);
            }
        }
        if let Some(ip) = self.ip.get(place) {
            ip.forward(forward, out);
            other.into_iter().for_each(|side| ip.reverse(side, out));
            if other.is_some_and(|side| common.sides & 1 << side != 0) {
                out.reverse_tos = Some(reverse.class_of_service);
                out.reverse_vlan = (reverse.vlan != 0).then_some(reverse.vlan);
                out.reverse_icmp = reverse.icmp_type_code.filter(|_| !reverse.is_v6);
                out.reverse_icmpv6 = reverse.icmp_type_code.filter(|_| reverse.is_v6);
            }
        }
        Some(out)
    }

    /// The next record of the flow in a slot begins.
    pub fn begin_record(&mut self, slot: u32) {
        let Some(place) = self.place(slot) else { return };
        clear(&mut self.common, place);
        clear(&mut self.histograms, place);
        clear(&mut self.ip, place);
        if let Some(tcp) = self.tcp.get_mut(place) {
            tcp.begin_record();
        }
        if let Some(bursts) = self.bursts.get_mut(place) {
            bursts.begin_record();
        }
        if let Some(entropy) = self.entropy.get_mut(place) {
            entropy.begin_record();
        }
    }

    /// Forgets all flows, which are in slots below this one.
    pub fn clear(&mut self, end: u32) {
        self.places.get_mut(..end as usize).unwrap_or_default().fill(0);
        self.free.clear();
        self.used = 0;
    }
}

/// Makes a state as new.
fn clear<T: Default>(states: &mut [T], place: usize) {
    if let Some(state) = states.get_mut(place) {
        *state = T::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `docs/statistics.md` says.
    #[test]
    fn a_flow_takes_no_more_memory_than_the_documentation_says() {
        let none = Groups::default();
        let all =
            Groups { packets: 30, histograms: true, bursts: true, entropy: true, tcp: true, ip: true, empty: false };
        assert_eq!(none.octets(), 0);
        assert_eq!(Groups { packets: 30, ..none }.octets(), 8 + 360);
        assert_eq!(Groups { histograms: true, ..none }.octets(), 8 + 160);
        assert_eq!(Groups { bursts: true, ..none }.octets(), 8 + 784);
        assert_eq!(Groups { entropy: true, ..none }.octets(), 8 + 528);
        assert_eq!(Groups { tcp: true, ..none }.octets(), 8 + 208);
        assert_eq!(Groups { ip: true, ..none }.octets(), 8 + 53);
        assert_eq!(all.octets(), 8 + 360 + 160 + 784 + 528 + 208 + 53);
        assert_eq!(all.memory(1000, 10), 4000 + 10 * all.octets());
    }
}
