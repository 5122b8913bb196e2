// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. One worker: decodes batches, finds ports of fragments, counts, keeps the ledger.

use std::{io, num::NonZeroUsize};

use weir_flow::{
    BATCH, Merged, Packet, RecordSink, Timestamp,
    ledger::{Ledger, Metered},
};
use weir_parsers::packet::{Decoded, Fragment, Plain, decode};

use crate::{
    KeyFields, MeterConfig,
    cache::{Arrival, Details, FlowCache, Observed},
    clock::{Clock, Take, later},
    fragments::FragmentPorts,
    hash::Seed,
    table::NONE,
};

/// How much of a source a worker takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// Number of workers on the source.
    pub of: NonZeroUsize,
}

impl Share {
    /// Everything.
    pub const ALL: Self = Self { of: NonZeroUsize::MIN };
}

/// A metering worker. It owns its cache and its sink alone.
#[derive(Debug)]
pub struct Worker<S> {
    cache: FlowCache,
    /// The clock of a source that is this worker's alone.
    clock: Clock,
    intake: Intake,
    ledger: Ledger,
    now: Timestamp,
    /// The batch on its way into the cache.
    observed: Box<[Observed; BATCH]>,
    /// What is needed of some of them only.
    details: Box<[Details; BATCH]>,
    sink: S,
}

/// Octets of memory that a worker takes whatever its share of flows.
pub const FIXED_OCTETS: usize = FragmentPorts::OCTETS + BATCH * (size_of::<Observed>() + size_of::<Details>()) + 8192;

/// Memory that a worker held. To drop it takes a while, since parsers hold many small pieces; a program that ends now may
/// forget it, and the system takes it back at once.
#[derive(Debug)]
pub struct Held {
    _cache: FlowCache,
}

/// What decides of a packet before it comes to the cache.
#[derive(Debug)]
struct Intake {
    fragments: FragmentPorts,
    key: KeyFields,
    /// Whether a packet with the usual headers needs nothing that is done here.
    takes_plain: bool,
}

impl<S: RecordSink> Worker<S> {
    /// A worker for a share of a source's packets; `config` is that of the whole meter.
    ///
    /// # Errors
    ///
    /// If the system has not so much memory to give.
    pub fn new(config: &MeterConfig, share: Share, sink: S) -> io::Result<Self> {
        let config = config.share(share.of.get());
        let key = config.key;
        let takes_plain = !key.class_of_service && !key.interface;
        let seed = config.hash_seed.map_or_else(Seed::random, Seed::new);
        Ok(Self {
            cache: FlowCache::new(&config)?,
            clock: Clock::default(),
            intake: Intake { fragments: FragmentPorts::new(seed), key, takes_plain },
            ledger: Ledger::default(),
            now: Timestamp::ZERO,
            observed: Box::new([Observed::default(); BATCH]),
            details: Box::new([Details::default(); BATCH]),
            sink,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.ledger;
        self.clock.count(&mut ledger.metered);
        self.cache.count_parsed(&mut ledger.metered);
        ledger
    }

    /// The earliest and the latest timestamp of all packets, those left out that are far from the times around them, if they
    /// are all this worker's; `None` if there was no packet.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.clock.span()
    }

    /// Flows in the cache.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.cache.flows()
    }

    /// Takes timeouts, `max_transactions` and `uniflow` of a configuration, for flows that are there as well. The rest stays.
    pub fn adopt(&mut self, config: &MeterConfig) {
        self.cache.adopt(config);
    }

