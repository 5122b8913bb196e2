// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path. One worker: decodes batches, finds ports of fragments, counts, keeps the ledger.

use std::num::NonZeroUsize;

use weir_flow::{BATCH, FlowKey, Packet, RecordSink, Timestamp, ledger::Ledger};
use weir_parsers::packet::{Fragment, decode};

use crate::{
    MeterConfig,
    cache::{FlowCache, Observed},
    fragments::FragmentPorts,
    hash::{Seed, shard},
};

/// Which packets of a source belong to a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// Index of the worker.
    pub index: usize,
    /// Number of workers on the source.
    pub of: NonZeroUsize,
}

impl Share {
    /// Everything.
    pub const ALL: Self = Self { index: 0, of: NonZeroUsize::MIN };
}

/// A metering worker. It owns its cache and its sink alone.
#[derive(Debug)]
pub struct Worker<S> {
    cache: FlowCache,
    fragments: FragmentPorts,
    ledger: Ledger,
    share: Share,
    config: MeterConfig,
    now: Timestamp,
    sink: S,
}

impl<S: RecordSink> Worker<S> {
    /// A worker for a share of a source's packets; `config` is that of the whole meter.
    #[must_use]
    pub fn new(config: &MeterConfig, share: Share, sink: S) -> Self {
        let config = config.share(share.of.get());
        Self {
            cache: FlowCache::new(&config),
            fragments: FragmentPorts::new(config.hash_seed.map_or_else(Seed::random, Seed::new)),
            ledger: Ledger::default(),
            share,
            config,
            now: Timestamp::ZERO,
            sink,
        }
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
    /// Every worker on a source sees all its packets: those of the others tell it the time, so that all expire flows alike.
    pub fn packets(&mut self, packets: &[Packet<'_>]) {
        for batch in packets.chunks(BATCH) {
            // Decode and hash all first: their memory is on its way while the others are decoded.
            let mut observed: [Option<Observed<'_>>; BATCH] = [None; BATCH];
            let mut now = self.now;
            for (place, packet) in observed.iter_mut().zip(batch) {
                now = now.max(packet.ts);
                *place = self.observe(packet, now);
            }
            for (observed, packet) in observed.iter().zip(batch) {
                if packet.ts > self.now {
                    self.now = packet.ts;
                    self.cache.tick(packet.ts, &mut self.ledger.metered, &mut self.sink);
                }
                if let Some(observed) = observed {
                    self.cache.count(observed, &mut self.ledger.metered, &mut self.sink);
                }
            }
        }
    }

    /// Closes all records and gives back the sink.
    pub fn finish(mut self) -> (Ledger, S) {
        self.cache.finish(&mut self.ledger.metered, &mut self.sink);
        (self.ledger, self.sink)
    }

    /// Decodes a packet of this worker's share; what cannot be metered is counted by reason. `now` is the clock.
    #[inline]
    fn observe<'a>(&mut self, packet: &Packet<'a>, now: Timestamp) -> Option<Observed<'a>> {
        let shards = self.share.of.get();
        let decoded = decode(packet);
        let owner = match &decoded {
            Ok(decoded) if shards > 1 => shard(&decoded.key, shards),
            // What has no addresses is the first worker's.
            _ => 0,
        };
        if owner != self.share.index {
            return None;
        }
        let metered = &mut self.ledger.metered;
        metered.delivered_packets += 1;
        metered.delivered_octets += u64::from(packet.wire_octets);
        let mut decoded = match decoded {
            Ok(decoded) => decoded,
            Err(ignore) => {
                ignore.count(&mut self.ledger.ignored);
                return None;
            }
        };
        metered.metered_packets += 1;
        metered.metered_octets += decoded.ip_octets;
        metered.without_transport_header += u64::from(decoded.without_transport_header);
        metered.snapped_packets += u64::from(packet.data.len() < packet.wire_octets as usize);
        match decoded.fragment {
            Fragment::None => {}
            Fragment::First { id } => self.fragments.remember(&decoded.key, id, now.as_nanos()),
            Fragment::Later { id } => match self.fragments.recall(&decoded.key, id, now.as_nanos()) {
                Some(key) => decoded.key = key,
                None => metered.fragments_without_ports += 1,
            },
        }
        let fields = self.config.key;
        decoded.key = FlowKey {
            vlan: if fields.vlan { decoded.vlan } else { 0 },
            class_of_service: if fields.class_of_service { decoded.class_of_service } else { 0 },
            interface: if fields.interface { packet.interface } else { 0 },
            ..decoded.key
        };
        Some(self.cache.observe(decoded, packet.ts, packet.interface))
    }
}
