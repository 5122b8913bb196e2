// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The flow cache of one worker: counts packets in flows, and closes records.
//!
//! The cache has a clock, which it is told (see [`Clock`](crate::clock::Clock)). It never goes back, so a packet out of order
//! ages nothing. A record is due at the earlier of (last packet + idle timeout) and (begin of the record + active timeout); that
//! is checked when a packet comes for its flow, and by a wheel otherwise, so what is in a record does not depend on when the
//! wheel turns. A TCP flow that has ended (FIN in both directions that were seen, or RST) waits [`CLOSE_WAIT`] for
//! stragglers; a SYN in that time begins a new flow.
//!
//! The initiator is who sent the first packet, unless that packet tells otherwise: a SYN with ACK is an answer, and so,
//! where the beginning was not seen, is TCP from a well-known port to another. A flow in which only the responder was heard
//! is turned round in its records.

use std::{io, time::Duration};

use weir_flow::{
    BATCH, Counters, EndReason, FlowKey, FlowRecord, IpVersion, Packet, RecordSink, Timestamp,
    app::AppRef,
    ledger::Metered,
    protocol,
    tcp_flags::{ACK, FIN, RST, SYN},
};
use weir_parsers::{
    app::{Direction, KEEP_ALIVE, MAX_DATAGRAMS, is_unknown_datagram},
    packet::{Decoded, Plain},
};

use crate::{
    MeterConfig,
    apps::{After, Apps, DEPTH, Expected, Payload, Rate, UNWANTED},
    hash::{Seed, flow_id},
    heap::Heap,
    statistics::{Measures, Reverse, Sample, View},
    table::{Cold, Entry, FlowTable, Hot, Inserted, NONE, Narrow, Place, Wide, state},
    wheel::Wheel,
};

/// How long an ended TCP flow waits for late segments and acknowledgments.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Directions by the index that counters have.
const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Reverse];

/// Entries that are asked for before the first of them is looked at: their memory takes about as long as looking at so many.
const AHEAD: usize = 16;

/// Among control bits, of which there are twelve: the packet was several on the wire.
const MERGED: u16 = 1 << 15;

/// One packet on its way into the cache: what is needed to count it in an open record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// The key of its flow; [`Narrow::NOBODYS`] if the packet is not metered here.
    key: Narrow,
    place: Place,
    ip_octets: u64,
    /// Control bits, if TCP; and [`MERGED`].
    flags: u16,
    /// The packet's direction is opposite to that of `key`.
    swapped: bool,
    /// There is nothing for application parsers, or for the order of their stream.
    is_bare: bool,
}

/// What more is needed of a packet that begins or ends something, or that parsers look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details {
    /// The rest of its key, where that is wide.
    wide: Wide,
    /// Sequence number, if TCP.
    sequence: u32,
    /// The payload: where it is in the captured octets, its captured octets, its octets on the wire.
    payload: [u32; 2],
    payload_octets: u32,
    vlan: u16,
    icmp_type_code: Option<u16>,
    class_of_service: u8,
    is_tcp: bool,
}

impl Observed {
    /// Whether the packet is counted here.
    #[inline]
    pub fn is_metered(&self) -> bool {
        self.key != Narrow::NOBODYS
    }

    /// Marks a packet that was several on the wire, so that it does not go the way of a single one.
    pub fn mark_merged(&mut self) {
        self.flags |= MERGED;
    }

    /// Marks a packet that is not counted here.
    #[inline]
    pub fn leave_out(&mut self) {
        self.key = Narrow::NOBODYS;
    }

    fn ports(&self) -> [u16; 2] {
        let [first, second] = self.key.ports();
        if self.swapped { [second, first] } else { [first, second] }
    }
}

impl Details {
    /// Whether there is nothing for application parsers, or for the order of their stream.
    #[inline]
    fn has_no_payload(&self) -> bool {
        // A snapped segment without captured payload still is a gap; a datagram is nothing.
        self.payload[1] == 0 && (!self.is_tcp || self.payload_octets == 0)
    }
}

/// A packet that is to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What is needed of each.
    pub observed: &'a Observed,
    /// What is needed of some.
    pub details: &'a Details,
    /// The packet itself.
    pub packet: &'a Packet<'a>,
}

impl<'a> Arrival<'a> {
    /// Whether this datagram is none that a parser knows.
    fn is_unknown_datagram(&self, direction: Direction) -> bool {
        let payload = Payload { direction, ..self.payload() };
        is_unknown_datagram(payload.datagram(), self.observed.ports())
    }

    fn payload(&self) -> Payload<'a> {
        let Details { payload: [at, len], payload_octets, is_tcp, sequence, .. } = *self.details;
        let Packet { data, ts, .. } = *self.packet;
        Payload {
            direction: Direction::Forward,
            bytes: data.get(at as usize..).and_then(|behind| behind.get(..len as usize)).unwrap_or_default(),
            octets: payload_octets,
            tcp: is_tcp.then_some((sequence, u32::from(self.observed.flags & !MERGED))),
            ts,
        }
    }
}

/// A flow cache. Records go to a [`RecordSink`] that is passed in.
#[derive(Debug)]
pub struct FlowCache {
    table: FlowTable,
    wheel: Wheel,
    apps: Apps,
    measures: Measures,
    /// Of each application state.
    rates: Vec<Rate>,
    now: u64,
    /// When the wheel turns next.
    next_second: u64,
    config: MeterConfig,
    idle: u64,
    active: u64,
    /// Whole units of 4.3 seconds in `active`.
    active_units: u64,
}

