// SPDX-License-Identifier: MIT OR Apache-2.0
//! Status of live capture: in a line, in a page, explained, as JSON; and the socket on which it is asked for.
//!
//! Whoever connects to the socket sends one word in a line (`status`, `explain`, `json`) and gets the answer until the end
//! of the stream.

use std::{
    fmt::Write as _,
    fs, io,
    io::{Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt},
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use weir_export::SinkCounters;
use weir_flow::ledger::Metered;
use weir_metering::live::Progress;

use crate::{
    board::{Board, DestinationPicture, Family, InterfacePicture, NIC, Picture, SENT, WORKER},
    remedies::remedy,
    report::grouped,
    serve, system, unrecognised,
};

/// What names of sockets usually begin with. They are in no folder: the kernel keeps them, and forgets them with whoever listens,
/// however he ends (unix(7), "abstract"). Each network namespace has its own.
pub const NAMES: &str = "@weir-meter/";
/// How long whoever asks may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One line: what happened since `earlier`, and in all.
pub fn line(now: &Picture, earlier: Option<&Picture>) -> String {
    let sum = now.sum();
    let metered = sum.ledger.metered;
    let sent = now.sent();
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    if let Some(earlier) = earlier {
        let seconds = now.elapsed.saturating_sub(earlier.elapsed).as_secs_f64().max(0.001);
        let before = earlier.sum();
        let packets = metered.delivered_packets.saturating_sub(before.ledger.metered.delivered_packets);
        let octets = metered.delivered_octets.saturating_sub(before.ledger.metered.delivered_octets);
        let lost = sum.captured.lost_packets().saturating_sub(before.captured.lost_packets());
        let rate = |number: u64| number as f64 / seconds;
        let _ = write!(
            text,
            "{:.0} packets/s, {:.3} Gb/s, {:.0} lost/s; in all ",
            rate(packets),
            rate(octets) * 8e-9,
            rate(lost)
        );
    }
    let _ = write!(
        text,
        "{} packets = {} metered + {} ignored, {} lost, {} flows, {} records, {} sent, {} dropped",
        grouped(metered.delivered_packets),
        grouped(metered.metered_packets),
        grouped(sum.ledger.ignored_packets()),
        grouped(sum.captured.lost_packets()),
        grouped(sum.flows),
        grouped(metered.records_created),
        grouped(sent.records_sent),
        grouped(dropped(&sum.sink) + sent.lost_records()),
    );
    text
}

/// Packets of an interface after which it is judged whether its workers have equal shares.
const ENOUGH: u64 = 100_000;

/// What is wrong with an interface one of whose workers has more than twice its share.
pub fn lopsided(interface: &InterfacePicture) -> Option<String> {
    let packets = |worker: &Progress<SinkCounters>| worker.ledger.metered.delivered_packets;
    let all: u64 = interface.workers.iter().map(packets).sum();
    let (worker, most) = interface.workers.iter().map(packets).enumerate().max_by_key(|(_, packets)| *packets)?;
    let share = all / interface.workers.len() as u64;
    (interface.workers.len() > 1 && all >= ENOUGH && most > 2 * share).then(|| {
        let percent = percent(most, all);
        format!(
            "{}: worker {worker} has {percent} % of the packets: with --capture packet, --fanout hash spreads by addresses and \
             ports; with xdp and --fanout queue the interface does (ethtool -x {0}; ethtool -N {0} rx-flow-hash udp4 sdfn)",
            interface.name
        )
    })
}

/// Connections after which it is judged whether workers see both directions of them.
const ENOUGH_CONNECTIONS: u64 = 100;

/// What is wrong with an interface of which one worker gets the packets of clients, and another one those of servers.
pub fn split(interface: &InterfacePicture) -> Option<String> {
    let of = |counter: fn(&Metered) -> u64| -> u64 {
        interface.workers.iter().map(|worker| counter(&worker.ledger.metered)).sum()
    };
    let both = of(|metered| metered.connections_both_ways);
    let clients = of(|metered| metered.connections_client_only);
    let servers = of(|metered| metered.connections_server_only);
    // If there is only one of the two, only that comes to the interface.
    let is_split = clients.min(servers) >= ENOUGH_CONNECTIONS.max(both);
    (interface.workers.len() > 1 && is_split).then(|| {
        format!(
            "{0}: the directions of connections come to different workers ({clients} of clients alone, {servers} of servers \
             alone, {both} of both), each of which makes a record of its own: --capture packet --fanout hash or addresses \
             keeps them together; else a symmetric hash of the interface (ethtool -X {0} hkey 6d:5a:6d:5a…; ethtool -N {0} \
             rx-flow-hash udp4 sdfn)",
            interface.name
        )
    })
}

/// What happened to a destination since it was like `before`, if there is something to be said.
pub fn news(now: &DestinationPicture, before: Option<&DestinationPicture>) -> Option<String> {
    let had_ended = before.is_some_and(|before| before.has_ended);
    let had_trouble = before.is_some_and(|before| before.trouble.is_some());
    let reconnects = before.map_or(0, |before| before.counters.reconnects);
    let why = now.trouble.as_deref();
    match why {
        _ if now.has_ended && had_ended => None,
        _ if now.has_ended => Some(format!("given up, no more records go there: {}", why.unwrap_or("it ended"))),
        Some(why) if !had_trouble => Some(format!("{why}; it is connected to again as soon as that succeeds")),
        Some(_) => None,
        // A file is opened anew where that is asked for.
        None if had_trouble || (now.counters.reconnects > reconnects && is_connection(&now.name)) => {
            Some(format!("connected again, {} records not sent so far", now.counters.lost_records()))
        }
        None => None,
    }
}

fn is_connection(destination: &str) -> bool {
    ["tcp:", "tls:"].iter().any(|scheme| destination.contains(scheme))
}

const fn dropped(sink: &SinkCounters) -> u64 {
    sink.records_dropped_queue + sink.records_dropped_size
}

/// A page: each interface, each worker, each destination; of counters that tell of loss or trouble those that are not zero.
pub fn page(now: &Picture, latest: Option<&Picture>, earlier: Option<&Picture>) -> String {
    let mut text = format!("weir-meter {}, {} s\n", env!("CARGO_PKG_VERSION"), now.elapsed.as_secs());
    let _ = match (latest, earlier) {
        (Some(latest), earlier @ Some(_)) => writeln!(text, "last second: {}", line(latest, earlier)),
        _ => writeln!(text, "{}", line(now, None)),
    };
    for interface in &now.interfaces {
        let state = match interface.workers.iter().filter(|worker| worker.is_capturing).count() {
            _ if interface.workers.iter().any(|worker| worker.refused_for.is_some()) => "cannot be taken up again",
            0 if now.has_ended => "ended",
            0 => "down or away",
            up if up < interface.workers.len() => "some workers without their source",
            _ => "capturing",
        };
        let nic = &interface.nic;
        let _ = writeln!(
            text,
            "\n{}, through {}: {state}\n  interface     {} received, {} sent, {} dropped, {} missed",
            interface.name,
            interface.layer,
            grouped(nic.rx_packets),
            grouped(nic.tx_packets),
            grouped(nic.rx_dropped),
            grouped(nic.lost()),
        );
        for (name, value) in &interface.driver {
            let _ = writeln!(text, "    {} {name} (the driver's: ethtool -S {})", grouped(*value), interface.name);
        }
        let all = interface.workers.iter().map(|worker| worker.ledger.metered.delivered_packets).sum();
        for (number, worker) in interface.workers.iter().enumerate() {
            text.push_str(&worker_lines(number, worker, all));
        }
    }
    for destination in &now.destinations {
        let counters = &destination.counters;
        let _ = writeln!(
            text,
            "\n{}: {} records sent, {} not sent, {} reconnects{}",
            destination.name,
            grouped(counters.records_sent),
            grouped(counters.lost_records()),
            counters.reconnects,
            if destination.has_ended { "; given up" } else { "" }
        );
        if let Some(trouble) = &destination.trouble {
            let _ = writeln!(text, "    {trouble}");
        }
        for ((name, meaning), value) in SENT.definitions.iter().zip(counters.values()) {
            if value > 0 && remedy(name).is_some() {
                let _ = writeln!(text, "    {} {name}: {meaning}", grouped(value));
            }
        }
    }
    text
}

/// Share of one worker in what all did, in percent.
fn percent(part: u64, all: u64) -> u64 {
    (part * 100).checked_div(all).unwrap_or(0)
}

/// `all`: packets of all workers of the interface.
fn worker_lines(number: usize, worker: &Progress<SinkCounters>, all: u64) -> String {
    let mut text = String::new();
    let metered = &worker.ledger.metered;
    let _ = writeln!(
        text,
        "  worker {number:<6} {} offered = {} taken + {} lost + {} waiting{}",
        grouped(worker.captured.offered_packets),
        grouped(worker.taken_packets),
        grouped(worker.captured.lost_packets()),
        grouped(worker.waiting_packets()),
        if worker.closes() { "" } else { ": THIS DOES NOT CLOSE" },
    );
    let _ = writeln!(
        text,
        "                {} delivered ({} % of the interface's) = {} metered + {} ignored; {} flows, {} records, {} dropped",
        grouped(metered.delivered_packets),
        percent(metered.delivered_packets, all),
        grouped(metered.metered_packets),
        grouped(worker.ledger.ignored_packets()),
        grouped(worker.flows),
        grouped(metered.records_created),
        grouped(dropped(&worker.sink)),
    );
    let connections =
        [metered.connections_both_ways, metered.connections_client_only, metered.connections_server_only].map(grouped);
    let _ = writeln!(
        text,
        "                connections: {} both ways, {} of the client alone, {} of the server alone",
        connections[0], connections[1], connections[2]
    );
    for (family, values) in WORKER {
        for ((name, meaning), value) in family.definitions.iter().zip(values(worker)) {
            let tells = remedy(name).is_some() || family.name == "ignored";
            if value > 0 && tells {
                let _ = writeln!(text, "    {} {name}: {meaning}", grouped(value));
            }
        }
    }
    text
}

/// Every counter with its meaning, the layer that it comes from, and what helps.
pub fn explain(now: &Picture) -> String {
    let mut text = String::new();
    let sum = now.sum();
    let nic = now.interfaces.iter().fold(crate::nic::Nic::default(), |mut sum, interface| {
        sum.add(&interface.nic);
        sum
    });
    explain_family(&mut text, &NIC, &nic.values());
    let _ = writeln!(text, "the driver: ethtool -S NAME, its own names, of those that speak of loss; in no sum");
    for interface in &now.interfaces {
        for (name, value) in &interface.driver {
            let _ = writeln!(text, "  {name} {}: of {}, as its driver defines it", grouped(*value), interface.name);
        }
    }
    for (family, values) in WORKER {
        explain_family(&mut text, family, &values(&sum));
    }
    explain_family(&mut text, &SENT, &now.sent().values());
    text
}

fn explain_family(text: &mut String, family: &Family, values: &[u64]) {
    let _ = writeln!(text, "{}", family.layer);
    for ((name, meaning), value) in family.definitions.iter().zip(values) {
        let _ = write!(text, "  {name} {}: {meaning}", grouped(*value));
        let _ = match remedy(name) {
            Some(remedy) => writeln!(text, ". What helps: {remedy}"),
            None => writeln!(text),
        };
    }
}

/// Every counter as one JSON object.
pub fn json(now: &Picture) -> String {
    let object = |definitions: &[(&str, &str)], values: Vec<u64>| {
        let members = definitions.iter().zip(values).map(|((name, _), value)| (*name, value.to_string()));
        braces(members)
    };
    let worker = |progress: &Progress<SinkCounters>| {
        let families =
            WORKER.iter().map(|(family, values)| (family.name, object(family.definitions, values(progress))));
        let own = [
            ("flows", progress.flows.to_string()),
            ("capturing", progress.is_capturing.to_string()),
            ("refused", progress.refused_for.is_some().to_string()),
            ("closes", progress.closes().to_string()),
        ];
        braces(families.chain(own))
    };
    let interfaces = now.interfaces.iter().map(|interface| {
        let workers: Vec<_> = interface.workers.iter().map(worker).collect();
        braces([
            ("name", quoted(&interface.name)),
            ("layer", quoted(interface.layer)),
            (NIC.name, object(NIC.definitions, interface.nic.values())),
            ("driver", object_of_driver(&interface.driver)),
            ("workers", format!("[{}]", workers.join(","))),
        ])
    });
    let destinations = now.destinations.iter().map(|destination| {
        braces([
            ("name", quoted(&destination.name)),
            ("given_up", destination.has_ended.to_string()),
            (SENT.name, object(SENT.definitions, destination.counters.values())),
        ])
    });
    let list = |items: &mut dyn Iterator<Item = String>| format!("[{}]", items.collect::<Vec<_>>().join(","));
    let sum = now.sum();
    // Sums under the names that the ledger of files has.
    let sums = WORKER.iter().map(|(family, values)| (family.name, object(family.definitions, values(&sum))));
    let all = sums.chain([
        (SENT.name, object(SENT.definitions, now.sent().values())),
        ("seconds", format!("{:.3}", now.elapsed.as_secs_f64())),
        ("flows", sum.flows.to_string()),
        ("interfaces", list(&mut { interfaces })),
        ("destinations", list(&mut { destinations })),
    ]);
    braces(all) + "\n"
}

fn braces<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(", "))
}

