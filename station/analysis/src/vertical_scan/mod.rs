// SPDX-License-Identifier: MIT OR Apache-2.0
//! Vertical scans: one source tries many ports of one host.
//!
//! A case is (source, target, protocol) with the distinct ports of probes; a probe is what [`crate::contact`] says. It is an
//! attack when the ports within the window reach `min_ports`, distinct ports are at least `min_distinct_share` of all
//! flows of the pair, and at most half of the probes were answered by business. A port tried again is counted as a flow and
//! not as a port, so that a scanner that sends every probe twice is seen, and a client that tries the same ports over and over
//! is not. The ports that accepted are reported.
//!
//! Once it is an attack, ports are counted exactly in a bitmap. `docs/detectors.md` has the parameters and the limits.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};
use weir_flow::{FlowRecord, Timestamp, protocol};

use crate::{
    alert::{Alert, Endpoints, Evidence, Quantity, Severity, protocol_name, side_filter},
    civil,
    contact::{Answer, Contact, Kind, MAX_DATAGRAMS, MAX_HANDSHAKE_PACKETS},
    detector::{Activity, Allow, Detector, Limits, sampled, sampling},
    horizontal_scan::confidence,
    prefix::{PortRange, Prefix, Span, masked, width},
    state::{Distinct, Ports, Rules, Samples, Tracker, Window},
};

/// UDP ports that traceroute counts up through; they are no scan.
const TRACEROUTE: PortRange = PortRange { first: 33_434, last: 33_534 };

/// Parameters.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the detector runs.
    pub enabled: bool,
    /// Distinct ports that make a scan; 2 to 4096.
    pub min_ports: u32,
    /// Time within which the ports must be tried.
    pub window: Span,
    /// Least distinct ports per flow of the pair. 0.25 allows for three retransmissions in flows of their own.
    pub min_distinct_share: f64,
    /// Most scans that are reported of one source at a time.
    pub max_targets_per_source: u32,
    /// IPv6 sources with the same first bits are one source; 128 tells every address apart.
    pub v6_source_prefix: u8,
    /// What it looks away from.
    pub allow: Allow,
    /// Bounds and times.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            min_ports: 50,
            window: Span::secs(300),
            min_distinct_share: 0.25,
            max_targets_per_source: 32,
            v6_source_prefix: 64,
            allow: Allow::default(),
            limits: Limits::default(),
        }
    }
}

/// Largest `min_ports`: so many ports are kept exactly for each pair that is under observation.
pub const MAX_MIN_PORTS: u32 = 4_096;

/// What a case is about. Ordered so that the targets of one source are neighbours.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Key {
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
}

/// What is known about one pair.
#[derive(Default)]
struct Case {
    recent: Window,
    /// Kept from when the case became worth judging: all ports since.
    ports: Option<Ports>,
    open: Samples<u16>,
    sources: Samples<IpAddr>,
    flows: u64,
    packets: u64,
    octets: u64,
    business: u64,
    answers_open: Distinct,
    answers_closed: u64,
    first: Option<Timestamp>,
    last: Timestamp,
    rate: u64,
}

impl Case {
    /// Takes a probe in; whether the case is worth judging.
    fn probe(&mut self, contact: &Contact, answer: Answer, config: &Config, rate: u64) -> bool {
        let min = config.min_ports as usize;
        let first = self.first.get_or_insert(contact.first);
        *first = (*first).min(contact.first);
        self.last = self.last.max(contact.last);
        self.rate = self.rate.max(rate);
        self.flows += 1;
        self.packets = self.packets.saturating_add(contact.packets);
        self.octets = self.octets.saturating_add(contact.octets);
        if contact.source.is_ipv6() && config.v6_source_prefix < 128 {
            self.sources.insert(contact.source);
        }
        self.answer(contact.port, answer);
        if let Some(ports) = &mut self.ports {
            ports.insert(contact.port);
            return true;
        }
        self.recent.insert(contact.port.into(), contact.last, min.max(64));
        if self.recent.len() < min {
            return false;
        }
        let window = u64::from(config.window.as_secs());
        if self.recent.forget_before(Timestamp::from_secs(contact.last.as_secs().saturating_sub(window))) {
            // The attack begins with what is still within the window.
            self.first = self.recent.earliest();
            self.flows = self.recent.flows();
        }
        if self.recent.len() < min {
            return false;
        }
        let mut ports = Ports::default();
        self.recent.values().filter_map(|v| u16::try_from(v).ok()).for_each(|p| ports.insert(p));
        self.ports = Some(ports);
        true
    }

