// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exporting process as a whole: opens destinations, makes sinks, ends.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use weir_ipfix::{
    WEIR,
    encode::{RecordEncoder, Templates},
};

use crate::{
    announce::Announcer,
    channel::{Channel, Load},
    clock::Clock,
    datagram::{DatagramSender, Refresh},
    destination::{Destination, Format, Transport},
    file::FileSender,
    passive_dns::PassiveDns,
    policy::Policy,
    queue::WhenFull,
    rotation::Rotation,
    sender::{SendCounters, Sender},
    sink::{ExportSink, SinkCounters},
    spool::{Spool, SpoolConfig},
    stream::StreamSender,
    tcp::Target,
    tls::TlsSettings,
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
    /// Which of several destinations gets a record.
    pub policy: Policy,
    /// What is kept for destinations behind connections.
    pub spool: SpoolConfig,
    /// When files are finished.
    pub rotation: Rotation,
    /// When templates are announced again in datagrams.
    pub refresh: Refresh,
    /// What time it is.
    pub clock: Clock,
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
            policy: Policy::default(),
            spool: SpoolConfig::default(),
            rotation: Rotation::default(),
            refresh: Refresh::default(),
            clock: Clock::default(),
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
    /// construction, in queues, in spools, and on their way to the system. Messages are made at start and used again and again. A
    /// JSON line takes what it has beyond 64 KiB in addition.
    #[must_use]
    pub fn memory(&self, workers: usize) -> usize {
        let of = |destination| {
            let load = self.load(destination);
            let spool = if destination.is_connection() { self.spool.memory() } else { 0 };
            Channel::memory(load, self.messages(load), workers) + spool
        };
        let is_passive = self.destinations.iter().any(|destination| destination.format == Format::PassiveDns);
        let of_worker = RecordEncoder::MEMORY + if is_passive { PassiveDns::MEMORY } else { 0 };
        self.destinations.iter().map(of).sum::<usize>() + workers * of_worker + Templates::MEMORY
    }

    fn load(&self, destination: &Destination) -> Load {
        match (destination.format, &destination.transport) {
            (Format::Json, _) => Load::Lines,
            (Format::PassiveDns, _) => Load::PassiveDns,
            (Format::Ipfix, Transport::Udp(_)) => Load::Ipfix(self.max_datagram),
            (Format::Ipfix, _) => Load::Ipfix(STREAM_MESSAGE),
        }
    }

    /// The spool of a destination; names of its files are those of no other.
    fn spool(&self, destination: &Destination) -> Spool {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (begun, process) = (self.clock.since_epoch().as_secs(), std::process::id());
        let suffix = if destination.format == Format::Ipfix { "ipfix" } else { "jsonl" };
        Spool::new(&self.spool, format!("weir-{begun}-{process}-{number}"), suffix)
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

impl DestinationReport {
    /// Whether it is standard output, and whoever reads that has closed it: no failure, though the rest was not sent.
    #[must_use]
    pub fn reader_had_enough(&self) -> bool {
        let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        self.destination.is_stdout() && self.error.as_ref().is_some_and(is_closed)
    }
}

/// A running exporting process.
#[derive(Debug)]
pub struct Exporter {
    templates: Arc<Templates>,
    domain: u32,
    when_full: WhenFull,
    policy: Policy,
    running: Vec<Running>,
    /// Destinations that new sinks do not have any more.
    retired: Vec<Running>,
    /// What was done for those of them that have ended.
    former: SendCounters,
}

#[derive(Debug)]
struct Running {
    destination: Destination,
    channel: Arc<Channel>,
    thread: JoinHandle<(Sender, io::Result<()>)>,
}

/// Destinations that are open, without their threads: for a process that confines itself in between.
#[derive(Debug)]
pub struct Opened {
    exporter: Exporter,
    senders: Vec<Waiting>,
}

/// A destination without its thread.
#[derive(Debug)]
struct Waiting {
    destination: Destination,
    channel: Arc<Channel>,
    sender: Sender,
}

impl Waiting {
    fn open(
        config: &ExporterConfig,
        destination: &Destination,
        templates: &Arc<Templates>,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError { destination: destination.clone(), error };
        let mut load = config.load(destination);
        let announcer = Announcer::new(templates.clone(), load);
        let (domain, clock) = (config.domain, config.clock.clone());
        let connection = |authority: &String, tls| {
            let target = Target { authority: authority.clone(), tls };
            // Who must not wait has time: files are none.
            let is_live = config.when_full == WhenFull::Drop;
            let spool = config.spool(destination);
            let announcer = Announcer::new(templates.clone(), load);
            Sender::Stream(Box::new(StreamSender::new(target, announcer, domain, clock.clone(), is_live, spool)))
        };
        let file = |path: Option<&Path>| {
            let announcer = Announcer::new(templates.clone(), load);
            let sender = FileSender::open(path, config.rotation, announcer, domain, clock.clone());
            sender.map(|sender| Sender::File(Box::new(sender)))
        };
        let sender = match &destination.transport {
            Transport::Udp(authority) => {
                let sender =
                    DatagramSender::new(authority.clone(), announcer, domain, config.refresh, config.clock.clone());
                load = Load::Ipfix(sender.limit());
                Sender::Datagram(Box::new(sender))
            }
            Transport::Tcp(authority) => connection(authority, None),
            Transport::Tls(authority, options) => {
                let settings = TlsSettings::load(options, authority).map_err(failed)?;
                connection(authority, Some(Arc::new(settings)))
            }
            Transport::File(path) => file(Some(path)).map_err(failed)?,
            Transport::Stdout => file(None).map_err(failed)?,
        };
        let channel = Arc::new(Channel::new(load, config.messages(load)));
        Ok(Self { destination: destination.clone(), channel, sender })
    }

    fn start(self) -> Result<Running, StartError> {
        let Self { destination, channel, mut sender } = self;
        let receiver = channel.clone();
        let work = move || {
            let result = sender.run(&receiver);
            (sender, result)
        };
        match thread::Builder::new().name("export".into()).spawn(work) {
            Ok(thread) => Ok(Running { destination, channel, thread }),
            Err(error) => Err(StartError { destination, error }),
        }
    }
}

impl Opened {
    /// Starts a thread for each destination.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(self) -> Result<Exporter, StartError> {
        // Dropped on an error, it ends the threads that were started.
        let Self { mut exporter, senders } = self;
        for sender in senders {
            exporter.running.push(sender.start()?);
        }
        Ok(exporter)
    }
}

impl Exporter {
    /// Opens all destinations and starts a thread for each. Those behind a network need not be there.
    ///
    /// # Errors
    ///
    /// If a file cannot be made, or what TLS needs not be read; those opened before are closed again.
    pub fn start(config: &ExporterConfig) -> Result<Self, StartError> {
        Self::open(config)?.start()
    }

    /// Opens all destinations. Those behind a network need not be there.
    ///
    /// # Errors
    ///
    /// If a file cannot be made, or what TLS needs not be read; those opened before are closed again.
    pub fn open(config: &ExporterConfig) -> Result<Opened, StartError> {
        let templates = Arc::new(Templates::new(config.enterprise));
        let open = |destination| Waiting::open(config, destination, &templates);
        let senders = config.destinations.iter().map(open).collect::<Result<_, _>>()?;
        let exporter = Self {
            templates,
            domain: config.domain,
            when_full: config.when_full,
            policy: config.policy,
            running: Vec::new(),
            retired: Vec::new(),
            former: SendCounters::default(),
        };
        Ok(Opened { exporter, senders })
    }

    /// A sink for one worker.
    #[must_use]
    pub fn sink(&self) -> ExportSink {
        let channels = self.running.iter().map(|running| running.channel.clone()).collect();
        ExportSink::new(self.templates.clone(), self.domain, channels, self.policy, self.when_full)
    }

    /// What was done for each destination so far, and whether it has ended early.
    #[must_use]
    pub fn progress(&self) -> Vec<(Destination, SendCounters, bool)> {
        let of = |r: &Running| (r.destination.clone(), r.channel.progress(), r.thread.is_finished());
        self.running.iter().chain(&self.retired).map(of).collect()
    }

    /// What is wrong with each destination now, in the order of [`Self::progress`]: why it is reconnected to, or was given up.
    #[must_use]
    pub fn troubles(&self) -> Vec<Option<String>> {
        self.running.iter().chain(&self.retired).map(|r| r.channel.trouble()).collect()
    }

    /// Whether each destination takes messages now, in the order of [`Self::progress`].
    #[must_use]
    pub fn are_ready(&self) -> Vec<bool> {
        self.running.iter().chain(&self.retired).map(|r| r.channel.is_ready()).collect()
    }

    /// What was done for destinations that have ended since others took their place.
    #[must_use]
    pub const fn former(&self) -> SendCounters {
        self.former
    }

    /// Changes destinations to those of `config`, and the policy; nothing else counts for those that stay. Those that stay are opened again: connections
    /// are made anew, and files that were moved away. Those that have failed are tried again.
    ///
    /// From now on [`Self::sink`] makes sinks for these. When all sinks that were made before are finished, call
    /// [`Self::end_retired`].
    ///
    /// # Errors
    ///
    /// If a new one cannot be opened; then everything stays as it is.
    pub fn change(&mut self, config: &ExporterConfig) -> Result<(), StartError> {
        let is_open = |r: &Running| !r.thread.is_finished() && config.destinations.contains(&r.destination);
        let is_new =
            |destination: &&Destination| !self.running.iter().any(|r| is_open(r) && r.destination == **destination);
        let new = config.destinations.iter().filter(is_new);
        let new: Vec<_> =
            new.map(|destination| Waiting::open(config, destination, &self.templates)).collect::<Result<_, _>>()?;
        let new: Vec<_> = new.into_iter().map(Waiting::start).collect::<Result<_, _>>()?;
        let (staying, leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(is_open);
        staying.iter().for_each(|r| r.channel.ask_to_reopen());
        self.policy = config.policy;
        self.retired.extend(leaving);
        self.running = staying;
        self.running.extend(new);
        // Their order means something: who is the first to take over.
        let place = |r: &Running| config.destinations.iter().position(|destination| *destination == r.destination);
        self.running.sort_by_key(place);
        Ok(())
    }

    /// Ends destinations that no sink has any more: what waits for them is sent, until the deadline at most.
    pub fn end_retired(&mut self, deadline: Instant) -> Vec<DestinationReport> {
        self.retired.iter().for_each(|r| r.close_by(Some(deadline)));
        let reports: Vec<_> =
            std::mem::take(&mut self.retired).into_iter().map(|running| running.finish_by(Some(deadline))).collect();
        reports.iter().for_each(|report| self.former.add(&report.counters));
        reports
    }

    /// Gives up: nothing more is taken, and nobody waits for room.
    pub fn close(&self) {
        self.running.iter().chain(&self.retired).for_each(|r| r.channel.queue.close());
    }

    /// Ends: hands over what the sinks still hold, waits until all is sent or given up.
    #[must_use]
    pub fn finish(self, sinks: Vec<ExportSink>) -> (SinkCounters, Vec<DestinationReport>) {
        let mut counters = SinkCounters::default();
        for sink in sinks {
            counters.add(&sink.finish());
        }
        (counters, self.finish_by(None))
    }

    /// Ends without sinks: waits until all is sent or given up, until then at most, if there is such a time. What a
    /// destination has not taken by then is not waited for; its report says so.
    #[must_use]
    pub fn finish_by(mut self, deadline: Option<Instant>) -> Vec<DestinationReport> {
        self.running.iter().chain(&self.retired).for_each(|r| r.close_by(deadline));
        let running = std::mem::take(&mut self.running).into_iter().chain(std::mem::take(&mut self.retired));
        running.map(|running| running.finish_by(deadline)).collect()
    }
}

/// How long before nobody waits for it any more a destination gives up what it still has.
const LAST: Duration = Duration::from_millis(200);

impl Running {
    fn close_by(&self, deadline: Option<Instant>) {
        self.channel.close_by(deadline.map(|deadline| deadline.checked_sub(LAST).unwrap_or(deadline)));
    }

    fn finish_by(self, deadline: Option<Instant>) -> DestinationReport {
        let Self { destination, channel, thread } = self;
        while let Some(deadline) = deadline.filter(|_| !thread.is_finished()) {
            if Instant::now() >= deadline {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it took too long to take the rest");
                let mut counters = channel.progress();
                counters.records_not_sent += channel.taken_records().saturating_sub(counters.settled_records());
                return DestinationReport { destination, counters, error: Some(error), refusal: None };
            }
            thread::sleep(Duration::from_millis(5));
        }
        let (mut sender, result) = thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
        // A worker may have pushed while the sender gave up.
        sender.give_up(&channel);
        let counters = sender.counters();
        DestinationReport { destination, counters, error: result.err(), refusal: sender.refusal() }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.close();
    }
}