/// Octets of memory that a cache for so many flows takes at most, without application state.
pub fn octets(flows: usize) -> usize {
    FlowTable::octets(flows).saturating_add(Wheel::octets(flows))
}

impl FlowCache {
    /// An empty cache for one worker; `config` is its share.
    ///
    /// # Errors
    ///
    /// If the system has not so much memory to give.
    pub fn new(config: &MeterConfig) -> io::Result<Self> {
        let seed = config.hash_seed.map_or_else(Seed::random, Seed::new);
        let apps = Apps::new(config.app_flows, config.app_octets, Heap::new(config.heap_octets));
        Ok(Self {
            table: FlowTable::new(config.flows, seed)?,
            wheel: Wheel::new(config.flows),
            rates: Vec::with_capacity(apps.capacity()),
            apps,
            measures: Measures::new(
                config.statistics,
                config.flows.max(MeterConfig::MIN_FLOWS),
                config.statistics_flows,
            )?,
            now: 0,
            next_second: 0,
            config: *config,
            idle: nanos(config.idle_timeout).max(1),
            active: nanos(config.active_timeout).max(1),
            active_units: nanos(config.active_timeout) >> 32,
        })
    }

    /// Takes timeouts, `max_transactions` and `uniflow` of a configuration. A shorter timeout holds for a flow once it has a
    /// packet, or was to be looked at.
    pub fn adopt(&mut self, config: &MeterConfig) {
        let MeterConfig { idle_timeout, active_timeout, max_transactions, uniflow, .. } = *config;
        self.config = MeterConfig { idle_timeout, active_timeout, max_transactions, uniflow, ..self.config };
        self.idle = nanos(idle_timeout).max(1);
        self.active = nanos(active_timeout).max(1);
        self.active_units = nanos(active_timeout) >> 32;
    }