    fn answer(&mut self, port: u16, answer: Answer) {
        match answer {
            Answer::Closed => self.answers_closed += 1,
            Answer::Open => {
                self.answers_open.insert(port.into());
                self.open.insert(port);
            }
            Answer::None => {}
        }
    }
}

struct ScanRules {
    config: Config,
}

impl Rules for ScanRules {
    type Key = Key;
    type Case = Case;

    fn is_attack(&self, _key: &Key, case: &mut Case, _now: Timestamp) -> bool {
        let Some(ports) = case.ports.as_ref().map(Ports::count) else { return false };
        let flows = case.flows + case.business;
        let attack = ports as f64 >= self.config.min_distinct_share * flows as f64 && case.business * 2 <= case.flows;
        if !attack {
            case.ports = None;
        }
        attack
    }

    fn suppressed(&self, case: &mut Case) {
        case.ports = None;
    }

    fn admits(&self, key: &Key, open: &BTreeSet<Key>) -> bool {
        let first = Key { target: IpAddr::from([0, 0, 0, 0]), protocol: 0, ..*key };
        let of_source = open.range(first..).take_while(|k| k.source == key.source);
        of_source.count() < self.config.max_targets_per_source as usize
    }

    fn identity(&self, key: &Key) -> String {
        format!("{} {} {}", key.source, key.target, key.protocol)
    }

    fn alert(&self, key: &Key, case: &Case) -> Alert {
        let proto = protocol_name(key.protocol);
        let ports = case.ports.as_ref().unwrap_or(&Ports::None);
        let count = ports.count();
        let source = match case.sources.as_slice() {
            [one] => Prefix::new(*one, width(*one)),
            [] => Prefix::new(key.source, width(key.source)),
            _ => Prefix::new(key.source, self.config.v6_source_prefix),
        };
        let sources = if source.is_address() {
            Endpoints::one(source.address())
        } else {
            let sample = case.sources.as_slice().to_vec();
            // How many there are beyond the samples was not counted.
            let exact = sample.len() < Samples::<IpAddr>::MAX;
            Endpoints { count: sample.len() as u64, exact, sample, prefixes: vec![source], roles: Vec::new() }
        };
        let open = case.open.as_slice();
        let flows = case.flows + case.business;
        let share = if flows == 0 { 0.0 } else { count as f64 / flows as f64 };
        let mut measured = vec![
            Quantity::count("ports", count, "distinct destination ports"),
            Quantity::ratio("distinct_share", share, "distinct ports per flow"),
            Quantity::count("repeated", case.flows.saturating_sub(count), "probes of a port tried before"),
            Quantity::count("answers_open", case.answers_open.count(), "distinct ports that accepted"),
            Quantity::count("answers_closed", case.answers_closed, "probes refused"),
        ];
        if !open.is_empty() {
            let text: Vec<_> = open.iter().map(u16::to_string).collect();
            measured.push(Quantity::text("open_ports_found", text.join(" ")));
        }
        let answered = case.answers_open.count() + case.answers_closed;
        let first = case.first.unwrap_or(case.last);
        let max_packets = if key.protocol == protocol::UDP { MAX_DATAGRAMS } else { MAX_HANDSHAKE_PACKETS };
        let filter = format!(
            "{} and dst ip {} and proto {proto} and packets < {}",
            side_filter("src", source),
            key.target,
            max_packets + 1
        );
        Alert {
            detector: VerticalScan::SLUG.into(),
            kind: "vertical_scan".into(),
            category: "Recon.Scanning".into(),
            severity: if open.is_empty() { Severity::Low } else { Severity::Medium },
            confidence: confidence(key.protocol, count, self.config.min_ports, answered, case.rate),
            description: format!(
                "Vertical scan of {count} {proto} ports of {} by {source}: {} open",
                key.target,
                case.answers_open.count()
            ),
            first_time: first,
            last_time: case.last,
            sources,
            targets: Endpoints::one(key.target),
            port_count: count,
            ports: ports.ranges(16),
            protocol: key.protocol,
            flows: case.flows,
            packets: case.packets,
            octets: case.octets,
            parameters: vec![
                Quantity::count("min_ports", self.config.min_ports.into(), "distinct destination ports"),
                Quantity::count("window", self.config.window.as_secs().into(), "seconds"),
                Quantity::ratio("min_distinct_share", self.config.min_distinct_share, "distinct ports per flow"),
            ],
            measured,
            techniques: vec!["T1046".into(), "T1595.001".into()],
            evidence: Evidence { window: civil::window(first, case.last), filter },
            degraded: sampled(case.rate),
            ..Alert::default()
        }
    }
}

