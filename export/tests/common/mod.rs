// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records, and collectors that read what arrives octet by octet.
#![allow(dead_code, reason = "not every test uses everything")]

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use weir_export::{Destination, ExporterConfig};
use weir_flow::{Counters, EndReason, FlowKey, FlowRecord, Timestamp, app::Dns};
use weir_ipfix::{
    WEIR,
    decode::{Draft, Plan, sets, templates},
    message::{FIRST_DATA_SET, HEADER_LEN, Header, TEMPLATE_SET},
};

/// How long something is waited for that must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::yield_now();
    }
}

/// Record `n` of several shapes; its flow ID is one more.
pub fn record(n: u64, dns: &Dns) -> FlowRecord<'_> {
    let ip: IpAddr = if n.is_multiple_of(3) { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into() } else { [192, 0, 2, 1].into() };
    let counters = |packets| Counters { packets, octets: 60 * packets, ..Counters::default() };
    FlowRecord {
        key: FlowKey::new(ip, ip, 1024, 53, if n.is_multiple_of(2) { 6 } else { 17 }),
        forward: Counters { first: Timestamp::from_secs(n), last: Timestamp::from_secs(n), ..counters(1) },
        reverse: counters(n % 4),
        flow_id: 1 + n,
        end_reason: EndReason::IDLE,
        app: n.is_multiple_of(5).then_some(dns.into()),
        ..FlowRecord::default()
    }
}

pub fn dns(octets: usize) -> Dns {
    let mut dns = Dns { response_code: Some(0), ..Dns::default() };
    dns.query_name.set(&vec![b'x'; octets], &mut dns.memory);
    dns
}

/// To these destinations, with the shortest queue that there is.
pub fn to(destinations: &[String]) -> ExporterConfig {
    let destinations = destinations.iter().map(|text| text.parse::<Destination>().unwrap()).collect();
    ExporterConfig { destinations, queue_octets: 0, ..ExporterConfig::default() }
}

/// What one transport session said.
#[derive(Debug, Default)]
pub struct Session {
    plans: HashMap<u16, Plan>,
    /// Flow ID of each record, and whether it had application fields.
    pub records: Vec<(u64, bool)>,
    /// Number of the first record, and of the next one.
    pub numbers: Option<(u32, u32)>,
    /// Records missing by their numbers.
    pub gap: u32,
    /// Records whose templates are not known.
    pub unknown: bool,
}

impl Session {
    /// Reads a message, which must be of an unbroken session.
    pub fn message(&mut self, message: &[u8]) {
        self.message_with_gaps(message);
        assert_eq!((self.gap, self.unknown), (0, false));
    }

    /// Reads a message.
    pub fn message_with_gaps(&mut self, message: &[u8]) {
        let header = Header::parse(message).unwrap();
        assert_eq!((usize::from(header.length), header.domain), (message.len(), 1));
        let (first, expected) = self.numbers.unwrap_or((header.sequence_number, header.sequence_number));
        self.gap += header.sequence_number - expected;
        let before = self.records.len();
        for set in sets(message, HEADER_LEN) {
            let set = set.unwrap();
            if set.id == TEMPLATE_SET {
                self.plans.extend(templates(set, false).map(|t| t.unwrap()).map(|t| (t.id, Plan::new(&t, WEIR))));
                continue;
            }
            assert!(set.id >= FIRST_DATA_SET);
            let Some(plan) = self.plans.get(&set.id) else {
                self.unknown = true;
                continue;
            };
            let mut at = 0;
            while at < set.body.len() {
                let mut draft = Draft::default();
                at = plan.decode(set.body, at, &mut draft).unwrap();
                self.records.push((draft.record.flow_id, draft.app.is_some()));
            }
        }
        self.numbers = Some((first, header.sequence_number + (self.records.len() - before) as u32));
    }

    pub fn messages(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let (message, rest) = octets.split_at(Header::parse(octets).unwrap().length.into());
            self.message(message);
            octets = rest;
        }
    }
}

/// A collector that listens at one address, as long as it lives, and notes every record of every connection by its number.
#[derive(Debug)]
pub struct Collector {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    heard: Arc<Heard>,
    thread: JoinHandle<()>,
}

/// What a collector heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// Flow IDs by sequence number, and how often each came.
    pub records: Mutex<BTreeMap<u32, (u64, u32)>>,
    /// How many came, repetitions included.
    pub count: AtomicU64,
    pub connections: AtomicU64,
}

impl Heard {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Records without repetitions.
    pub fn distinct(&self) -> u64 {
        self.records.lock().unwrap().len() as u64
    }

    /// Every record from zero on is there, under its number; how often one came a further time.
    pub fn is_complete(&self, count: u64) -> u64 {
        let records = self.records.lock().unwrap();
        assert_eq!(records.len() as u64, count);
        for (number, (expected, (flow_id, _))) in records.iter().zip(0..).map(|((n, r), e)| (*n, (e, *r))) {
            assert_eq!((number, flow_id), (expected, 1 + u64::from(expected)));
        }
        records.values().map(|(_, times)| u64::from(times - 1)).sum()
    }

    fn note(&self, session: &mut Session, message: &[u8]) {
        let number = Header::parse(message).unwrap().sequence_number;
        session.records.clear();
        session.message_with_gaps(message);
        assert!(!session.unknown, "announced before it is used");
        let mut records = self.records.lock().unwrap();
        for (flow_id, number) in session.records.iter().map(|r| r.0).zip(number..) {
            let known = records.entry(number).or_insert((flow_id, 0));
            assert_eq!(known.0, flow_id, "a number means one record");
            known.1 += 1;
        }
        self.count.fetch_add(session.records.len() as u64, Ordering::SeqCst);
    }
}

impl Collector {
    /// Listens at this address. It takes what it hears to what others heard before.
    pub fn listen(address: SocketAddr, heard: Arc<Heard>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, noted) = (stop.clone(), heard.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        noted.connections.fetch_add(1, Ordering::SeqCst);
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                        read_messages(stream, &noted, &stopped);
                    }
                    Err(_) => thread::park_timeout(Duration::from_millis(1)),
                }
            }
        });
        Self { address, stop, heard, thread }
    }

    /// Anywhere on this machine.
    pub fn anywhere() -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), Arc::default())
    }

    pub fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }

    /// Ends it, wherever it is, with whatever it has not read.
    pub fn kill(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

/// Reads messages until the end of the connection, or until told to stop: then the connection is closed as it is.
fn read_messages(mut stream: impl Read, heard: &Heard, stop: &AtomicBool) {
    let mut session = Session::default();
    let mut octets = Vec::new();
    let mut part = vec![0; 64 * 1024];
    while !stop.load(Ordering::SeqCst) {
        match stream.read(&mut part) {
            Ok(0) => return,
            Ok(count) => octets.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        let mut at = 0;
        while let Ok(header) = Header::parse(&octets[at..]) {
            let message = &octets[at..at + usize::from(header.length)];
            heard.note(&mut session, message);
            at += message.len();
        }
        octets.drain(..at);
    }
}

/// Reads a connection to its end.
pub fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    octets
}