    /// Number of flows in the cache.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.table.flows()
    }

    /// Adds what parsers found and lost since the beginning to the counters.
    pub fn count_parsed(&self, counters: &mut Metered) {
        self.apps.count(counters);
    }

    /// Finds out where a plain packet belongs, and asks for the line of the index that says so.
    #[inline(always)]
    pub fn observe_plain(&self, plain: &Plain, observed: &mut Observed, details: &mut Details) {
        details.sequence = plain.tcp.sequence;
        details.payload = [plain.payload, plain.payload_octets];
        details.payload_octets = plain.payload_octets;
        details.vlan = plain.vlan;
        details.icmp_type_code = None;
        details.class_of_service = plain.class_of_service;
        details.is_tcp = plain.protocol == protocol::TCP;
        observed.ip_octets = plain.ip_octets.into();
        observed.flags = plain.tcp.flags;
        observed.is_bare = plain.payload_octets == 0;
        let vlan = if self.config.key.vlan { plain.vlan } else { 0 };
        (observed.key, observed.swapped) = self.table.narrow_plain(plain, vlan, &mut details.wide);
        observed.place = self.table.place(observed.key);
        self.table.prefetch_bucket(observed.place);
    }

    /// The same of any packet. The key of `decoded` is complete and in the packet's direction.
    pub fn observe(&self, decoded: &Decoded<'_>, data: &[u8], observed: &mut Observed, details: &mut Details) {
        let (key, swapped) = self.table.narrow(&decoded.key, &mut details.wide);
        let place = self.table.place(key);
        self.table.prefetch_bucket(place);
        *details = Details {
            wide: details.wide,
            sequence: decoded.tcp.map_or(0, |tcp| tcp.sequence),
            payload: within(data, decoded.payload),
            payload_octets: decoded.payload_octets,
            vlan: decoded.vlan,
            icmp_type_code: decoded.icmp_type_code,
            class_of_service: decoded.class_of_service,
            is_tcp: decoded.tcp.is_some(),
        };
        let flags = decoded.tcp.map_or(0, |tcp| tcp.flags & 0x0fff);
        *observed =
            Observed { key, place, ip_octets: decoded.ip_octets, flags, swapped, is_bare: details.has_no_payload() };
    }

    /// Finds the slots in which the flows of a batch most likely are, and asks for their lines; [`NONE`] where none is known.
    pub fn find_candidates(&self, batch: &[Observed], candidates: &mut [u32]) {
        let mut missed = [0; BATCH];
        let mut misses = 0;
        for (index, (observed, candidate)) in batch.iter().zip(&mut *candidates).enumerate() {
            *candidate = self.table.candidate(observed.place, observed.key.is_wide());
            if *candidate == NONE
                && let Some(place) = missed.get_mut(misses)
            {
                self.table.prefetch_second_bucket(observed.place);
                *place = index;
                misses += 1;
            }
        }
        for &index in missed.iter().take(misses) {
            let (Some(observed), Some(candidate)) = (batch.get(index), candidates.get_mut(index)) else { continue };
            *candidate = self.table.second_candidate(observed.place, observed.key.is_wide());
            if *candidate == NONE && self.is_full() {
                self.table.prefetch_oldest(observed.place);
            }
        }
    }

    /// Asks for the second lines of entries that will be needed for a batch: where a direction begins, or parsers may want the
    /// payload.
    pub fn prefetch_beginnings(&self, candidates: &[u32]) {
        const BOTH: u32 = state::SEEN | state::SEEN << 1;
        for &slot in candidates {
            self.table.prefetch_either(slot, |hot| hot.bits & (BOTH | state::WANTS) != BOTH);
        }
    }

    /// Asks for what parsers need for the payload of a batch, one link of the chain after the other.
    ///
    /// Whether the next packet has payload, and whether it will be read, nobody can foresee: lists are made without a branch for
    /// each.
    pub fn prefetch_for_parsers(&self, batch: &[Observed], details: &[Details], candidates: &[u32]) {
        let mut payloads = [0_u8; BATCH];
        let mut count = 0;
        for (index, (observed, &slot)) in (0..).zip(batch.iter().zip(candidates)) {
            let Some(place) = payloads.get_mut(count) else { break };
            *place = index;
            let bits = self.table.entry(slot).map_or(0, |entry| entry.hot.bits);
            count += usize::from((bits & state::WANTS != 0) & !observed.is_bare);
        }
        let mut expected = [Expected::NONE; BATCH];
        let expected = expected.get_mut(..count).unwrap_or_default();
        for (expected, index) in expected.iter_mut().zip(payloads.map(usize::from)) {
            let (Some(observed), Some(details), Some(&slot)) =
                (batch.get(index), details.get(index), candidates.get(index))
            else {
                break;
            };
            if let Some(Entry { hot, cold }) = self.table.entry(slot) {
                let direction = DIRECTIONS[hot.side(observed.swapped)];
                *expected = Expected { app: cold.app, direction, octets: details.payload_octets };
                self.apps.prefetch(cold.app, 0);
            }
        }
        let mut read = [NONE; BATCH];
        let mut count = 0;
        for &expected in &*expected {
            let Some(place) = read.get_mut(count) else { break };
            *place = expected.app;
            count += usize::from(self.apps.is_to_be_read(expected));
        }
        for depth in 1..DEPTH {
            read.iter().take(count).for_each(|&app| self.apps.prefetch(app, depth));
        }
    }

    /// Asks for what the statistics of a batch need.
    pub fn prefetch_for_statistics(&self, candidates: &[u32]) {
        candidates.iter().for_each(|&slot| self.measures.prefetch_place(slot));
        candidates.iter().for_each(|&slot| self.measures.prefetch_state(slot));
    }

    /// Whether there are statistics of flows.
    #[inline]
    pub fn has_statistics(&self) -> bool {
        self.measures.is_on()
    }

    /// Whether any payload is looked at.
    #[inline]
    pub fn has_parsers(&self) -> bool {
        self.config.app_flows > 0
    }

    /// Whether a flow has to go before another one comes.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// Asks for what is needed to close the records of the flow that has to go for this packet, if that is of a new one.
    pub fn prefetch_oldest(&self, observed: &Observed, candidate: u32) {
        if candidate == NONE && observed.is_metered() {
            let oldest = self.table.oldest_near(observed.place);
            self.table.prefetch_cold(oldest);
            self.wheel.prefetch(oldest);
        }
    }

    /// Tells the clock, which never goes back, and closes what is due.
    #[inline]
    pub fn tick(&mut self, ts: Timestamp, counters: &mut Metered, sink: &mut dyn RecordSink) {
        self.now = ts.as_nanos();
        if self.now >= self.next_second {
            self.next_second = (self.now / SECOND + 1).saturating_mul(SECOND);
            self.turn_wheel(counters, sink);
        }
    }

    #[inline(never)]
    fn turn_wheel(&mut self, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let mut passed = [NONE; AHEAD];
        self.wheel.turn(self.now);
        loop {
            let taken = self.wheel.take_passed(&mut passed);
            let Some(passed) = passed.get(..taken).filter(|passed| !passed.is_empty()) else { return };
            // One step after the other, as with a batch of packets.
            passed.iter().for_each(|&slot| self.table.prefetch_entry(slot));
            passed.iter().for_each(|&slot| self.table.prefetch_place(slot));
            for depth in 0..DEPTH {
                let apps = passed.iter().filter_map(|&slot| self.table.entry(slot));
                apps.for_each(|entry| self.apps.prefetch(entry.cold.app, depth));
            }
            passed.iter().for_each(|&slot| self.look_again(slot, counters, sink));
        }
    }

    /// Counts a packet, if it is metered here. The clock must have been told its time; `candidate` is what
    /// [`Self::find_candidates`] gave for it, no matter what was counted since.
    #[inline(always)]
    pub fn count(&mut self, arrival: Arrival<'_>, candidate: u32, counters: &mut Metered, sink: &mut dyn RecordSink) {
        if !self.add_to_open::<false>(candidate, arrival) {
            let Arrival { observed, details, packet } = arrival;
            self.count_any(observed, details, packet, candidate, counters, sink);
        }
    }

    /// Takes a packet that was counted into the statistics of its flow.
    fn measure(&mut self, arrival: Arrival<'_>, slot: u32) {
        let Arrival { observed, details, packet } = arrival;
        let Some(entry) = self.table.entry(slot) else { return };
        let Payload { bytes, octets, .. } = arrival.payload();
        let sample = Sample {
            side: entry.hot.side(observed.swapped),
            ts: packet.ts.as_nanos(),
            packets: packet.wire_packets(),
            ip_octets: observed.ip_octets,
            payload_octets: octets,
            payload: bytes,
            is_tcp: details.is_tcp,
            flags: observed.flags & !MERGED,
            sequence: details.sequence,
            packet,
        };
        self.measures.packet(slot, &sample);
    }

    /// Counts one more packet of an open record, if it is that of the packet's flow and there is nothing else to it: the way of
    /// most packets, which touches one line of memory. Those of flows that have statistics, or have none, are left out.
    #[inline(always)]
    fn add_to_open<const MEASURED: bool>(&mut self, slot: u32, arrival: Arrival<'_>) -> bool {
        let Arrival { observed, details, packet } = arrival;
        let &Observed { key, flags, .. } = observed;
        let (now, ts) = (self.now, packet.ts.as_nanos());
        if key.is_wide() && !self.table.is_at(slot, key, &details.wide) {
            return false;
        }
        let Some(Entry { hot, cold }) = self.table.entry_mut(slot) else { return false };
        let side = hot.side(observed.swapped);
        // A direction with packets was seen.
        let is_open = hot.key == key
            && !matches!(hot.packets[side], 0 | u32::MAX)
            && hot.is_surely_open(now, self.idle, self.active_units);
        let is_usual = ts >= hot.last[side]
            && flags & (SYN | FIN | RST | MERGED) == 0
            && (hot.bits & state::MEASURED != 0) == MEASURED
            && (hot.bits & state::WANTS == 0 || observed.is_bare);
        if !is_open || !is_usual || !add_octets(hot, cold, side, observed.ip_octets) {
            return false;
        }
        hot.packets[side] += 1;
        hot.last[side] = ts;
        hot.seen = now;
        hot.add_flags(side, flags);
        true
    }

    /// Counts a packet, whatever there is to it. What arrives is given in parts, which stay in registers up to here.
    #[inline(never)]
    fn count_any(
        &mut self,
        observed: &Observed,
        details: &Details,
        packet: &Packet<'_>,
        candidate: u32,
        counters: &mut Metered,
        sink: &mut dyn RecordSink,
    ) {
        let arrival = Arrival { observed, details, packet };
        let &Observed { key, place, swapped, ip_octets, .. } = observed;
        if !observed.is_metered() {
            return;
        }
        if self.measures.is_on() && self.add_to_open::<true>(candidate, arrival) {
            return self.measure(arrival, candidate);
        }
        let mut slot = candidate;
        if !self.table.is_at(slot, key, &details.wide) {
            slot = self.table.find(place, key, &details.wide);
        }
        if slot != NONE && self.is_over(slot, observed.flags, counters, sink) {
            slot = NONE;
        }
        if slot == NONE {
            slot = self.enter(arrival, counters, sink);
        }
        let Some(Entry { hot, cold }) = self.table.entry_mut(slot) else { return };
        let side = hot.side(swapped);
        if hot.bits & state::SEEN << side == 0 {
            cold.describe(side, details, packet.interface);
        }
        if hot.bits & state::WANTS != 0 {
            self.feed(slot, DIRECTIONS[side], arrival, counters, sink);
        }
        let packets = packet.wire_packets();
        if self.is_record_full(slot, side, packets, ip_octets) {
            self.cut(slot, EndReason::ACTIVE, counters, sink);
        }
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let was_closing = entry.hot.bits & state::CLOSING != 0;
        add(entry, side, observed, packets, packet.ts.as_nanos(), self.now);
        if !was_closing && entry.hot.bits & state::CLOSING != 0 {
            self.wheel.take_down(slot);
            let at = self.due(slot).map_or(self.now, |(at, _)| at);
            self.wheel.hang(slot, at);
        }
        if self.measures.is_on() {
            self.measure(arrival, slot);
        }
    }

    /// Whether a record has counted as much as it can, so that so many packets more, of so many octets, need the next one.
    fn is_record_full(&mut self, slot: u32, side: usize, packets: u32, octets: u64) -> bool {
        self.table.entry_mut(slot).is_some_and(|Entry { hot, cold }| {
            hot.packets[side].checked_add(packets).is_none() || (hot.octets(cold, side) + octets) >> 48 != 0
        })
    }

    /// Closes all records: the run ends.
    pub fn finish(&mut self, counters: &mut Metered, sink: &mut dyn RecordSink) {
        for slot in 0..self.table.end() {
            self.prefetch_rest(slot);
            let Some(entry) = self.table.entry_mut(slot).filter(|entry| entry.hot.key != Narrow::default()) else {
                continue;
            };
            let has_ended = entry.hot.bits & state::CLOSING != 0;
            let reason = if has_ended { EndReason::END_OF_FLOW } else { EndReason::FORCED };
            self.close_rest(slot, reason, counters, sink);
        }
        // All at once: one by one, each would have to be looked up in the index.
        self.measures.clear(self.table.end());
        self.table.clear();
        self.wheel.clear();
    }

    /// Asks for what [`Self::finish`] needs some slots on: first the entry, then one link of its application state after the
    /// other.
    fn prefetch_rest(&self, slot: u32) {
        let ahead = |steps: usize| slot.saturating_add((AHEAD / 2 * steps) as u32);
        self.table.prefetch_entry(ahead(DEPTH + 1));
        for depth in 0..DEPTH {
            if let Some(entry) = self.table.entry(ahead(DEPTH - depth)) {
                self.apps.prefetch(entry.cold.app, depth);
            }
        }
    }

    /// Closes what is due of a flow that gets a packet now. True if the flow is over and the packet begins a new one.
    fn is_over(&mut self, slot: u32, flags: u16, counters: &mut Metered, sink: &mut dyn RecordSink) -> bool {
        let (now, idle, active_units) = (self.now, self.idle, self.active_units);
        if self.table.entry(slot).is_some_and(|entry| entry.hot.is_surely_open(now, idle, active_units)) {
            return false;
        }
        if self.close_due(slot, counters, sink).is_none() {
            self.wheel.take_down(slot);
            self.forget(slot);
            return true;
        }
        let closing = self.table.entry_mut(slot).is_some_and(|entry| entry.hot.bits & state::CLOSING != 0);
        let over = closing && flags & (SYN | ACK) == SYN;
        if over {
            self.remove(slot, EndReason::END_OF_FLOW, counters, sink);
        }
        over
    }

    /// Closes what is due of a flow, and gives the time when the next is; `None` if the flow is over and all is closed.
    fn close_due(&mut self, slot: u32, counters: &mut Metered, sink: &mut dyn RecordSink) -> Option<u64> {
        loop {
            match self.due(slot)? {
                (at, _) if at > self.now => return Some(at),
                (_, EndReason::ACTIVE) => self.cut(slot, EndReason::ACTIVE, counters, sink),
                (_, reason) => {
                    self.close_all(slot, reason, counters, sink);
                    return None;
                }
            }
        }
    }

    /// When a flow's record is due at the earliest, and why.
    fn due(&mut self, slot: u32) -> Option<(u64, EndReason)> {
        let (idle, active) = (self.idle, self.active);
        let Entry { hot, cold } = self.table.entry_mut(slot)?;
        let (wait, reason) = if hot.bits & state::CLOSING == 0 {
            (idle, EndReason::IDLE)
        } else {
            (nanos(CLOSE_WAIT).min(idle), EndReason::END_OF_FLOW)
        };
        let silent = (hot.seen.saturating_add(wait), reason);
        // Nothing was counted since the last cut: there is nothing to close by the active timeout.
        if hot.packets == [0, 0] {
            return Some(silent);
        }
        let long = (cold.started.saturating_add(active), EndReason::ACTIVE);
        Some(if long.0 < silent.0 { long } else { silent })
    }

    /// The wheel has come to a flow.
    fn look_again(&mut self, slot: u32, counters: &mut Metered, sink: &mut dyn RecordSink) {
        match self.close_due(slot, counters, sink) {
            // A record that begins after this may be due before a silent flow is over.
            Some(at) => self.wheel.hang(slot, at.min(self.now.saturating_add(self.active))),
            None => self.forget(slot),
        }
    }

    fn enter(&mut self, arrival: Arrival<'_>, counters: &mut Metered, sink: &mut dyn RecordSink) -> u32 {
        let Arrival { observed, details, packet } = arrival;
        let &Observed { key, swapped, place, flags, .. } = observed;
        let slot = loop {
            match self.table.insert(place, key, &details.wide) {
                Inserted::At(slot) => break slot,
                Inserted::Full(NONE) => return NONE,
                Inserted::Full(oldest) => self.remove(oldest, EndReason::LACK_OF_RESOURCES, counters, sink),
            }
        };
        let [src_port, dst_port] = observed.ports();
        let protocol = key.protocol();
        let from_responder = protocol == protocol::TCP
            && (flags & (SYN | ACK) == SYN | ACK || (flags & SYN == 0 && src_port < 1024 && dst_port >= 1024));
        let now = self.now;
        if let Some(Entry { hot, cold }) = self.table.entry_mut(slot) {
            hot.seen = now;
            if swapped != from_responder {
                hot.bits |= state::SWAPPED;
            }
            if self.config.app_flows > 0 && matches!(protocol, protocol::TCP | protocol::UDP) {
                hot.bits |= state::WANTS;
            }
            cold.flow_id = flow_id(&key.full(&details.wide), packet.ts);
        }
        self.wheel.hang(slot, now.saturating_add(self.idle.min(self.active)));
        counters.flows_created += 1;
        if self.config.statistics.measure(protocol) {
            let has_room = self.measures.begin(slot);
            counters.flows_without_statistics += u64::from(!has_room);
            if let Some(entry) = self.table.entry_mut(slot).filter(|_| has_room) {
                entry.hot.bits |= state::MEASURED;
            }
        }
        slot
    }

    /// Gives the payload to the parsers, and closes the records of transactions that are over.
    fn feed(
        &mut self,
        slot: u32,
        direction: Direction,
        arrival: Arrival<'_>,
        counters: &mut Metered,
        sink: &mut dyn RecordSink,
    ) {
        let Arrival { observed, details, .. } = arrival;
        let Some(Entry { hot, cold }) = self.table.entry_mut(slot) else { return };
        if details.is_tcp && observed.flags & SYN != 0 {
            // SYN takes one sequence number (RFC 9293 section 3.4).
            let first = details.sequence.wrapping_add(1);
            let known = cold.first_sequence()[direction.index()];
            cold.tell(direction.index(), first);
            if known != Some(first) {
                // Another connection on the same ports, without an end of the one before.
                self.apps.begin_again(cold.app, direction, first);
            }
        }
        if observed.is_bare {
            return;
        }
        if cold.app == NONE {
            if !details.is_tcp && arrival.is_unknown_datagram(direction) {
                // State is for flows in which something was recognised.
                let unknown = &mut cold.detail[direction.index()];
                *unknown += u32::from(details.payload[1] as usize > KEEP_ALIVE);
                if *unknown >= MAX_DATAGRAMS.into() {
                    hot.bits &= !state::WANTS;
                }
                return;
            }
            cold.app = self.apps.acquire(observed.ports(), cold.first_sequence());
            if cold.app == UNWANTED {
                cold.app = NONE;
                hot.bits &= !state::WANTS;
                counters.flows_without_app_state += 1;
                return;
            }
            let index = cold.app as usize;
            if self.rates.len() <= index {
                self.rates.resize(index + 1, (0, 0));
            }
            self.rates[index] = (0, 0);
        }
        let index = cold.app;
        if !self.apps.feed(index, Payload { direction, ..arrival.payload() }) {
            return;
        }
        let Some(rate) = self.rates.get_mut(index as usize) else { return };
        let (config, table, measures) = (&self.config, &mut self.table, &mut self.measures);
        let mut closer = Closer { config, now: self.now, table, measures, slot, counters, sink };
        let after = self.apps.settle(index, &mut |app, started| closer.transaction(app, started, rate));
        self.go_on(slot, after);
    }

    /// Notes what a flow wants of its application state from now on.
    fn go_on(&mut self, slot: u32, after: After) {
        if after == After::Wants {
            return;
        }
        if let Some(Entry { hot, cold }) = self.table.entry_mut(slot) {
            hot.bits &= !state::WANTS;
            if let After::Released { application } = after {
                cold.app = NONE;
                cold.application = application;
            }
        }
    }

    /// Notes the protocol of a flow for a record without a transaction. Gives the index of its application state.
    fn note_application(&mut self, slot: u32) -> Option<u32> {
        let Entry { cold, .. } = self.table.entry_mut(slot)?;
        if let Some(application) = self.apps.application(cold.app) {
            cold.application = application;
        }
        Some(cold.app)
    }

    /// Closes the open record of a flow that goes on.
    fn cut(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let Some(index) = self.note_application(slot) else { return };
        let (config, table, measures) = (&self.config, &mut self.table, &mut self.measures);
        let mut closer = Closer { config, now: self.now, table, measures, slot, counters, sink };
        let mut closed = false;
        let after = self.apps.close_current(index, &mut |app, started| {
            closed = true;
            closer.close(reason, Some(app), started);
        });
        if !closed {
            closer.close(reason, None, Timestamp::ZERO);
        }
        self.go_on(slot, after);
    }

    /// Closes the records of a flow, for this reason where they were not due before, and forgets it.
    fn remove(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        self.wheel.take_down(slot);
        self.close_rest(slot, reason, counters, sink);
        self.forget(slot);
    }

    /// Gives back what a flow has, all of whose records are closed.
    fn forget(&mut self, slot: u32) {
        self.table.remove(slot);
        if self.measures.is_on() {
            self.measures.end(slot);
        }
    }

    /// Closes the records of a flow that is over, for this reason where they were not due before.
    fn close_rest(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        if self.close_due(slot, counters, sink).is_some() {
            self.close_all(slot, reason, counters, sink);
        }
    }

    /// Closes the records of a flow that is over, and gives back its application state.
    fn close_all(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let Some(index) = self.note_application(slot) else { return };
        let Some(Entry { hot, cold }) = self.table.entry_mut(slot) else { return };
        cold.app = NONE;
        let [forward, reverse] = hot.last.map(Timestamp::from_nanos);
        let (config, table, measures) = (&self.config, &mut self.table, &mut self.measures);
        let mut closer = Closer { config, now: self.now, table, measures, slot, counters, sink };
        self.apps.feed_rest(index, forward.max(reverse));
        // The first transaction has the packets, and is the last record if no other follows.
        self.apps.finish(index, &mut |app, started| closer.close(reason, Some(app), started));
        closer.close_if_counted(reason);
    }
}