    /// The sink.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Takes a batch of at most [`BATCH`] packets; what is beyond is taken in further batches.
    ///
    /// They are all that there are: the clock is theirs. A few that are dated far ahead may be held back until it is known
    /// what to make of them; they are taken with a later batch, or at the end.
    pub fn packets(&mut self, packets: &[Packet<'_>]) {
        for batch in packets.chunks(BATCH) {
            match self.clock.go_on_with(batch) {
                Some(0) => self.batch_in_order(batch),
                Some(offset) => self.batch_later(batch, offset),
                None => self.by_clock(|clock, take| clock.tell(batch, None, take)),
            }
        }
    }

    /// Takes what the clock gives.
    #[cold]
    fn by_clock(&mut self, give: impl FnOnce(&mut Clock, &mut Take<'_>)) {
        let mut clock = std::mem::take(&mut self.clock);
        give(&mut clock, &mut |batch, _, clocks| self.packets_at(batch, clocks));
        self.clock = clock;
    }

    /// As [`Self::packets`], of packets that are not all that there are. `clocks` has for each of them what the clock of all
    /// packets says at it; that never goes back.
    pub fn packets_at(&mut self, packets: &[Packet<'_>], clocks: &[Timestamp]) {
        for (batch, clocks) in packets.chunks(BATCH).zip(clocks.chunks(BATCH)) {
            self.batch(batch, |index, packet| clocks.get(index).copied().unwrap_or(packet.ts));
        }
    }

    /// The same of at most [`BATCH`] packets, where the clock at each is the packet's own time, or as it was before.
    #[inline(never)]
    pub fn batch_in_order(&mut self, batch: &[Packet<'_>]) {
        self.batch(batch, |_, packet| packet.ts);
    }

    /// The same where the clock is later by so many nanoseconds, wrapping.
    #[inline(never)]
    fn batch_later(&mut self, batch: &[Packet<'_>], offset: u64) {
        let mut clocks = [Timestamp::ZERO; BATCH];
        clocks.iter_mut().zip(batch).for_each(|(clock, packet)| *clock = later(packet.ts, offset));
        self.packets_at(batch, &clocks);
    }

    /// Tells what the clock says after packets of other workers, and closes what is due.
    pub fn tell(&mut self, clock: Timestamp) {
        if clock > self.now {
            self.now = clock;
            self.cache.tick(clock, &mut self.ledger.metered, &mut self.sink);
        }
    }

    /// Each step goes over all packets of the batch before the next one begins: while one packet's line of memory is on its
    /// way, the others are worked on.
    #[inline(always)]
    fn batch(&mut self, batch: &[Packet<'_>], clock_at: impl Fn(usize, &Packet<'_>) -> Timestamp) {
        let Self { cache, intake, ledger, now, observed, details, sink, .. } = self;
        let (Some(observed), Some(details)) = (observed.get_mut(..batch.len()), details.get_mut(..batch.len())) else {
            return;
        };
        // Decode and hash; asks for the lines of the index.
        let mut clock = *now;
        let mut plain_octets = [0, 0];
        let mut others = 0;
        for (index, ((packet, observed), details)) in batch.iter().zip(&mut *observed).zip(&mut *details).enumerate() {
            clock = clock.max(clock_at(index, packet));
            match Plain::untagged_v4(packet) {
                Some(plain) if intake.takes_plain => {
                    plain_octets[0] += u64::from(packet.wire_octets);
                    plain_octets[1] += u64::from(plain.ip_octets);
                    cache.observe_plain(&plain, observed, details);
                }
                _ => {
                    others += 1;
                    intake.observe(packet, clock, cache, (observed, details), ledger);
                }
            }
        }
        let metered = &mut ledger.metered;
        let plain_packets = batch.len() as u64 - others;
        metered.delivered_packets += plain_packets;
        metered.metered_packets += plain_packets;
        metered.delivered_octets += plain_octets[0];
        metered.metered_octets += plain_octets[1];
        // Look into the index; asks for the entries.
        let mut candidates = [NONE; BATCH];
        let candidates = candidates.get_mut(..batch.len()).unwrap_or_default();
        cache.find_candidates(observed, candidates);
        // Where there is no room for new flows, ask for those that have to go.
        if cache.is_full() {
            for (observed, &candidate) in observed.iter().zip(&*candidates) {
                cache.prefetch_oldest(observed, candidate);
            }
        }
        cache.prefetch_beginnings(candidates);
        if cache.has_statistics() {
            cache.prefetch_for_statistics(candidates);
        }
        if cache.has_parsers() {
            cache.prefetch_for_parsers(observed, details, candidates);
        }
        // Count.
        for (index, (((packet, observed), details), &candidate)) in
            batch.iter().zip(&*observed).zip(&*details).zip(&*candidates).enumerate()
        {
            let clock = clock_at(index, packet);
            if clock > *now {
                *now = clock;
                cache.tick(clock, &mut ledger.metered, sink);
            }
            cache.count(Arrival { observed, details, packet }, candidate, &mut ledger.metered, sink);
        }
    }

    /// Closes all records and gives back the sink.
    pub fn finish(self) -> (Ledger, S) {
        let (ledger, sink, _) = self.end();
        (ledger, sink)
    }

    /// The same, and gives the memory that was held.
    pub(crate) fn end(mut self) -> (Ledger, S, Held) {
        self.by_clock(Clock::finish);
        self.clock.count(&mut self.ledger.metered);
        self.cache.finish(&mut self.ledger.metered, &mut self.sink);
        self.cache.count_parsed(&mut self.ledger.metered);
        (self.ledger, self.sink, Held { _cache: self.cache })
    }
}

impl Intake {
    /// Prepares a packet that is not one of the most usual kind. `now` is the clock.
    #[inline(never)]
    fn observe(
        &mut self,
        packet: &Packet<'_>,
        now: Timestamp,
        cache: &FlowCache,
        (observed, details): (&mut Observed, &mut Details),
        ledger: &mut Ledger,
    ) {
        let metered = &mut ledger.metered;
        metered.delivered_packets += u64::from(packet.wire_packets());
        metered.delivered_octets += u64::from(packet.wire_octets);
        if self.takes_plain
            && let Some(plain) = Plain::tagged_or_v6(packet)
        {
            metered.metered_packets += 1;
            metered.metered_octets += u64::from(plain.ip_octets);
            return cache.observe_plain(&plain, observed, details);
        }
        match self.decode(packet, now, ledger) {
            Some(decoded) => {
                cache.observe(&decoded, packet.data, observed, details);
                if packet.wire_packets() > 1 {
                    observed.mark_merged();
                }
            }
            None => observed.leave_out(),
        }
    }

    /// Decodes a packet; what cannot be metered is counted by reason. `now` is the clock.
    #[inline(never)]
    fn decode<'a>(&mut self, packet: &Packet<'a>, now: Timestamp, ledger: &mut Ledger) -> Option<Decoded<'a>> {
        let metered = &mut ledger.metered;
        let mut decoded = match decode(packet) {
            Ok(decoded) => decoded,
            Err(ignore) => {
                (0..packet.wire_packets()).for_each(|_| ignore.count(&mut ledger.ignored));
                return None;
            }
        };
        decoded.ip_octets += further_ip_octets(packet, decoded.ip_octets);
        metered.metered_packets += u64::from(packet.wire_packets());
        metered.metered_octets += decoded.ip_octets;
        metered.without_transport_header += u64::from(decoded.without_transport_header);
        metered.snapped_packets += u64::from(packet.data.len() < packet.octets_as_one() as usize);
        if decoded.fragment != Fragment::None {
            self.find_ports(&mut decoded, now, metered);
        }
        decoded.key.vlan = if self.key.vlan { decoded.vlan } else { 0 };
        decoded.key.class_of_service = if self.key.class_of_service { decoded.class_of_service } else { 0 };
        decoded.key.interface = if self.key.interface { packet.interface } else { 0 };
        Some(decoded)
    }

    /// Remembers the ports of a first fragment, recalls them for a later one.
    #[cold]
    fn find_ports(&mut self, decoded: &mut Decoded<'_>, now: Timestamp, metered: &mut Metered) {
        match decoded.fragment {
            Fragment::None => {}
            Fragment::First { id } => self.fragments.remember(&decoded.key, id, now.as_nanos()),
            Fragment::Later { id } => match self.fragments.recall(&decoded.key, id, now.as_nanos()) {
                Some(key) => decoded.key = key,
                None => metered.fragments_without_ports += 1,
            },
        }
    }
}

/// Octets of IP headers, and of what is behind them up to the payload, that packets had which the system merged into this one;
/// as one it has `ip_octets`.
fn further_ip_octets(packet: &Packet<'_>, ip_octets: u64) -> u64 {
    let Merged { further_packets, header_octets } = packet.merged;
    let before_ip = u64::from(packet.octets_as_one()).saturating_sub(ip_octets);
    u64::from(further_packets) * u64::from(header_octets).saturating_sub(before_ip)
}
