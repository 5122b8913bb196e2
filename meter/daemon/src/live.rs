// SPDX-License-Identifier: MIT OR Apache-2.0
//! Live capture: opens everything, confines the process, starts the lanes, watches them, ends them.

use std::{
    fs::File,
    io::{self, Write},
    net::TcpListener,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use weir_export::{DestinationReport, Exporter, SendCounters};
use weir_metering::{
    Share,
    capture::{interface_is_up, open_pcap},
    live::{Event, Lane, Reopen, Running, Tell},
};

use crate::{
    backends::{self, Backend, Opened},
    board::{Board, DestinationPicture, InterfacePicture, LaneView, Picture},
    cores, metrics,
    nic::Watched,
    notify::Notify,
    options::{Options, Settings, live::StatusSocket as Wanted},
    sandbox::{self, Needs, User},
    say::{self, say},
    signals::{Order, Orders},
    sink::{self, Next, Sink},
    status::{self, StatusSocket},
    unrecognised::{self, Noting},
};

/// How often counters are read, for rates and for whoever watches this process.
const TICK: Duration = Duration::from_secs(1);
/// From the order to stop until records that wait for a destination are given up, and until nothing is waited for.
const GIVE_UP: Duration = Duration::from_secs(4);
const END: Duration = Duration::from_millis(4_700);
/// Ticks without a sign of life of a lane after which the watchdog is not told that all is well.
const STUCK: u32 = 10;

/// Meters interfaces until it is told to stop.
///
/// # Errors
///
/// If something cannot be opened; nothing was metered then.
pub fn run(settings: Settings, given: Options) -> anyhow::Result<ExitCode> {
    let notify = Notify::new().context("cannot reach the service manager")?;
    let live = &settings.live;
    let watched = live.interfaces.iter().map(|name| Watched::new(name)).collect();
    let opened: Vec<_> = live
        .interfaces
        .iter()
        .zip(&live.workers)
        .map(|(name, workers)| backends::open(&settings, name, *workers))
        .collect::<anyhow::Result<_>>()?;
    // Until here a signal ends the program at once: libpcap may take minutes for a filter.
    let orders = Orders::new().context("cannot wait for signals")?;
    make_spool(&settings)?;
    let exporter = Exporter::open(&settings.exporter)?;
    let metrics = match live.metrics {
        Some(address) => {
            Some(TcpListener::bind(address).with_context(|| format!("metrics: cannot listen at {address}"))?)
        }
        None => None,
    };
    let socket = status_socket(&settings)?;
    let ledger = match &settings.ledger {
        Some(path) => Some(File::create(path).with_context(|| format!("cannot write {}", path.display()))?),
        None => None,
    };
    weir_metering::heap::status();
    confine(&settings, socket.as_ref(), opened.iter().any(|o| o.backend == Backend::Xdp))?;
    // From here on, threads.
    say::start().context("cannot write to standard error")?;
    let exporter = exporter.start()?;
    let stop = Arc::new(AtomicBool::new(false));
    let unrecognised = settings.unrecognised.then(unrecognised::Shared::default);
    let (lanes, views) = lanes(&settings, opened, &exporter, unrecognised.as_ref())?;
    let layers = lanes.layers.clone();
    let nexts = lanes.nexts.clone();
    let board = Arc::new(Board::new(watched, layers, views, exporter, unrecognised));
    let socket_place = socket.as_ref().and_then(StatusSocket::place).cloned();
    if let Some(socket) = socket {
        socket.serve(board.clone()).context("cannot answer questions of status")?;
    }
    if let Some(metrics) = metrics {
        metrics::serve(metrics, board.clone()).context("cannot serve metrics")?;
    }
    let (sender, receiver) = mpsc::channel();
    orders.pass_on(sender).context("cannot wait for signals")?;
    let running = lanes.start(&stop)?;
    notify.say("READY=1\nSTATUS=capturing");
    if !settings.quiet {
        say!("weir-meter: capturing on {}", live.interfaces.join(", "));
    }
    let reloading = Reloading { given, settings, nexts, retiring: false };
    let quiet = reloading.settings.quiet;
    Watch { board: &board, orders: &receiver, running: &running, notify: &notify, reloading }.run();
    notify.say("STOPPING=1");
    stop.store(true, Ordering::Relaxed);
    let outcome = end(&board, running);
    if let Some(place) = socket_place {
        place.remove();
    }
    let written = ledger.map_or(Ok(()), |mut file| file.write_all(status::json(&outcome.picture).as_bytes()));
    let status = outcome.tell(quiet);
    if let Some(unrecognised) = &board.unrecognised {
        say::text(unrecognised::text(unrecognised));
    }
    // What was metered is said whatever becomes of the file.
    written.context("cannot write the ledger")?;
    Ok(status)
}

/// Makes the folder of the spool, if it is not there, for whom this process is to become.
fn make_spool(settings: &Settings) -> anyhow::Result<()> {
    let Some(folder) = settings.exporter.spool.folder.as_ref().filter(|folder| !folder.exists()) else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("spool-dir: cannot make {}", folder.display()))?;
    if settings.live.sandbox
        && let Some(user) = User::to_become(settings.live.user.as_deref())?
    {
        user.own(folder);
    }
    Ok(())
}