/// Counts a connection by the directions that were seen of it. What never got beyond its first packet, as of a scan, tells
/// nothing.
fn count_directions(record: &FlowRecord<'_>, only_server: bool, counters: &mut Metered) {
    let FlowRecord { forward, reverse, .. } = record;
    if forward.tcp_flags & (SYN | ACK) != SYN | ACK || forward.packets < 2 {
        return;
    }
    *if reverse.packets > 0 {
        &mut counters.connections_both_ways
    } else if only_server {
        &mut counters.connections_server_only
    } else {
        &mut counters.connections_client_only
    } += 1;
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Upper 32 bits of a time in nanoseconds: units of 4.3 seconds.
fn upper_half(time: u64) -> u32 {
    u32::try_from(time >> 32).unwrap_or(u32::MAX)
}

/// Units from one time to another, at least: if `timeout` has passed between them, no fewer than it has.
fn units_since(started: u32, now: u64) -> u64 {
    (now >> 32) - u64::from(started)
}

impl Hot {
    /// Whether nothing is due of a flow, as far as this line tells. False: perhaps.
    #[inline]
    fn is_surely_open(&self, now: u64, idle: u64, active_units: u64) -> bool {
        self.bits & state::CLOSING == 0 && now - self.seen < idle && units_since(self.started, now) < active_units
    }

    /// Index of the direction of a packet that is opposite to the key, or not.
    #[inline]
    fn side(&self, swapped: bool) -> usize {
        usize::from((self.bits & state::SWAPPED != 0) != swapped)
    }

    #[inline]
    fn add_flags(&mut self, side: usize, flags: u16) {
        self.bits |= u32::from(flags) << (side as u32 * state::SIDE);
    }

    fn flags(&self, side: usize) -> u16 {
        ((self.bits >> (side as u32 * state::SIDE)) & state::FLAGS) as u16
    }

    fn octets(&self, cold: &Cold, side: usize) -> u64 {
        u64::from(cold.octets[side]) << 32 | u64::from(self.octets[side])
    }
}

impl Cold {
    /// Sequence number of the first octet of each direction of TCP.
    fn first_sequence(&self) -> [Option<u32>; 2] {
        [0, 1].map(|side| self.told(side))
    }

    /// What is told of a direction in `detail`.
    fn told(&self, side: usize) -> Option<u32> {
        (self.has_detail >> side & 1 == 1).then_some(self.detail[side])
    }

    fn tell(&mut self, side: usize, detail: u32) {
        self.detail[side] = detail;
        self.has_detail |= 1 << side;
    }

    /// Takes down what the first packet of a direction says of it.
    fn describe(&mut self, side: usize, details: &Details, interface: u32) {
        self.vlan[side] = details.vlan;
        self.class_of_service[side] = details.class_of_service;
        self.interface[side] = interface;
        if let Some(type_code) = details.icmp_type_code {
            self.tell(side, type_code.into());
        }
    }
}

/// Where a part of the captured octets is in them, and how long it is.
#[inline]
fn within(data: &[u8], part: &[u8]) -> [u32; 2] {
    if part.is_empty() {
        return [0, 0];
    }
    // A capture that long would be refused before.
    [part.as_ptr().addr() - data.as_ptr().addr(), part.len()].map(|octets| u32::try_from(octets).unwrap_or(u32::MAX))
}

/// Adds octets to a direction; false, and nothing is changed, if that is more than 48 bits hold.
#[inline]
fn add_octets(hot: &mut Hot, cold: &mut Cold, side: usize, octets: u64) -> bool {
    let sum = u64::from(hot.octets[side]) + octets;
    if let Ok(sum) = u32::try_from(sum) {
        hot.octets[side] = sum;
        return true;
    }
    let sum = hot.octets(cold, side) + octets;
    let Ok(upper) = u16::try_from(sum >> 32) else { return false };
    cold.octets[side] = upper;
    #[expect(clippy::cast_possible_truncation, reason = "the upper part is in the other line")]
    let lower = sum as u32;
    hot.octets[side] = lower;
    true
}

/// Adds a packet, which was so many on the wire, to an entry that has room for it.
fn add(entry: &mut Entry, side: usize, observed: &Observed, packets: u32, ts: u64, now: u64) {
    let Entry { hot, cold } = entry;
    let &Observed { ip_octets, .. } = observed;
    let flags = observed.flags & !MERGED;
    if hot.packets == [0, 0] {
        cold.started = now;
        hot.started = upper_half(now);
    }
    if hot.packets[side] == 0 {
        cold.first[side] = ts;
        hot.last[side] = ts;
    } else {
        cold.first[side] = cold.first[side].min(ts);
        hot.last[side] = hot.last[side].max(ts);
    }
    add_octets(hot, cold, side, ip_octets);
    hot.packets[side] += packets;
    hot.seen = now;
    hot.add_flags(side, flags);
    hot.bits |= state::SEEN << side;
    if flags & FIN != 0 {
        hot.bits |= state::FIN << side;
    }
    let silent_or_ended = |side: u32| hot.bits & (state::SEEN | state::FIN) << side != state::SEEN << side;
    if flags & RST != 0 || (flags & FIN != 0 && silent_or_ended(0) && silent_or_ended(1)) {
        hot.bits |= state::CLOSING;
    }
}

/// Makes records of one flow's entry.
struct Closer<'a> {
    config: &'a MeterConfig,
    now: u64,
    table: &'a mut FlowTable,
    measures: &'a mut Measures,
    slot: u32,
    counters: &'a mut Metered,
    sink: &'a mut dyn RecordSink,
}

