// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. One worker: decodes batches, finds ports of fragments, counts, keeps the ledger.

use std::{io, num::NonZeroUsize};

use weir_flow::{
    BATCH, Packet, RecordSink, Timestamp,
    ledger::{Ledger, Metered},
};
use weir_parsers::packet::{Decoded, Fragment, Plain, decode};

use crate::{
    KeyFields, MeterConfig,
    cache::{Arrival, FlowCache, Observed},
    fragments::FragmentPorts,
    hash::Seed,
    table::{NONE, Wide},
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
    intake: Intake,
    ledger: Ledger,
    now: Timestamp,
    /// The batch on its way into the cache.
    observed: Box<[Observed; BATCH]>,
    /// What of their keys does not fit there.
    wide: Box<[Wide; BATCH]>,
    sink: S,
}

/// Octets of memory that a worker takes whatever its share of flows.
pub const FIXED_OCTETS: usize = FragmentPorts::OCTETS + BATCH * (size_of::<Observed>() + size_of::<Wide>()) + 8192;

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
            intake: Intake { fragments: FragmentPorts::new(seed), key, takes_plain },
            ledger: Ledger::default(),
            now: Timestamp::ZERO,
            observed: Box::new([Observed::default(); BATCH]),
            wide: Box::new([Wide::default(); BATCH]),
            sink,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Flows in the cache.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.cache.flows()
    }

    /// The sink.
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Takes a batch of at most [`BATCH`] packets; what is beyond is taken in further batches.
    ///
    /// They are all that there are: the clock is the time of the latest of them.
    pub fn packets(&mut self, packets: &[Packet<'_>]) {
        for batch in packets.chunks(BATCH) {
            self.batch(batch, |_, packet| packet.ts);
        }
    }

    /// As [`Self::packets`], of packets that are not all that there are. `clocks` has for each of them the time of the
    /// latest packet so far, this one included; it never goes back.
    pub fn packets_at(&mut self, packets: &[Packet<'_>], clocks: &[Timestamp]) {
        for (batch, clocks) in packets.chunks(BATCH).zip(clocks.chunks(BATCH)) {
            self.batch(batch, |index, packet| clocks.get(index).copied().unwrap_or(packet.ts));
        }
    }

    /// Tells the time of the latest packet so far, which was another worker's, and closes what is due.
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
        let Self { cache, intake, ledger, now, observed, wide, sink } = self;
        // Decode and hash; asks for the lines of the index.
        let mut clock = *now;
        let mut plain_octets = [0, 0];
        let mut plain_packets = 0;
        for (index, ((packet, observed), wide)) in batch.iter().zip(&mut **observed).zip(&mut **wide).enumerate() {
            clock = clock.max(clock_at(index, packet));
            match Plain::read(packet) {
                Some(plain) if intake.takes_plain && packet.wire_octets as usize == packet.data.len() => {
                    plain_packets += 1;
                    plain_octets[0] += u64::from(packet.wire_octets);
                    plain_octets[1] += u64::from(plain.ip_octets);
                    cache.observe_plain(&plain, packet, observed, wide);
                }
                _ => match intake.decode(packet, clock, ledger) {
                    Some(decoded) => cache.observe(&decoded, packet, observed, wide),
                    None => observed.leave_out(),
                },
            }
        }
        let metered = &mut ledger.metered;
        metered.delivered_packets += plain_packets;
        metered.metered_packets += plain_packets;
        metered.delivered_octets += plain_octets[0];
        metered.metered_octets += plain_octets[1];
        // Look into the index; asks for the entries.
        let mut candidates = [NONE; BATCH];
        for (candidate, observed) in candidates.iter_mut().zip(&**observed).take(batch.len()) {
            *candidate = cache.candidate(observed);
        }
        // Where there is no room for new flows, ask for those that have to go.
        if cache.is_full() {
            for (observed, candidate) in observed.iter().zip(candidates).take(batch.len()) {
                cache.prefetch_oldest(observed, candidate);
            }
        }
        // Where there is payload to be read, ask for what its parser needs, one link of the chain after the other.
        let mut apps = [NONE; BATCH];
        let mut reading = 0;
        for (observed, candidate) in observed.iter().zip(candidates).take(batch.len()) {
            if let Some(place) = apps.get_mut(reading) {
                *place = cache.app_of(observed, candidate);
                reading += usize::from(*place != NONE);
            }
        }
        cache.prefetch_apps(apps.get(..reading).unwrap_or_default());
        // Count.
        let packets = batch.iter().zip(&**observed).zip(&**wide).zip(candidates);
        for (index, (((packet, observed), wide), candidate)) in packets.enumerate() {
            let clock = clock_at(index, packet);
            if clock > *now {
                *now = clock;
                cache.tick(clock, &mut ledger.metered, sink);
            }
            if observed.is_metered() {
                cache.count(Arrival { observed, wide, data: packet.data }, candidate, &mut ledger.metered, sink);
            }
        }
    }

    /// Closes all records and gives back the sink.
    pub fn finish(self) -> (Ledger, S) {
        let (ledger, sink, _) = self.end();
        (ledger, sink)
    }

    /// The same, and gives the memory that was held.
    pub(crate) fn end(mut self) -> (Ledger, S, Held) {
        self.cache.finish(&mut self.ledger.metered, &mut self.sink);
        (self.ledger, self.sink, Held { _cache: self.cache })
    }
}

impl Intake {
    /// Decodes a packet; what cannot be metered is counted by reason. `now` is the clock.
    #[inline(never)]
    fn decode<'a>(&mut self, packet: &Packet<'a>, now: Timestamp, ledger: &mut Ledger) -> Option<Decoded<'a>> {
        let metered = &mut ledger.metered;
        metered.delivered_packets += 1;
        metered.delivered_octets += u64::from(packet.wire_octets);
        let mut decoded = match decode(packet) {
            Ok(decoded) => decoded,
            Err(ignore) => {
                ignore.count(&mut ledger.ignored);
                return None;
            }
        };
        metered.metered_packets += 1;
        metered.metered_octets += decoded.ip_octets;
        metered.without_transport_header += u64::from(decoded.without_transport_header);
        metered.snapped_packets += u64::from(packet.data.len() < packet.wire_octets as usize);
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
