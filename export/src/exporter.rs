// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exporting process as a whole: opens destinations, makes sinks, ends.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use weir_ipfix::{WEIR, encode::Templates};

use crate::{
    destination::{Destination, Format, Transport},
    queue::{Queue, WhenFull},
    sender::{SendCounters, Sender},
    sink::{ExportSink, Message, SinkCounters},
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
    /// Messages that may wait for a destination.
    pub queue_messages: usize,
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
            queue_messages: 256,
            when_full: WhenFull::Wait,
        }
    }
}

/// Octets of a message over streams and in files: large enough that headers do not matter, small enough for a queue.
const STREAM_MESSAGE: usize = 32 * 1024;

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
    max_message: usize,
    queue: Arc<Queue<Message>>,
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
            let Destination { format, transport } = destination.clone();
            let is_udp = matches!(transport, Transport::Udp(_));
            let max_message = if is_udp { config.max_datagram } else { STREAM_MESSAGE };
            let mut sender =
                Sender::open(transport, format, templates.clone(), max_message, config.domain).map_err(failed)?;
            let queue = Arc::new(Queue::new(config.queue_messages));
            let receiver = queue.clone();
            let thread = thread::Builder::new()
                .name("export".into())
                .spawn(move || {
                    let result = sender.run(&receiver);
                    (sender, result)
                })
                .map_err(failed)?;
            exporter.running.push(Running { destination: destination.clone(), max_message, queue, thread });
        }
        Ok(exporter)
    }

    /// A sink for one worker.
    #[must_use]
    pub fn sink(&self) -> ExportSink {
        let of = |format: Format| self.running.iter().filter(move |r| r.destination.format == format);
        let ipfix: Vec<_> = of(Format::Ipfix).map(|r| (r.max_message, r.queue.clone())).collect();
        let json: Vec<_> = of(Format::Json).map(|r| r.queue.clone()).collect();
        ExportSink::new(self.templates.clone(), &ipfix, &json, self.when_full)
    }

    /// Ends: hands over what the sinks still hold, waits until all is sent or given up.
    #[must_use]
    pub fn finish(mut self, sinks: Vec<ExportSink>) -> (SinkCounters, Vec<DestinationReport>) {
        let mut counters = SinkCounters::default();
        for sink in sinks {
            counters.add(&sink.finish());
        }
        self.running.iter().for_each(|r| r.queue.close());
        let reports = std::mem::take(&mut self.running).into_iter().map(|running| {
            let (mut sender, result) = running.thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
            // A worker may have pushed while the sender gave up.
            sender.give_up(&running.queue);
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
        self.running.iter().for_each(|r| r.queue.close());
    }
}