impl Closer<'_> {
    /// A transaction is over, and its flow goes on; `rate` is the second of the last ones and how many were in it.
    fn transaction(&mut self, app: AppRef<'_>, started: Timestamp, rate: &mut Rate) {
        #[expect(clippy::cast_possible_truncation, reason = "it only matters whether it is another one")]
        let second = (self.now / SECOND) as u32;
        let (last, count) = rate;
        if *last != second {
            (*last, *count) = (second, 0);
        }
        if *count >= self.config.max_transactions {
            self.counters.transactions_not_recorded += 1;
            return;
        }
        *count += 1;
        self.close(EndReason::FORCED, Some(app), started);
    }

    /// Closes the open record if it has packets.
    fn close_if_counted(&mut self, reason: EndReason) {
        if self.table.entry_mut(self.slot).is_some_and(|entry| entry.hot.packets != [0, 0]) {
            self.close(reason, None, Timestamp::ZERO);
        }
    }

    /// Closes the open record. A record without packets is one of several transactions in one packet; it has their time.
    fn close(&mut self, reason: EndReason, app: Option<AppRef<'_>>, started: Timestamp) {
        let key = self.table.key(self.slot);
        let Some(Entry { hot, cold }) = self.table.entry_mut(self.slot) else { return };
        let swapped = hot.bits & state::SWAPPED != 0;
        // Only the responder was heard: it is the source.
        let turned = hot.bits & state::SEEN == 0 && hot.packets[1] > 0;
        let counters = |side: usize| Counters {
            packets: hot.packets[side].into(),
            octets: hot.octets(cold, side),
            first: Timestamp::from_nanos(cold.first[side]),
            last: Timestamp::from_nanos(hot.last[side]),
            tcp_flags: hot.flags(side),
        };
        let [mut forward, mut reverse] = if turned { [counters(1), counters(0)] } else { [counters(0), counters(1)] };
        if forward.packets == 0 {
            let (first, last) = if reverse.packets == 0 { (started, started) } else { (reverse.first, reverse.last) };
            forward = Counters { first, last, ..Counters::default() };
        }
        if reverse.packets == 0 {
            reverse = Counters::default();
        }
        let oriented = if swapped == turned { key } else { key.reversed() };
        let is_icmp = matches!(key.protocol, protocol::ICMP | protocol::ICMPV6);
        #[expect(clippy::cast_possible_truncation, reason = "it was made from 16 bits")]
        let icmp_type_code = |side: usize| cold.told(side).filter(|_| is_icmp).map(|type_code| type_code as u16);
        let [source, responder] = if turned { [1, 0] } else { [0, 1] };
        let record = FlowRecord {
            key: FlowKey { vlan: 0, class_of_service: 0, interface: 0, ..oriented },
            forward,
            reverse,
            flow_id: cold.flow_id,
            end_reason: reason,
            vlan: cold.vlan[source],
            class_of_service: cold.class_of_service[source],
            ingress_interface: cold.interface[source],
            icmp_type_code: icmp_type_code(source),
            app: app.or_else(|| weir_flow::app::unset(usize::from(cold.application).checked_sub(1)?)),
            ..FlowRecord::default()
        };
        if key.protocol == protocol::TCP {
            count_directions(&record, turned, self.counters);
        }
        let responders = (cold.vlan[responder], cold.class_of_service[responder], cold.interface[responder]);
        let responders_type_code = icmp_type_code(responder);
        // What is counted from now on is the next record's.
        hot.packets = [0, 0];
        hot.octets = [0, 0];
        cold.octets = [0, 0];
        hot.bits &= !(state::FLAGS | state::FLAGS << state::SIDE);
        if app.is_some_and(|app| app.is_cut()) {
            self.counters.records_with_cut_fields += 1;
        }
        let Self { config, measures, counters, sink, slot, .. } = self;
        let is_v6 = key.version == IpVersion::V6;
        let (vlan, class_of_service, ingress_interface) = responders;
        let reverse = Reverse { vlan, class_of_service, icmp_type_code: responders_type_code, is_v6 };
        let mut measured = |view: View, record: FlowRecord<'_>| {
            let statistics = if measures.is_on() { measures.record(*slot, view, reverse) } else { None };
            emit(&FlowRecord { statistics, ..record }, counters, *sink);
        };
        if !config.uniflow {
            measured(View::Both(source), record);
        } else if record.reverse.packets == 0 {
            measured(View::One(source, true), record);
        } else {
            let back = FlowRecord {
                key: record.key.reversed(),
                forward: record.reverse,
                reverse: Counters::default(),
                vlan,
                class_of_service,
                ingress_interface,
                icmp_type_code: responders_type_code,
                app: None,
                ..record
            };
            let has_forward = record.forward.packets > 0 || app.is_some();
            if has_forward {
                measured(View::One(source, true), FlowRecord { reverse: Counters::default(), ..record });
            }
            measured(View::One(responder, record.forward.packets == 0), back);
        }
        if measures.is_on() {
            measures.begin_record(*slot);
        }
    }
}