/// The socket on which status is asked for. Where nobody has asked for one, none is no failure.
fn status_socket(settings: &Settings) -> anyhow::Result<Option<StatusSocket>> {
    match &settings.live.status_socket {
        Wanted::None => Ok(None),
        Wanted::At(path) => {
            let socket = StatusSocket::bind(path);
            socket.map(Some).with_context(|| format!("status-socket: cannot make {}", path.display()))
        }
        Wanted::Usual => {
            let name = format!("{}{}", status::NAMES, settings.live.interfaces.join("+"));
            let socket = StatusSocket::bind(Path::new(&name));
            Ok(socket.inspect_err(|error| say!("weir-meter: no status socket {name}: {error}")).ok())
        }
    }
}

/// Gives up what is not needed any more, unless told otherwise.
fn confine(settings: &Settings, socket: Option<&StatusSocket>, xdp: bool) -> anyhow::Result<()> {
    let live = &settings.live;
    if !live.sandbox {
        say!(
            "weir-meter: without the sandbox: parsers of packets that anybody may send run with all that this user may do: \
             its capabilities, files, programs and connections"
        );
        return Ok(());
    }
    let user = User::to_become(live.user.as_deref())?;
    let mut needs = Needs::new(user, &settings.exporter);
    needs.xdp = xdp;
    if let Some(path) = &settings.config {
        needs.reads(path);
    }
    if let Some(place) = socket.and_then(StatusSocket::place) {
        needs.removes(place.path());
        if let Some(user) = &needs.user {
            user.own(place.path());
        }
    }
    for lacking in sandbox::confine(&needs)? {
        say!("weir-meter: sandbox: {lacking}");
    }
    #[cfg(debug_assertions)]
    sandbox::probe();
    Ok(())
}

/// Lanes that are not started yet.
struct Lanes {
    lanes: Vec<(Lane<Sink>, String, Option<usize>)>,
    layers: Vec<&'static str>,
    /// Where their sinks are exchanged.
    nexts: Vec<Next>,
}

fn lanes(
    settings: &Settings,
    opened: Vec<Opened>,
    exporter: &Exporter,
    unrecognised: Option<&unrecognised::Shared>,
) -> anyhow::Result<(Lanes, Vec<LaneView>)> {
    let share = Share { of: settings.workers };
    let mut lanes = Lanes { lanes: Vec::new(), layers: Vec::new(), nexts: Vec::new() };
    let mut views = Vec::new();
    let mut taken = Vec::new();
    for (interface, Opened { name, backend, sources }) in opened.into_iter().enumerate() {
        lanes.layers.push(backend.name());
        let gone = Arc::new(AtomicUsize::new(0));
        let promise = promise(backend, sources.len(), settings.live.sandbox);
        let cores = cores::choose(&name, sources.len(), &settings.live.cores, &mut taken);
        for ((worker, source), core) in sources.into_iter().enumerate().zip(cores) {
            let sink = Sink::new(exporter.sink(), unrecognised.cloned().map(Noting::new));
            lanes.nexts.push(sink.next());
            let again = reopen(settings, &name, backend);
            let said = once_for_all(tell(name.clone(), promise, settings.live.sandbox), gone.clone());
            let lane = Lane::new(&settings.meter, share, sink, source, again, said).context("cannot reserve memory")?;
            views.push(LaneView { interface, slot: lane.slot() });
            lanes.lanes.push((lane, format!("{name} {worker}"), core));
        }
    }
    Ok((lanes, views))
}

