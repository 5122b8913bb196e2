// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known about a run of live capture at a time: read from the slots of its lanes, the interfaces, the exporter.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weir_export::{Exporter, SendCounters, SinkCounters};
use weir_flow::ledger::{Captured, Ignored, Metered};
use weir_metering::{
    MeterConfig, Timing,
    live::{Progress, Slot},
};

use crate::{
    nic::{Nic, Watched},
    unrecognised::Shared,
};

/// One lane's place on the board.
#[derive(Debug)]
pub struct LaneView {
    /// Index of its interface.
    pub interface: usize,
    /// Where its progress is.
    pub slot: Arc<Slot<SinkCounters>>,
}

/// Where everything can be read, by any thread.
#[derive(Debug)]
pub struct Board {
    begin: Instant,
    layers: Vec<&'static str>,
    lanes: Vec<LaneView>,
    changing: Mutex<Changing>,
    /// What no parser knew, if that is asked for.
    pub unrecognised: Option<Shared>,
}

#[derive(Debug)]
struct Changing {
    watched: Vec<Watched>,
    exporter: Option<Exporter>,
    /// The last two pictures, about a second apart.
    earlier: Option<Picture>,
    latest: Option<Picture>,
}

/// All counters at a time.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Since the beginning.
    pub elapsed: Duration,
    /// Whether capture has ended.
    pub has_ended: bool,
    /// The interfaces.
    pub interfaces: Vec<InterfacePicture>,
    /// The destinations.
    pub destinations: Vec<DestinationPicture>,
    /// What was done for destinations that there were before.
    pub former: SendCounters,
}

/// One interface.
#[derive(Clone, Debug)]
pub struct InterfacePicture {
    /// Its name.
    pub name: String,
    /// The layer that it is captured through.
    pub layer: &'static str,
    /// What it counts itself.
    pub nic: Nic,
    /// What its driver says of loss, under the driver's own names.
    pub driver: Vec<(String, u64)>,
    /// Its workers.
    pub workers: Vec<Progress<SinkCounters>>,
}

/// One destination.
#[derive(Clone, Debug)]
pub struct DestinationPicture {
    /// As an operator writes it.
    pub name: String,
    /// What was done for it.
    pub counters: SendCounters,
    /// Whether it was given up.
    pub has_ended: bool,
    /// Why it was given up, or is connected to again.
    pub trouble: Option<String>,
}

impl Board {
    /// A board for these interfaces, captured through these layers.
    pub fn new(
        watched: Vec<Watched>,
        layers: Vec<&'static str>,
        lanes: Vec<LaneView>,
        exporter: Exporter,
        unrecognised: Option<Shared>,
    ) -> Self {
        let changing = Changing { watched, exporter: Some(exporter), earlier: None, latest: None };
        Self { begin: Instant::now(), layers, lanes, changing: Mutex::new(changing), unrecognised }
    }

    /// All counters now.
    pub fn read(&self) -> Picture {
        self.picture(&mut self.changing())
    }

    /// All counters now, and what [`Self::tick`] read one and two ticks ago.
    pub fn read_with_rates(&self) -> (Picture, Option<Picture>, Option<Picture>) {
        let mut changing = self.changing();
        let now = self.picture(&mut changing);
        (now, changing.latest.clone(), changing.earlier.clone())
    }

    /// Remembers how it is now, for rates.
    pub fn tick(&self) -> Picture {
        let mut changing = self.changing();
        let now = self.picture(&mut changing);
        changing.earlier = changing.latest.replace(now.clone());
        now
    }

    /// Does something with the exporter, if it has not been taken.
    pub fn with_exporter<T>(&self, act: impl FnOnce(&mut Exporter) -> T) -> Option<T> {
        self.changing().exporter.as_mut().map(act)
    }

    /// Takes the exporter, to end it.
    pub fn take_exporter(&self) -> Option<Exporter> {
        self.changing().exporter.take()
    }

    /// Has every lane take new settings.
    pub fn adopt(&self, config: &MeterConfig) {
        self.lanes.iter().for_each(|lane| lane.slot.adopt(*config));
    }