/// Counts a record and hands it over.
fn emit(record: &FlowRecord<'_>, counters: &mut Metered, sink: &mut dyn RecordSink) {
    counters.records_created += 1;
    *match record.end_reason {
        EndReason::IDLE => &mut counters.ended_idle,
        EndReason::ACTIVE => &mut counters.ended_active,
        EndReason::END_OF_FLOW => &mut counters.ended_by_protocol,
        EndReason::LACK_OF_RESOURCES => &mut counters.ended_lack_of_resources,
        _ => &mut counters.ended_forced,
    } += 1;
    sink.record(record);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_counted_over_both_lines_up_to_48_bits() {
        let (mut hot, mut cold) = (Hot::default(), Cold::default());
        let mut sum = 0;
        for octets in [u64::from(u32::MAX), 1, 1 << 40, 1 << 32, 1500] {
            assert!(add_octets(&mut hot, &mut cold, 1, octets));
            sum += octets;
            assert_eq!(hot.octets(&cold, 1), sum);
        }
        assert!(!add_octets(&mut hot, &mut cold, 1, 1 << 48));
        assert_eq!((hot.octets(&cold, 1), hot.octets(&cold, 0)), (sum, 0));
    }

    #[test]
    fn a_timeout_is_never_seen_late_in_coarse_units() {
        let active = 300_000_000_000_u64;
        for started in (0..20).map(|i| 1_700_000_000_000_000_000 + i * 999_999_937) {
            let now = started + active;
            assert!(units_since(upper_half(started), now) >= active >> 32);
        }
    }
}