/// What a driver counts: its names may be anything.
fn object_of_driver(counters: &[(String, u64)]) -> String {
    let members: Vec<_> = counters.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", members.join(", "))
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// A socket on which status is asked for.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    /// None of one that is in no folder.
    place: Option<Place>,
    /// Who may ask, beside root, where no rights of a file say so.
    asker: Option<u32>,
}

/// Where a socket of this process is in the file system.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    /// Device and inode number: whatever else comes to be at the path is not ours.
    identity: Option<(u64, u64)>,
}

impl Place {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    /// Removes the socket, if it is still the one that was made. If it stays, the next meter replaces it.
    pub fn remove(&self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode number of a socket; none of anything else.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
    Some((found.dev(), found.ino()))
}

/// Removes a socket that nobody listens on any more.
///
/// # Errors
///
/// If somebody does, or something else is there, which is nobody's to remove.
fn make_way(path: &Path) -> io::Result<()> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return refuse("something is there that is no socket: it is left as it is");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Also sockets of another type, and those that this process may not connect to.
        _ => refuse("somebody listens there, such as another weir-meter"),
    }
}

impl StatusSocket {
    /// Makes it; a socket that nobody listens on any more is replaced. A path that begins with `@` is a name in no folder.
    ///
    /// # Errors
    ///
    /// If the system refuses, somebody listens there, or something else than a socket is there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(address) = without_folder(path)? {
            let listener = UnixListener::bind_addr(&address)?;
            return Ok(Self { listener, place: None, asker: Some(system::user()) });
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                make_way(path)?;
                UnixListener::bind(path)?
            }
            other => other?,
        };
        Ok(Self { listener, place: Some(Place::of(path)), asker: None })
    }

    /// Where it is in the file system, if it is.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Answers from threads of its own, each question within a few seconds.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn serve(self, board: Arc<Board>) -> io::Result<()> {
        let Self { listener, asker, .. } = self;
        let accept = move || listener.accept().map(|(stream, _)| stream);
        // Whoever does not wait for the answer does not get it.
        serve::each("status", accept, move |stream| drop(answer(&stream, &board, asker)))
    }
}

