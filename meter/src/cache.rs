// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. The flow cache of one worker: counts packets in flows, and closes records.
//!
//! The cache has a clock: the latest timestamp that it was told. It never goes back, so a packet out of order ages
//! nothing. A record is due at the earlier of (last packet + idle timeout) and (begin of the record + active timeout); that
//! is checked when a packet comes for its flow, and by a wheel otherwise, so what is in a record does not depend on when the
//! wheel turns. A TCP flow that has ended (FIN in both directions that were seen, or RST) waits [`CLOSE_WAIT`] for
//! stragglers; a SYN in that time begins a new flow.
//!
//! The initiator is who sent the first packet, unless that packet tells otherwise: a SYN with ACK is an answer, and so,
//! where the beginning was not seen, is TCP from a well-known port to another. A flow in which only the responder was heard
//! is turned round in its records.

use std::time::Duration;

use weir_flow::{
    Counters, EndReason, FlowKey, FlowRecord, RecordSink, Timestamp,
    app::AppRef,
    ledger::Metered,
    protocol,
    tcp_flags::{ACK, FIN, RST, SYN},
};
use weir_parsers::{
    app::{Direction, Pools},
    packet::Decoded,
};

use crate::{
    MeterConfig,
    apps::{Apps, Payload, UNWANTED},
    hash::Seed,
    table::{Entry, FlowTable, Inserted, NONE, Place, state},
    wheel::Wheel,
};

/// How long an ended TCP flow waits for late segments and acknowledgments.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What is needed of a flow only when it begins and when a record is closed.
#[derive(Clone, Copy, Debug, Default)]
struct Cold {
    flow_id: u64,
    /// What the first packet of each direction says of it.
    sides: [Attributes; 2],
    /// Sequence number of the first octet of data in each direction, where the SYN was seen.
    first_sequence: [Option<u32>; 2],
    /// Second of the clock in which transactions were last recorded, and how many in it.
    transactions: (u64, u32),
}

/// What a record says of a direction beside its key and its counters.
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    icmp_type_code: Option<u16>,
    vlan: u16,
    class_of_service: u8,
    interface: u32,
}

/// One packet, decoded, with its place in the table.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// What was decoded; the key is complete and in the packet's direction.
    pub decoded: Decoded<'a>,
    /// The key in canonical direction.
    key: FlowKey,
    /// The packet's direction is opposite to that of `key`.
    swapped: bool,
    place: Place,
    ts: Timestamp,
    interface: u32,
}

/// A flow cache. Records go to a [`RecordSink`] that is passed in.
#[derive(Debug)]
pub struct FlowCache {
    table: FlowTable,
    cold: Vec<Cold>,
    wheel: Wheel,
    apps: Apps,
    pools: Pools,
    due: Vec<u32>,
    now: u64,
    config: MeterConfig,
    idle: u64,
    active: u64,
}

impl FlowCache {
    /// An empty cache for one worker; `config` is its share.
    #[must_use]
    pub fn new(config: &MeterConfig) -> Self {
        let seed = config.hash_seed.map_or_else(Seed::random, Seed::new);
        Self {
            table: FlowTable::new(config.flows, seed),
            cold: Vec::with_capacity(config.flows),
            wheel: Wheel::new(config.flows),
            apps: Apps::new(config.app_flows),
            pools: Pools::default(),
            due: Vec::new(),
            now: 0,
            config: *config,
            idle: nanos(config.idle_timeout).max(1),
            active: nanos(config.active_timeout).max(1),
        }
    }

