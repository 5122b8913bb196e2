// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exporting process as a whole: opens destinations, makes sinks, ends.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use weir_ipfix::{
    WEIR,
    encode::{RecordEncoder, Templates},
};

use crate::{
    channel::{Channel, LINES, Load},
    destination::{Destination, Format, Transport},
    queue::WhenFull,
    sender::{SendCounters, Sender},
    sink::{ExportSink, SinkCounters},
};

/// Settings of the exporting process.
#[derive(Clone, Debug)]
pub struct ExporterConfig {
    /// Where records go.
    pub destinations: Vec<Destination>,
    /// Observation domain of all records.
    pub domain: u32,
    /// Enterprise number of fields that have a number nowhere else.
    pub enterprise: u32,
    /// Most octets of a message over UDP: the path MTU less the headers below.
    pub max_datagram: usize,
    /// Octets of messages that may wait for a destination: at least [`MIN_QUEUE`] messages, whatever they take.
    pub queue_octets: usize,
    /// What becomes of a message that finds its queue full.
    pub when_full: WhenFull,
}

impl Default for ExporterConfig {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            domain: 1,
            enterprise: WEIR,
            // 1,280 octets, which every IPv6 path carries, are too careful for a station in the same network; 1,400 leave
            // room for a tunnel on an Ethernet path.
            max_datagram: 1400,
            // Enough for a destination to stand still for some milliseconds, little enough for a processor's cache.
            queue_octets: 4 << 20,
            when_full: WhenFull::Wait,
        }
    }
}

/// Most octets of a message over streams and in files: few hands for each record, and a file can still be replayed in
/// datagrams, which have no more over IPv4.
const STREAM_MESSAGE: usize = 65_507;

/// Fewest messages that may wait for a destination.
pub const MIN_QUEUE: usize = 4;

impl ExporterConfig {
    /// Octets of memory that the exporting process with so many workers holds at most: templates, messages under
    /// construction, in queues, and on their way to the system. Messages are made at start and used again and again. A
    /// JSON line takes what it has beyond 64 KiB in addition.
    #[must_use]
    pub fn memory(&self, workers: usize) -> usize {
        let of = |destination| {
            let load = self.load(destination);
            Channel::memory(load, self.messages(load), workers)
        };
        self.destinations.iter().map(of).sum::<usize>() + workers * RecordEncoder::MEMORY + Templates::MEMORY
    }

    fn load(&self, destination: &Destination) -> Load {
        match (destination.format, &destination.transport) {
            (Format::Json, _) => Load::Lines,
            (Format::Ipfix, Transport::Udp(_)) => Load::Ipfix(self.max_datagram),
            (Format::Ipfix, _) => Load::Ipfix(STREAM_MESSAGE),
        }
    }

    /// Messages that may wait.
    fn messages(&self, load: Load) -> usize {
        (self.queue_octets / load.memory()).max(MIN_QUEUE)
    }
}

/// A destination that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot export to {destination}")]
pub struct StartError {
    /// Which.
    pub destination: Destination,
    /// Why.
    #[source]
    pub error: io::Error,
}

/// How it went with one destination.
#[derive(Debug)]
pub struct DestinationReport {
    /// Which.
    pub destination: Destination,
    /// What was done.
    pub counters: SendCounters,
    /// Why it ended early, if it did.
    pub error: Option<io::Error>,
    /// Why the last datagram was refused that the system did not take, if there was one.
    pub refusal: Option<io::Error>,
}

/// A running exporting process.
#[derive(Debug)]
pub struct Exporter {
    templates: Arc<Templates>,
    when_full: WhenFull,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    destination: Destination,
    channel: Arc<Channel>,
    thread: JoinHandle<(Sender, io::Result<()>)>,
}

impl Exporter {
    /// Opens all destinations and starts a thread for each.
    ///
    /// # Errors
    ///
    /// If one of them cannot be opened; those opened before are closed again.
    pub fn start(config: &ExporterConfig) -> Result<Self, StartError> {
        let templates = Arc::new(Templates::new(config.enterprise));
        // Dropped on an error, it ends the threads that were started.
        let mut exporter = Self { templates: templates.clone(), when_full: config.when_full, running: Vec::new() };
        for destination in &config.destinations {
            let failed = |error| StartError { destination: destination.clone(), error };
            let transport = destination.transport.clone();
            let load = config.load(destination);
            let max_message = if let Load::Ipfix(octets) = load { octets } else { LINES };
            let mut sender = Sender::open(transport, templates.clone(), max_message, config.domain).map_err(failed)?;
            let channel = Arc::new(Channel::new(load, config.messages(load)));
            let receiver = channel.clone();
            let thread = thread::Builder::new()
                .name("export".into())
                .spawn(move || {
                    let result = sender.run(&receiver);
                    (sender, result)
                })
                .map_err(failed)?;
            exporter.running.push(Running { destination: destination.clone(), channel, thread });
        }
        Ok(exporter)
    }

    /// A sink for one worker.
    #[must_use]
    pub fn sink(&self) -> ExportSink {
        ExportSink::new(self.templates.clone(), self.running.iter().map(|r| &r.channel), self.when_full)
    }

    /// Ends: hands over what the sinks still hold, waits until all is sent or given up.
    #[must_use]
    pub fn finish(mut self, sinks: Vec<ExportSink>) -> (SinkCounters, Vec<DestinationReport>) {
        let mut counters = SinkCounters::default();
        for sink in sinks {
            counters.add(&sink.finish());
        }
        self.running.iter().for_each(|r| r.channel.queue.close());
        let reports = std::mem::take(&mut self.running).into_iter().map(|running| {
            let (mut sender, result) = running.thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
            // A worker may have pushed while the sender gave up.
            sender.give_up(&running.channel);
            DestinationReport {
                destination: running.destination,
                counters: sender.counters,
                error: result.err(),
                refusal: sender.refusal,
            }
        });
        (counters, reports.collect())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.running.iter().for_each(|r| r.channel.queue.close());
    }
}