/// The address of a name in no folder; `None` of a path.
fn without_folder(path: &Path) -> io::Result<Option<SocketAddr>> {
    let name = path.as_os_str().as_bytes().strip_prefix(b"@");
    name.map(SocketAddr::from_abstract_name).transpose()
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    match without_folder(path)? {
        Some(address) => UnixStream::connect_addr(&address),
        None => UnixStream::connect(path),
    }
}

/// Where what was not recognised was not asked for.
const NOT_NOTED: &str = "it was started without --unrecognised\n";

fn answer(mut stream: &UnixStream, board: &Board, asker: Option<u32>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if let Some(asker) = asker
        && ![0, asker].contains(&system::peer_user(stream)?)
    {
        return stream.write_all(b"only root and the user that started weir-meter may ask\n");
    }
    let mut asked = [0; 16];
    let octets = stream.read(&mut asked)?;
    let asked = asked.get(..octets).unwrap_or_default();
    let (now, latest, earlier) = board.read_with_rates();
    let text = match asked.trim_ascii_end() {
        b"explain" => explain(&now),
        b"json" => json(&now),
        b"unrecognised" => board.unrecognised.as_ref().map_or_else(|| NOT_NOTED.to_owned(), unrecognised::text),
        _ => page(&now, latest.as_ref(), earlier.as_ref()),
    };
    stream.write_all(text.as_bytes())
}