/// Opens the source of an interface again that has ended. Others than libpcap's do that by themselves, and do not end.
fn reopen(settings: &Settings, name: &str, backend: Backend) -> Reopen {
    let sandbox = settings.live.sandbox;
    let (settings, name) = (backends::pcap_settings(&settings.live), name.to_owned());
    Box::new(move || match backend {
        Backend::Pcap => {
            match interface_is_up(&name) {
                None => return Err(io::ErrorKind::NotFound.into()),
                Some(false) => return Err(io::ErrorKind::NetworkDown.into()),
                Some(true) => {}
            }
            // There is no capability left inside the sandbox, whatever libpcap says of it.
            let kind = if sandbox { io::ErrorKind::PermissionDenied } else { io::ErrorKind::Other };
            open_pcap(&name, &settings).map_err(|error| io::Error::new(kind, error))
        }
        Backend::Packet | Backend::Xdp => Err(io::ErrorKind::Unsupported.into()),
    })
}

/// What holds of an interface that is down or away.
fn promise(backend: Backend, workers: usize, sandbox: bool) -> &'static str {
    match backend {
        _ if !sandbox => "metering goes on when it is back",
        Backend::Packet if workers == 1 => "metering goes on when it is back",
        Backend::Packet | Backend::Xdp => "metering goes on when it is back; if it was deleted, eight times in all",
        Backend::Pcap => "metering goes on when it is up again, unless it was deleted",
    }
}

fn tell(name: String, promise: &'static str, sandbox: bool) -> Tell {
    Box::new(move |event| match event {
        Event::Ended(error) if sandbox => say!(
            "weir-meter: {name}: {error}; if it comes back, it cannot be taken up again: that takes CAP_NET_RAW, which was \
             given up; start the meter again then, or use --no-sandbox"
        ),
        Event::Ended(error) => say!("weir-meter: {name}: {error}; metering goes on when it is back"),
        Event::Gone => say!("weir-meter: {name}: it is down or away; {promise}"),
        Event::Refused(error) => {
            let is_ours =
                sandbox && matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory);
            let why = if is_ours { ": that takes capabilities, which were given up" } else { "" };
            let remedy = if is_ours { "start the meter again, or use --no-sandbox" } else { "it is tried again" };
            say!("weir-meter: {name}: it is back, and cannot be taken up again: {error}{why}; {remedy}");
        }
        Event::Back => say!("weir-meter: {name}: it is back"),
        Event::ClockSet(nanos) => {
            say!("weir-meter: {name}: the wall clock was set by {:.3} s", nanos as f64 / 1e9);
        }
    })
}

/// Tells but once for all lanes of an interface that it is gone, and once that all are back. `gone`: lanes that are gone.
fn once_for_all(mut tell: Tell, gone: Arc<AtomicUsize>) -> Tell {
    let mut is_gone = false;
    Box::new(move |event| {
        let is_news = match &event {
            Event::Gone => goes(&mut is_gone, &gone),
            Event::Back => comes_back(&mut is_gone, &gone),
            Event::Ended(_) => {
                goes(&mut is_gone, &gone);
                true
            }
            Event::Refused(_) | Event::ClockSet(_) => true,
        };
        if is_news {
            tell(event);
        }
    })
}

/// Counts a lane that is gone now. Whether it is the first of its interface.
fn goes(is_gone: &mut bool, gone: &AtomicUsize) -> bool {
    !std::mem::replace(is_gone, true) && gone.fetch_add(1, Ordering::Relaxed) == 0
}

/// Counts a lane that is back now. Whether it is the last of its interface.
fn comes_back(is_gone: &mut bool, gone: &AtomicUsize) -> bool {
    std::mem::take(is_gone) && gone.fetch_sub(1, Ordering::Relaxed) == 1
}

impl Lanes {
    fn start(self, stop: &Arc<AtomicBool>) -> anyhow::Result<Vec<Running<Sink>>> {
        let start = |(lane, name, core): (Lane<Sink>, String, _)| lane.start(name, core, stop.clone());
        let running: io::Result<Vec<_>> = self.lanes.into_iter().map(start).collect();
        running.context("cannot start a worker")
    }
}

/// Watches a run.
struct Watch<'a> {
    board: &'a Board,
    orders: &'a Receiver<Order>,
    running: &'a [Running<Sink>],
    notify: &'a Notify,
    reloading: Reloading,
}