    /// Number of flows in the cache.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.table.flows()
    }

    /// Finds out where a packet belongs, and fetches what will be needed from memory.
    #[inline]
    pub fn observe<'a>(&self, decoded: Decoded<'a>, ts: Timestamp, interface: u32) -> Observed<'a> {
        let key = decoded.key;
        let swapped = (key.dst, key.dst_port) < (key.src, key.src_port);
        let key = if swapped { key.reversed() } else { key };
        let place = self.table.place(&key);
        std::hint::black_box(self.table.touch(place));
        Observed { decoded, key, swapped, place, ts, interface }
    }

    /// Tells the clock, and closes what is due.
    #[inline]
    pub fn tick(&mut self, ts: Timestamp, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let now = ts.as_nanos();
        if now <= self.now {
            return;
        }
        let same_second = now / 1_000_000_000 == self.now / 1_000_000_000;
        self.now = now;
        if same_second {
            return;
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.turn(now, &mut due);
        for slot in due.drain(..) {
            self.look_again(slot, counters, sink);
        }
        self.due = due;
    }

    /// Counts a packet. The clock must have been told its time.
    pub fn count(&mut self, observed: &Observed<'_>, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let flags = observed.decoded.tcp.map_or(0, |tcp| tcp.flags & state::FLAGS);
        let mut slot = self.table.find(observed.place, &observed.key);
        if slot != NONE && self.is_over(slot, flags, counters, sink) {
            slot = NONE;
        }
        if slot == NONE {
            slot = self.enter(observed, flags, counters, sink);
        }
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let initiator_swapped = entry.bits[0] & state::SWAPPED != 0;
        let direction = if initiator_swapped == observed.swapped { Direction::Forward } else { Direction::Reverse };
        if entry.bits[direction.index()] & state::SEEN == 0
            && let Some(cold) = self.cold.get_mut(slot as usize)
        {
            let decoded = &observed.decoded;
            cold.sides[direction.index()] = Attributes {
                icmp_type_code: decoded.icmp_type_code,
                vlan: decoded.vlan,
                class_of_service: decoded.class_of_service,
                interface: observed.interface,
            };
        }
        if entry.app != UNWANTED {
            self.feed(slot, direction, observed, counters, sink);
        }
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let was_closing = entry.bits[0] & state::CLOSING != 0;
        add(entry, direction, observed, flags, self.now);
        let ended = !was_closing && entry.bits[0] & state::CLOSING != 0;
        let is_full = entry.packets[direction.index()] == u32::MAX;
        if ended {
            self.wheel.take_down(slot);
            let at = self.due(slot).map_or(self.now, |(at, _)| at);
            self.wheel.hang(slot, at);
        }
        if is_full {
            self.cut(slot, EndReason::ACTIVE, counters, sink);
        }
    }

    /// Closes all records: the run ends.
    pub fn finish(&mut self, counters: &mut Metered, sink: &mut dyn RecordSink) {
        for slot in self.table.slots() {
            let ended = self.table.entry_mut(slot).is_some_and(|entry| entry.bits[0] & state::CLOSING != 0);
            let reason = if ended { EndReason::END_OF_FLOW } else { EndReason::FORCED };
            self.remove(slot, reason, counters, sink);
        }
    }

    /// Closes what is due of a flow that gets a packet now. True if the flow is over and the packet begins a new one.
    fn is_over(&mut self, slot: u32, flags: u16, counters: &mut Metered, sink: &mut dyn RecordSink) -> bool {
        if self.close_due(slot, counters, sink).is_none() {
            self.wheel.take_down(slot);
            return true;
        }
        let closing = self.table.entry_mut(slot).is_some_and(|entry| entry.bits[0] & state::CLOSING != 0);
        let over = closing && flags & (SYN | ACK) == SYN;
        if over {
            self.remove(slot, EndReason::END_OF_FLOW, counters, sink);
        }
        over
    }

    /// Closes what is due of a flow, and gives the time when the next is; `None` if the flow is over and was removed, but
    /// not from the wheel.
    fn close_due(&mut self, slot: u32, counters: &mut Metered, sink: &mut dyn RecordSink) -> Option<u64> {
        loop {
            match self.due(slot)? {
                (at, _) if at > self.now => return Some(at),
                (_, EndReason::ACTIVE) => self.cut(slot, EndReason::ACTIVE, counters, sink),
                (_, reason) => {
                    self.remove_unhung(slot, reason, counters, sink);
                    return None;
                }
            }
        }
    }

    /// When a flow's record is due at the earliest, and why.
    fn due(&mut self, slot: u32) -> Option<(u64, EndReason)> {
        let (idle, active) = (self.idle, self.active);
        let entry = self.table.entry_mut(slot)?;
        let (wait, reason) = if entry.bits[0] & state::CLOSING == 0 {
            (idle, EndReason::IDLE)
        } else {
            (nanos(CLOSE_WAIT).min(idle), EndReason::END_OF_FLOW)
        };
        let silent = (entry.seen.saturating_add(wait), reason);
        // Nothing was counted since the last cut: there is nothing to close by the active timeout.
        if entry.packets == [0, 0] {
            return Some(silent);
        }
        let long = (entry.started.saturating_add(active), EndReason::ACTIVE);
        Some(if long.0 < silent.0 { long } else { silent })
    }

    /// The wheel has come to a flow.
    fn look_again(&mut self, slot: u32, counters: &mut Metered, sink: &mut dyn RecordSink) {
        if let Some(at) = self.close_due(slot, counters, sink) {
            // A record that begins after this may be due before a silent flow is over.
            self.wheel.hang(slot, at.min(self.now.saturating_add(self.active)));
        }
    }

    fn enter(&mut self, observed: &Observed<'_>, flags: u16, counters: &mut Metered, sink: &mut dyn RecordSink) -> u32 {
        let slot = loop {
            match self.table.insert(observed.place, &observed.key) {
                Inserted::At(slot) => break slot,
                Inserted::Full(NONE) => return NONE,
                Inserted::Full(oldest) => self.remove(oldest, EndReason::LACK_OF_RESOURCES, counters, sink),
            }
        };
        let decoded = &observed.decoded;
        let key = &decoded.key;
        let from_responder = key.protocol == protocol::TCP
            && (flags & (SYN | ACK) == SYN | ACK || (flags & SYN == 0 && key.src_port < 1024 && key.dst_port >= 1024));
        let now = self.now;
        if let Some(entry) = self.table.entry_mut(slot) {
            entry.seen = now;
            if observed.swapped != from_responder {
                entry.bits[0] |= state::SWAPPED;
            }
            if self.config.app_flows == 0 || !matches!(key.protocol, protocol::TCP | protocol::UDP) {
                entry.app = UNWANTED;
            }
        }
        let cold = Cold {
            flow_id: flow_id(&observed.key, observed.ts),
            sides: [Attributes::default(); 2],
            first_sequence: [None; 2],
            transactions: (0, 0),
        };
        let index = slot as usize;
        if self.cold.len() <= index {
            self.cold.resize(index + 1, Cold::default());
        }
        self.cold[index] = cold;
        self.wheel.hang(slot, now.saturating_add(self.idle.min(self.active)));
        counters.flows_created += 1;
        slot
    }

    /// Gives the payload to the parsers, and closes the records of transactions that are over.
    fn feed(
        &mut self,
        slot: u32,
        direction: Direction,
        observed: &Observed<'_>,
        counters: &mut Metered,
        sink: &mut dyn RecordSink,
    ) {
        let decoded = &observed.decoded;
        if let Some(tcp) = decoded.tcp
            && tcp.flags & SYN != 0
            && let Some(cold) = self.cold.get_mut(slot as usize)
        {
            // SYN takes one sequence number (RFC 9293 section 3.4).
            let first = Some(tcp.sequence.wrapping_add(1));
            let known = std::mem::replace(&mut cold.first_sequence[direction.index()], first);
            if known != first
                && let Some(app) = self.table.entry_mut(slot).and_then(|entry| self.apps.get_mut(entry.app))
            {
                // Another connection on the same ports, without an end of the one before.
                counters.stream_gaps += app.begin_again(direction, tcp.sequence.wrapping_add(1));
            }
        }
        // A snapped segment without captured payload still is a gap; a datagram is nothing.
        if decoded.payload.is_empty() && (decoded.tcp.is_none() || decoded.payload_octets == 0) {
            return;
        }
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let Some(cold) = self.cold.get_mut(slot as usize) else { return };
        if entry.app == NONE {
            entry.app = self.apps.acquire([decoded.key.src_port, decoded.key.dst_port], cold.first_sequence);
            if entry.app == UNWANTED {
                counters.flows_without_app_state += 1;
                return;
            }
        }
        let index = entry.app;
        let Some(app) = self.apps.get_mut(index) else { return };
        if app.session.is_done() {
            return;
        }
        let before = (app.session.opened(), app.session.dropped());
        let payload = Payload {
            direction,
            bytes: decoded.payload,
            octets: decoded.payload_octets,
            tcp: decoded.tcp.map(|tcp| (tcp.sequence, tcp.flags)),
            ts: observed.ts,
        };
        counters.stream_gaps += app.feed(payload, &mut self.pools);
        counters.transactions += app.session.opened() - before.0;
        counters.transactions_not_recorded += app.session.dropped() - before.1;
        let mut closer = Closer { config: &self.config, now: self.now, entry: &mut *entry, cold, counters, sink };
        app.session.settle(&mut self.pools, &mut |app, started| closer.transaction(app, started));
        if app.session.is_done() && app.session.opened() == 0 {
            entry.app = UNWANTED;
            self.apps.release(index, &mut self.pools);
        }
    }

    /// Closes the open record of a flow that goes on.
    fn cut(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let now = self.now;
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let Some(cold) = self.cold.get_mut(slot as usize) else { return };
        let app = self.apps.get_mut(entry.app);
        let mut closer = Closer { config: &self.config, now, entry, cold, counters, sink };
        let mut closed = false;
        if let Some(app) = app {
            app.session.close_current(&mut |app, started| {
                closed = true;
                closer.close(reason, Some(app), started);
            });
        }
        if !closed {
            closer.close(reason, None, Timestamp::ZERO);
        }
    }

    /// Closes the records of a flow, for this reason where they were not due before, and forgets it.
    fn remove(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        self.wheel.take_down(slot);
        if self.close_due(slot, counters, sink).is_some() {
            self.remove_unhung(slot, reason, counters, sink);
        }
    }

    /// Closes the records of a flow and forgets it.
    fn remove_unhung(&mut self, slot: u32, reason: EndReason, counters: &mut Metered, sink: &mut dyn RecordSink) {
        let now = self.now;
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let Some(cold) = self.cold.get_mut(slot as usize) else { return };
        let index = entry.app;
        let mut closer = Closer { config: &self.config, now, entry, cold, counters, sink };
        if let Some(app) = self.apps.get_mut(index) {
            let before = (app.session.opened(), app.session.dropped());
            closer.counters.stream_gaps += app.finish(Timestamp::from_nanos(closer.entry.seen), &mut self.pools);
            closer.counters.transactions += app.session.opened() - before.0;
            closer.counters.transactions_not_recorded += app.session.dropped() - before.1;
            // The first transaction has the packets, and is the last record if no other follows.
            app.session.finish(&mut |app, started| closer.close(reason, Some(app), started));
        }
        if closer.entry.packets != [0, 0] {
            closer.close(reason, None, Timestamp::ZERO);
        }
        self.apps.release(index, &mut self.pools);
        self.table.remove(slot);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Adds a packet to an entry.
#[inline]
fn add(entry: &mut Entry, direction: Direction, observed: &Observed<'_>, flags: u16, now: u64) {
    let side = direction.index();
    let ts = observed.ts.as_nanos();
    if entry.packets == [0, 0] {
        entry.started = now;
    }
    if entry.packets[side] == 0 {
        entry.first[side] = ts;
        entry.last[side] = ts;
    } else {
        entry.first[side] = entry.first[side].min(ts);
        entry.last[side] = entry.last[side].max(ts);
    }
    entry.packets[side] += 1;
    entry.octets[side] += observed.decoded.ip_octets;
    entry.seen = now;
    let fin = if flags & FIN == 0 { 0 } else { state::FIN };
    entry.bits[side] |= flags | fin | state::SEEN;
    let [forward, reverse] = entry.bits;
    let ended = |bits: u16| bits & (state::FIN | state::SEEN) != state::SEEN;
    if flags & RST != 0 || (flags & FIN != 0 && ended(forward) && ended(reverse)) {
        entry.bits[0] |= state::CLOSING;
    }
}

/// The same for every record of a flow, on every machine; 53 bits, so that it survives a reader that takes numbers for
/// floating-point ones.
fn flow_id(key: &FlowKey, first: Timestamp) -> u64 {
    let id = Seed::new(first.as_nanos()).hash(key) >> 11;
    id.max(1)
}

/// Makes records of one flow's entry.
struct Closer<'a> {
    config: &'a MeterConfig,
    now: u64,
    entry: &'a mut Entry,
    cold: &'a mut Cold,
    counters: &'a mut Metered,
    sink: &'a mut dyn RecordSink,
}

impl Closer<'_> {
    /// A transaction is over, and its flow goes on.
    fn transaction(&mut self, app: AppRef<'_>, started: Timestamp) {
        let second = self.now / 1_000_000_000;
        let (last, count) = &mut self.cold.transactions;
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

    /// Closes the open record. A record without packets is one of several transactions in one packet; it has their time.
    fn close(&mut self, reason: EndReason, app: Option<AppRef<'_>>, started: Timestamp) {
        let Entry { key, packets, octets, first, last, bits, .. } = *self.entry;
        let swapped = bits[0] & state::SWAPPED != 0;
        // Only the responder was heard: it is the source.
        let turned = bits[0] & state::SEEN == 0 && packets[1] > 0;
        let counters = |side: usize| Counters {
            packets: packets[side].into(),
            octets: octets[side],
            first: Timestamp::from_nanos(first[side]),
            last: Timestamp::from_nanos(last[side]),
            tcp_flags: bits[side] & state::FLAGS,
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
        let [source, responder] = if turned { [1, 0] } else { [0, 1] }.map(|side: usize| self.cold.sides[side]);
        let record = FlowRecord {
            key: FlowKey { vlan: 0, class_of_service: 0, interface: 0, ..oriented },
            forward,
            reverse,
            flow_id: self.cold.flow_id,
            end_reason: reason,
            vlan: source.vlan,
            class_of_service: source.class_of_service,
            ingress_interface: source.interface,
            icmp_type_code: source.icmp_type_code,
            app,
            ..FlowRecord::default()
        };
        self.reset();
        if app.is_some_and(|app| app.is_cut()) {
            self.counters.records_with_cut_fields += 1;
        }
        if self.config.uniflow && record.reverse.packets > 0 {
            let back = FlowRecord {
                key: record.key.reversed(),
                forward: record.reverse,
                reverse: Counters::default(),
                vlan: responder.vlan,
                class_of_service: responder.class_of_service,
                ingress_interface: responder.interface,
                icmp_type_code: responder.icmp_type_code,
                app: None,
                ..record
            };
            if record.forward.packets > 0 || app.is_some() {
                self.emit(&FlowRecord { reverse: Counters::default(), ..record });
            }
            self.emit(&back);
        } else {
            self.emit(&record);
        }
    }

    fn emit(&mut self, record: &FlowRecord<'_>) {
        self.counters.records_created += 1;
        *match record.end_reason {
            EndReason::IDLE => &mut self.counters.ended_idle,
            EndReason::ACTIVE => &mut self.counters.ended_active,
            EndReason::END_OF_FLOW => &mut self.counters.ended_by_protocol,
            EndReason::LACK_OF_RESOURCES => &mut self.counters.ended_lack_of_resources,
            _ => &mut self.counters.ended_forced,
        } += 1;
        self.sink.record(record);
    }

    /// What is counted from now on is the next record's.
    fn reset(&mut self) {
        let entry = &mut *self.entry;
        entry.packets = [0, 0];
        entry.octets = [0, 0];
        entry.bits = entry.bits.map(|bits| bits & !state::FLAGS);
    }
}