/// The detector.
pub struct VerticalScan {
    pairs: Tracker<ScanRules>,
    allowed: u64,
}

impl VerticalScan {
    /// Its name.
    pub const SLUG: &'static str = "vertical_scan";

    /// The detector without state. Parameters out of range are brought into it.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.min_ports = config.min_ports.clamp(2, MAX_MIN_PORTS);
        let limits = config.limits;
        Self { pairs: Tracker::new(ScanRules { config }, limits), allowed: 0 }
    }
}

impl Detector for VerticalScan {
    fn slug(&self) -> &'static str {
        Self::SLUG
    }

    fn record(&mut self, record: &FlowRecord<'_>, now: Timestamp, out: &mut Vec<Alert>) {
        let Some(contact) = Contact::of(record) else { return };
        if !matches!(contact.protocol, protocol::TCP | protocol::UDP)
            || contact.protocol == protocol::UDP && TRACEROUTE.contains(contact.port)
        {
            return;
        }
        let config = &self.pairs.rules().config;
        if config.allow.allows(contact.source, contact.target, contact.port) {
            self.allowed += 1;
            return;
        }
        let v6_prefix = config.v6_source_prefix;
        let key = |source: IpAddr, target| {
            let source = if source.is_ipv6() { masked(source, v6_prefix) } else { source };
            Key { source, target, protocol: contact.protocol }
        };
        let back = key(contact.target, contact.source);
        let key = key(contact.source, contact.target);
        let udp = contact.protocol == protocol::UDP;
        match contact.kind {
            Kind::Probe(answer) => {
                let rate = sampling(record);
                self.pairs.update(key, now, out, |rules, case| case.probe(&contact, answer, &rules.config, rate));
                // In uniflows a datagram the other way is the answer to one that was counted as a probe.
                if udp && let Some(case) = self.pairs.case(&back) {
                    case.business += 1;
                }
            }
            Kind::Business | Kind::Reply(_) | Kind::Unreachable => {
                let Some(case) = self.pairs.case(&key) else { return };
                match contact.kind {
                    Kind::Unreachable => case.answers_closed = case.answers_closed.saturating_add(contact.packets),
                    Kind::Reply(answer) if !udp => case.answer(contact.port, answer),
                    _ => {
                        case.business += 1;
                        // A service that answers a datagram or two is what a UDP scan is after.
                        if udp && (contact.packets <= MAX_DATAGRAMS || contact.kind != Kind::Business) {
                            case.answer(contact.port, Answer::Open);
                        }
                    }
                }
            }
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.pairs.tick(now, out);
    }

    fn finish(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.pairs.finish(now, out);
    }

    fn entries(&self) -> usize {
        self.pairs.len()
    }

    fn activity(&self) -> Activity {
        Activity { records_allowed: self.allowed, ..*self.pairs.activity() }
    }
}