impl Watch<'_> {
    /// Waits for orders until one of them is to stop, or there is nothing left to do.
    fn run(mut self) {
        let Settings { quiet, ref live, .. } = self.reloading.settings;
        let interval = if quiet { Duration::ZERO } else { live.status_interval };
        let mut next_tick = Instant::now() + TICK;
        let mut printed = (Instant::now(), self.board.read());
        let (mut seen, mut stuck) = (Vec::new(), 0);
        let mut said = Vec::new();
        // Of those that were not there from the start, that is news, too.
        let mut destinations: Vec<DestinationPicture> = Vec::new();
        loop {
            match self.orders.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Status) => self.print(&mut printed),
                Ok(Order::Reload) => {
                    self.notify.say("RELOADING=1");
                    self.reloading.reload(self.board);
                    self.notify.say("READY=1");
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_tick = Instant::now() + TICK;
                    stuck = if self.board.have_moved(&mut seen) { 0 } else { stuck + 1 };
                    if stuck < STUCK {
                        self.notify.is_well();
                    }
                    if !interval.is_zero() && printed.0.elapsed() >= interval {
                        self.print(&mut printed);
                    }
                    self.reloading.end_retired(self.board);
                    let now = self.board.tick();
                    say_what_is_shared_badly(&now, &mut said);
                    for destination in &now.destinations {
                        let before = destinations.iter().find(|before| before.name == destination.name);
                        if let Some(news) = status::news(destination, before) {
                            say!("weir-meter: {}: {news}", destination.name);
                        }
                    }
                    destinations.clone_from(&now.destinations);
                    if self.is_over(&now) {
                        return;
                    }
                }
            }
        }
    }

    fn print(&self, printed: &mut (Instant, Picture)) {
        let now = self.board.read();
        say!("weir-meter: {}", status::line(&now, Some(&printed.1)));
        *printed = (Instant::now(), now);
    }

    fn is_over(&self, now: &Picture) -> bool {
        if now.destinations.iter().all(|destination| destination.has_ended) {
            say!("weir-meter: no destination takes records any more");
            return true;
        }
        // One that has ended panicked: whoever joins it says so.
        self.running.iter().any(Running::has_ended)
    }
}

/// Says of each interface once if its workers have unequal shares, and once if directions come to different ones.
fn say_what_is_shared_badly(now: &Picture, said: &mut Vec<(usize, String)>) {
    for interface in &now.interfaces {
        for (kind, why) in [status::lopsided(interface), status::split(interface)].into_iter().enumerate() {
            let it = (kind, interface.name.clone());
            if let Some(why) = why.filter(|_| !said.contains(&it)) {
                say!("weir-meter: {why}");
                said.push(it);
            }
        }
    }
}

/// What is read again on SIGHUP.
struct Reloading {
    /// Flags, as they were given.
    given: Options,
    settings: Settings,
    nexts: Vec<Next>,
    /// Whether there are destinations that end when all lanes have their next sink.
    retiring: bool,
}

/// Keys that a reload takes.
const RELOADABLE: &[&str] =
    &["export", "export-policy", "idle-timeout", "active-timeout", "max-transactions", "uniflow"];

impl Reloading {
    /// Reads the configuration again, and takes of it what can be taken. If something is wrong with it, nothing changes.
    fn reload(&mut self, board: &Board) {
        // Lanes that have not taken their next sink yet get the one after it.
        let settings = match Settings::new(self.given.clone()) {
            Ok(settings) if settings.exporter.destinations.is_empty() => return refuse("export: there is none"),
            Ok(settings) => settings,
            Err(error) => return refuse(&say::chain(&error)),
        };
        for key in self.settings.changed(&settings).filter(|key| !RELOADABLE.contains(&key.as_str())) {
            say!("weir-meter: {key}: a change takes a restart");
        }
        let changed = board.with_exporter(|exporter| {
            exporter.change(&settings.exporter)?;
            for next in &self.nexts {
                sink::exchange(next, exporter.sink());
            }
            Ok::<_, weir_export::StartError>(())
        });
        if let Some(Err(error)) = changed {
            return refuse(&say::chain(&error.into()));
        }
        board.adopt(&settings.meter);
        self.retiring = true;
        self.settings.meter = settings.meter;
        self.settings.exporter = settings.exporter;
        say!("weir-meter: reloaded");
    }

    /// Ends destinations that are not wanted any more, once no lane has them.
    fn end_retired(&mut self, board: &Board) {
        if !self.retiring || !self.nexts.iter().all(sink::is_taken) {
            return;
        }
        self.retiring = false;
        let deadline = Instant::now() + GIVE_UP;
        let reports = board.with_exporter(|exporter| exporter.end_retired(deadline)).unwrap_or_default();
        for report in reports {
            let error = report.error.map(|error| format!(" ({error})")).unwrap_or_default();
            let sent = report.counters.records_sent;
            say!("weir-meter: {}: no longer a destination, {sent} records sent{error}", report.destination);
        }
    }
}