/// Asks the weir-meter behind a socket, or behind the only one where they usually are.
///
/// # Errors
///
/// If there is none, or it does not answer.
pub fn ask(socket: Option<&Path>, word: &str) -> anyhow::Result<String> {
    let path = match socket {
        Some(path) => path.to_owned(),
        None => only_socket()?,
    };
    let failed = || format!("no weir-meter answers at {}", path.display());
    let mut stream = connect(&path).with_context(failed)?;
    stream.set_read_timeout(Some(PATIENCE * 5))?;
    stream.write_all(format!("{word}\n").as_bytes()).with_context(failed)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(failed)?;
    Ok(text)
}

fn only_socket() -> anyhow::Result<PathBuf> {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    match listening(&sockets)[..] {
        [only] => Ok(only.into()),
        [] => bail!("no weir-meter runs in this network namespace with a socket {NAMES}…: say where with --socket"),
        ref several => bail!("several run: choose one with --socket: {}", several.join(" ")),
    }
}

/// Names of meters' sockets that somebody listens on, in the text of /proc/net/unix (proc(5)).
fn listening(sockets: &str) -> Vec<&str> {
    /// `__SO_ACCEPTCON` of the kernel.
    const LISTENS: &str = "00010000";
    let listens = |line: &&str| line.split_whitespace().nth(3) == Some(LISTENS);
    let name = |line| str::find(line, NAMES).and_then(|at| line.get(at..));
    let mut names: Vec<_> = sockets.lines().filter(listens).filter_map(name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::Nic;

    /// An interface, with what its workers did.
    fn eth1(workers: impl IntoIterator<Item = Metered>) -> InterfacePicture {
        let worker = |metered| {
            let mut worker = Progress::<SinkCounters>::default();
            worker.ledger.metered = metered;
            worker
        };
        let workers = workers.into_iter().map(worker).collect();
        InterfacePicture {
            name: "eth1".to_owned(),
            layer: "AF_PACKET",
            nic: Nic::default(),
            driver: Vec::new(),
            workers,
        }
    }

    #[test]
    fn directions_that_come_to_different_workers_are_told_from_one_that_does_not_come() {
        let of = |connections: &[[u64; 3]]| {
            split(&eth1(connections.iter().map(|&[both, client, server]| Metered {
                connections_both_ways: both,
                connections_client_only: client,
                connections_server_only: server,
                ..Metered::default()
            })))
        };
        let said = of(&[[3, 200, 10], [2, 5, 180]]).unwrap();
        assert!(said.contains("205 of clients alone, 190 of servers alone, 5 of both"), "{said}");
        assert!(said.starts_with("eth1: ") && said.contains("ethtool -X eth1"), "{said}");
        for fine in [
            &[[500, 200, 180], [2, 5, 180]][..],
            &[[0, 900, 3], [0, 800, 2]],
            &[[0, 20, 20], [0, 30, 30]],
            &[[0, 900, 900]],
        ] {
            assert_eq!(of(fine), None, "{fine:?}");
        }
    }

    #[test]
    fn a_worker_with_most_of_the_packets_is_named() {
        let interface = |shares: &[u64]| {
            eth1(shares.iter().map(|&packets| Metered { delivered_packets: packets, ..Metered::default() }))
        };
        assert!(lopsided(&interface(&[10, 90_000, 20_000])).unwrap().starts_with("eth1: worker 1 has 81 %"));
        for fine in [&[200_000][..], &[60_000, 50_000], &[1, 99], &[]] {
            assert_eq!(lopsided(&interface(fine)), None, "{fine:?}");
        }
    }

    #[test]
    fn what_happens_to_a_destination_is_said_once() {
        let of = |has_ended, trouble: Option<&str>, reconnects| DestinationPicture {
            name: "tcp://x:1".to_owned(),
            counters: weir_export::SendCounters { reconnects, ..Default::default() },
            has_ended,
            trouble: trouble.map(str::to_owned),
        };
        let (fine, broken, back) = (of(false, None, 0), of(false, Some("Broken pipe"), 0), of(false, None, 1));
        let ended = of(true, Some("No space left"), 0);
        let says = |now, before, what: &str| news(now, Some(before)).unwrap().contains(what);
        assert!(says(&broken, &fine, "Broken pipe"));
        assert!(says(&back, &broken, "connected again"));
        assert!(says(&back, &fine, "connected again"));
        assert!(says(&ended, &broken, "given up") && says(&ended, &fine, "No space left"));
        assert!(news(&ended, None).is_some());
        for (now, before) in [(&fine, &fine), (&broken, &broken), (&back, &back), (&ended, &ended)] {
            assert_eq!(news(now, Some(before)), None);
        }
        assert_eq!(news(&fine, None), None);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("here");
        let refused = |path: &Path| StatusSocket::bind(path).unwrap_err().to_string();
        fs::write(&path, "precious").unwrap();
        assert!(refused(&path).contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = folder.path().join("link");
        let dead = folder.path().join("dead");
        drop(UnixListener::bind(&dead).unwrap());
        std::os::unix::fs::symlink(&dead, &link).unwrap();
        assert!(refused(&link).contains("no socket"));
        assert!(refused(folder.path()).contains("no socket"));
        let first = StatusSocket::bind(&dead).unwrap();
        assert!(refused(&dead).contains("somebody listens there"));
        let datagrams = folder.path().join("datagrams");
        let other = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
        assert!(refused(&datagrams).contains("somebody listens there"));
        drop(other);
        // Whatever took its place is not removed.
        fs::rename(&dead, folder.path().join("moved")).unwrap();
        fs::write(&dead, "precious").unwrap();
        first.place().unwrap().remove();
        assert!(dead.exists());
        fs::remove_file(&dead).unwrap();
        let second = StatusSocket::bind(&dead).unwrap();
        first.place().unwrap().remove();
        assert!(dead.exists());
        second.place().unwrap().remove();
        assert!(!dead.exists());
    }

    #[test]
    fn a_socket_in_no_folder_is_found_and_goes_with_its_process() {
        let name = format!("{NAMES}test-{}", std::process::id());
        let path = Path::new(&name);
        let names = || fs::read_to_string("/proc/net/unix").unwrap();
        let first = StatusSocket::bind(path).unwrap();
        assert!(first.place().is_none());
        assert!(StatusSocket::bind(path).is_err());
        assert!(listening(&names()).contains(&&*name));
        assert_eq!(system::peer_user(&connect(path).unwrap()).unwrap(), system::user());
        drop(first);
        assert!(!listening(&names()).contains(&&*name));
        StatusSocket::bind(path).unwrap();
    }

    #[test]
    fn text_in_json_is_quoted() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