    /// Whether every lane published something since `seen`, which then is what they have.
    pub fn have_moved(&self, seen: &mut Vec<u64>) -> bool {
        let now: Vec<u64> = self.lanes.iter().map(|lane| lane.slot.read().published).collect();
        let moved = seen.len() != now.len() || now.iter().zip(&*seen).all(|(now, seen)| now > seen);
        if moved {
            *seen = now;
        }
        moved
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn picture(&self, changing: &mut Changing) -> Picture {
        let mut interfaces: Vec<_> = self
            .layers
            .iter()
            .zip(&mut changing.watched)
            .map(|(layer, watched)| InterfacePicture {
                name: watched.name().to_owned(),
                layer,
                nic: watched.read(),
                driver: watched.read_driver(),
                workers: Vec::new(),
            })
            .collect();
        for lane in &self.lanes {
            if let Some(interface) = interfaces.get_mut(lane.interface) {
                interface.workers.push(lane.slot.read());
            }
        }
        let progress = changing.exporter.as_ref().map(Exporter::progress).unwrap_or_default();
        let former = changing.exporter.as_ref().map(Exporter::former).unwrap_or_default();
        let troubles = changing.exporter.as_ref().map(Exporter::troubles).unwrap_or_default();
        let destinations = progress.into_iter().zip(troubles).map(|((destination, counters, has_ended), trouble)| {
            DestinationPicture { name: destination.to_string(), counters, has_ended, trouble }
        });
        Picture {
            elapsed: self.begin.elapsed(),
            has_ended: false,
            interfaces,
            destinations: destinations.collect(),
            former,
        }
    }
}

/// Adds up what workers did.
pub fn sum<'a>(workers: impl IntoIterator<Item = &'a Progress<SinkCounters>>) -> Progress<SinkCounters> {
    let mut sum = Progress::<SinkCounters>::default();
    for worker in workers {
        sum.ledger.add(&worker.ledger);
        sum.captured.add(&worker.captured);
        sum.timing.add(&worker.timing);
        sum.sink.add(&worker.sink);
        sum.taken_packets += worker.taken_packets;
        sum.flows += worker.flows;
        sum.interruptions += worker.interruptions;
        sum.is_capturing |= worker.is_capturing;
    }
    sum
}

impl Picture {
    /// What all workers did.
    pub fn sum(&self) -> Progress<SinkCounters> {
        sum(self.interfaces.iter().flat_map(|interface| &interface.workers))
    }

    /// What was done for all destinations.
    pub fn sent(&self) -> SendCounters {
        let mut sum = self.former;
        self.destinations.iter().for_each(|destination| sum.add(&destination.counters));
        sum
    }
}

/// A family of counters: what it is called, where its numbers come from, and the definitions.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// In names of metrics.
    pub name: &'static str,
    /// The layer that counts, for people.
    pub layer: &'static str,
    /// Names and definitions, in the order of values.
    pub definitions: &'static [(&'static str, &'static str)],
}

/// Counters of an interface.
pub const NIC: Family =
    Family { name: "interface", layer: "the interface: /sys/class/net/…/statistics", definitions: Nic::DEFINITIONS };

/// Gets the values of a family from what a worker did.
pub type Values = fn(&Progress<SinkCounters>) -> Vec<u64>;

/// Counters of a worker, with how to get them.
pub const WORKER: &[(Family, Values)] = &[
    (
        Family {
            name: "capture",
            layer: "the kernel: what the socket says of its ring",
            definitions: Captured::DEFINITIONS,
        },
        |p| p.captured.values(),
    ),
    (Family { name: "source", layer: "the meter: its source of packets", definitions: SOURCE }, |p| {
        vec![p.taken_packets, p.waiting_packets(), p.interruptions]
    }),
    (Family { name: "metered", layer: "the meter: its flow cache", definitions: Metered::DEFINITIONS }, |p| {
        p.ledger.metered.values()
    }),
    (Family { name: "ignored", layer: "the meter: its decoder", definitions: Ignored::DEFINITIONS }, |p| {
        p.ledger.ignored.values()
    }),
    (Family { name: "clock", layer: "the meter: its clocks", definitions: Timing::DEFINITIONS }, |p| p.timing.values()),
    (
        Family { name: "records", layer: "the exporter: before the queues", definitions: SinkCounters::DEFINITIONS },
        |p| p.sink.values(),
    ),
];

/// Counters of a destination.
pub const SENT: Family =
    Family { name: "sent", layer: "the exporter: the destination", definitions: SendCounters::DEFINITIONS };

/// What a lane counts beside its ledger.
const SOURCE: &[(&str, &str)] = &[
    ("taken_packets", "packets that the layers below handed over, each that was merged of several as one"),
    ("waiting_packets", "packets that the kernel holds for this socket, and that were not taken yet"),
    ("interruptions", "times that the source ended, or its interface went down or away"),
];