fn refuse(why: &str) {
    say!("weir-meter: not reloaded: {why}");
}

/// How a run ended.
struct Outcome {
    picture: Picture,
    reports: Vec<DestinationReport>,
}

/// Ends lanes that were told to stop, and then the exporter: within five seconds, whatever destinations do.
fn end(board: &Board, running: Vec<Running<Sink>>) -> Outcome {
    let begin = Instant::now();
    while begin.elapsed() < GIVE_UP && !running.iter().all(Running::has_ended) {
        std::thread::sleep(Duration::from_millis(5));
    }
    board.with_exporter(|exporter| {
        if !running.iter().all(Running::has_ended) {
            exporter.close();
        }
    });
    for lane in running {
        let (sink, held) = lane.join();
        drop(sink);
        // The process ends; the system takes it back faster than we could give it.
        std::mem::forget(held);
    }
    let mut picture = board.read();
    let reports = board.take_exporter().map(|exporter| exporter.finish_by(Some(begin + END))).unwrap_or_default();
    picture.has_ended = true;
    for (destination, report) in picture.destinations.iter_mut().zip(&reports) {
        destination.counters = report.counters;
        destination.has_ended = report.error.is_some();
    }
    Outcome { picture, reports }
}

impl Outcome {
    /// Tells how it went.
    fn tell(&self, quiet: bool) -> ExitCode {
        let mut failed = false;
        for report in self.reports.iter().filter(|report| !report.reader_had_enough()) {
            let Some(error) = &report.error else { continue };
            say!("weir-meter: {}: {error}", report.destination);
            failed = true;
        }
        for (name, refused_for) in self.not_captured() {
            let seconds = refused_for.as_secs_f64();
            say!("weir-meter: {name}: it was up, and not captured, for the last {seconds:.0} s");
            failed = true;
        }
        if !quiet {
            say::text(format!("{}\n{}", status::page(&self.picture, None, None), self.identities()));
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Interfaces that were up at the end, and could not be taken up again; and for how long.
    fn not_captured(&self) -> impl Iterator<Item = (&str, Duration)> {
        let longest = |interface: &InterfacePicture| interface.workers.iter().filter_map(|w| w.refused_for).max();
        self.picture.interfaces.iter().filter_map(move |i| Some((i.name.as_str(), longest(i)?)))
    }

    /// Whether everything is accounted for.
    fn identities(&self) -> String {
        let sum = self.picture.sum();
        let sent: SendCounters = self.picture.sent();
        let workers = || self.picture.interfaces.iter().flat_map(|interface| &interface.workers);
        let (taken, delivered) = (sum.taken_packets, sum.ledger.metered.delivered_packets);
        let created = sum.ledger.metered.records_created;
        let queued = sum.sink.records_queued;
        let mut text = String::new();
        for (is_so, what) in [
            (
                workers().all(|w| {
                    w.taken_packets + w.waiting_packets() + w.captured.lost_packets() == w.captured.offered_packets
                }),
                format!(
                    "{} offered = {taken} taken + {} lost + {} not taken",
                    sum.captured.offered_packets,
                    sum.captured.lost_packets(),
                    sum.waiting_packets()
                ),
            ),
            match sum.captured.merged_packets {
                0 => (taken == delivered, format!("{taken} taken = {delivered} delivered")),
                // Those count as the packets that they were.
                merged => (
                    taken <= delivered,
                    format!(
                        "{taken} taken, {merged} of them merged of several by the system, are {delivered} delivered"
                    ),
                ),
            },
            (
                workers().all(|w| w.ledger.closes()),
                format!(
                    "{delivered} delivered = {} metered + {} ignored",
                    sum.ledger.metered.metered_packets,
                    sum.ledger.ignored_packets()
                ),
            ),
            (created == sum.sink.records, format!("{created} records made = {} handed over", sum.sink.records)),
            (
                queued == sent.settled_records(),
                format!(
                    "{queued} records queued = {} sent + {} not sent{}",
                    sent.records_sent,
                    sent.lost_records(),
                    match sent.records_left_in_spool {
                        0 => String::new(),
                        left => format!(" + {left} left in the spool"),
                    }
                ),
            ),
        ] {
            text += &format!("{} {what}\n", if is_so { "✓" } else { "✗" });
        }
        for (name, refused_for) in self.not_captured() {
            text += &format!("✗ {name} was up, and not captured, for the last {:.0} s\n", refused_for.as_secs_f64());
        }
        text
    }
}
