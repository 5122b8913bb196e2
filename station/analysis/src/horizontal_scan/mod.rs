// SPDX-License-Identifier: MIT OR Apache-2.0
//! Horizontal and block scans: one source tries many hosts.
//!
//! Two tables. *Port*: by (source, protocol, port), the distinct targets of probes. *Block*: by (source, protocol), the
//! distinct targets over all ports. A probe is what [`crate::contact`] says. It is an attack when the targets within the
//! window reach `min_targets` and the business that the source does under the same key is at most `max_business_share` of
//! its probes; a block scan moreover needs several ports, each tried on two or more hosts on average, which keeps
//! peer-to-peer clients out, whose dead peers have a port each.
//!
//! Targets are counted exactly up to 256, then estimated (3 %). `docs/detectors.md` has the parameters and the limits.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use serde::{Deserialize, Serialize};
use weir_flow::{FlowRecord, Timestamp, protocol};

use crate::{
    alert::{Alert, Endpoints, Evidence, Quantity, Severity, protocol_name, side_filter},
    civil,
    contact::{Answer, Contact, Kind, MAX_HANDSHAKE_PACKETS},
    detector::{Activity, Allow, Detector, Limits, sampled, sampling},
    prefix::{Prefix, Span, masked, width},
    state::{Coverage, Distinct, Ports, Rules, Samples, Spread, Tracker, Window, hash},
};

/// Parameters.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the detector runs.
    pub enabled: bool,
    /// Distinct targets that make a scan; 2 to 4096.
    pub min_targets: u32,
    /// Time within which the targets must be tried.
    pub window: Span,
    /// Most business (connections with data, answered datagrams) of the source on the same key, per probe.
    pub max_business_share: f64,
    /// Most scans of single ports that are reported of one source at a time; the block scan tells of the others.
    pub max_ports_per_source: u32,
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
            min_targets: 50,
            window: Span::secs(3_600),
            max_business_share: 0.5,
            max_ports_per_source: 8,
            v6_source_prefix: 64,
            allow: Allow::default(),
            limits: Limits::default(),
        }
    }
}

/// Largest `min_targets`: so many targets are kept exactly for each source that is under observation.
pub const MAX_MIN_TARGETS: u32 = 4_096;

/// What a port case is about; a block case has port 0. Ordered so that the ports of one source are neighbours.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Key {
    source: IpAddr,
    protocol: u8,
    port: u16,
}

/// What is known about one source.
#[derive(Default)]
struct Case {
    recent: Window,
    /// Kept from when the case became worth judging.
    attack: Option<Box<Attack>>,
    spread: Spread,
    sources: Samples<IpAddr>,
    targets: Samples<IpAddr>,
    open: Samples<(IpAddr, u16)>,
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

#[derive(Default)]
struct Attack {
    targets: Distinct,
    coverage: Coverage,
    ports: Ports,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Scope {
    Port,
    Block,
}

struct ScanRules {
    config: Config,
    scope: Scope,
}

/// An address as a value to count: an IPv4 address as it is, an IPv6 address by its hash.
fn value(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(a) => a.to_bits().into(),
        IpAddr::V6(a) => hash(6, &a.octets()),
    }
}

impl Case {
    /// Takes a probe in; whether the case is worth judging.
    fn probe(&mut self, contact: &Contact, answer: Answer, rules: &ScanRules, rate: u64) -> bool {
        let min = rules.config.min_targets as usize;
        let target = value(contact.target);
        let first = self.first.get_or_insert(contact.first);
        *first = (*first).min(contact.first);
        self.last = self.last.max(contact.last);
        self.rate = self.rate.max(rate);
        self.flows += 1;
        self.packets = self.packets.saturating_add(contact.packets);
        self.octets = self.octets.saturating_add(contact.octets);
        self.targets.insert(contact.target);
        if contact.target.is_ipv6() && rules.config.v6_source_prefix < 128 {
            self.sources.insert(contact.source);
        }
        if rules.scope == Scope::Block {
            self.spread.insert(target, contact.port);
        }
        self.answer(contact.target, contact.port, answer);
        if let Some(attack) = &mut self.attack {
            attack.add(contact, target);
            return true;
        }
        self.recent.insert(target, contact.last, min.max(64));
        if self.recent.len() < min {
            return false;
        }
        let window = u64::from(rules.config.window.as_secs());
        if self.recent.forget_before(Timestamp::from_secs(contact.last.as_secs().saturating_sub(window))) {
            // The attack begins with what is still within the window.
            self.first = self.recent.earliest();
            self.flows = self.recent.flows();
        }
        if self.recent.len() < min {
            return false;
        }
        let mut attack = Box::new(Attack::default());
        for value in self.recent.values() {
            attack.targets.insert(value);
            if contact.target.is_ipv4()
                && let Ok(bits) = u32::try_from(value)
            {
                attack.coverage.insert(IpAddr::V4(Ipv4Addr::from_bits(bits)));
            }
        }
        attack.add(contact, target);
        self.attack = Some(attack);
        true
    }

    fn answer(&mut self, target: IpAddr, port: u16, answer: Answer) {
        match answer {
            Answer::Closed => self.answers_closed += 1,
            Answer::Open => {
                self.answers_open.insert(hash(value(target), &port.to_be_bytes()));
                self.open.insert((target, port));
            }
            Answer::None => {}
        }
    }
}

impl Attack {
    fn add(&mut self, contact: &Contact, target: u64) {
        self.targets.insert(target);
        self.coverage.insert(contact.target);
        if contact.protocol == protocol::TCP || contact.protocol == protocol::UDP {
            self.ports.insert(contact.port);
        }
    }
}

impl ScanRules {
    fn business_is_low(&self, case: &Case) -> bool {
        case.business as f64 <= self.config.max_business_share * case.flows as f64
    }
}

impl Rules for ScanRules {
    type Key = Key;
    type Case = Case;

    fn is_attack(&self, _key: &Key, case: &mut Case, _now: Timestamp) -> bool {
        let ports = case.spread.ports();
        let spread = self.scope == Scope::Port || ports >= 2 && case.spread.pairs() >= ports * 2;
        let attack = case.attack.is_some() && spread && self.business_is_low(case);
        if !attack {
            case.attack = None;
        }
        attack
    }

    fn suppressed(&self, case: &mut Case) {
        case.attack = None;
    }

    fn admits(&self, key: &Key, open: &BTreeSet<Key>) -> bool {
        let of_source = open.range(Key { port: 0, ..*key }..=Key { port: u16::MAX, ..*key });
        self.scope == Scope::Block || of_source.count() < self.config.max_ports_per_source as usize
    }

    fn identity(&self, key: &Key) -> String {
        format!("{} {} {}", key.source, key.protocol, key.port)
    }

    fn alert(&self, key: &Key, case: &Case) -> Alert {
        let (distinct, coverage, ports) = case
            .attack
            .as_ref()
            .map(|a| (a.targets.clone(), a.coverage.prefixes(), &a.ports))
            .unwrap_or((Distinct::default(), Vec::new(), &Ports::None));
        let is_icmp = key.protocol == protocol::ICMP || key.protocol == protocol::ICMPV6;
        let proto = protocol_name(key.protocol);
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
        let what = match (self.scope, is_icmp) {
            (_, true) => "Ping sweep".to_owned(),
            (Scope::Port, false) => format!("Horizontal scan of {proto} port {}", key.port),
            (Scope::Block, false) => format!("Block scan of {} {proto} ports", case.spread.ports()),
        };
        let mut filter = format!("{} and proto {proto}", side_filter("src", source));
        if self.scope == Scope::Port && !is_icmp {
            filter.push_str(&format!(" and dst port {}", key.port));
        }
        filter.push_str(&format!(" and packets < {}", MAX_HANDSHAKE_PACKETS + 1));
        let answered = case.answers_open.count() + case.answers_closed;
        let mut measured = vec![
            Quantity::count("targets", distinct.count(), "distinct destination addresses"),
            Quantity::count("answers_open", case.answers_open.count(), "distinct pairs of host and port that accepted"),
            Quantity::count("answers_closed", case.answers_closed, "probes refused"),
            Quantity::ratio("business_share", ratio(case.business, case.flows), "flows with business per probe"),
        ];
        if self.scope == Scope::Block {
            measured.push(Quantity::count("ports", case.spread.ports(), "distinct destination ports (estimate)"));
        }
        let found: Vec<_> = case.open.as_slice().iter().map(|&(a, p)| open_text(a, p, is_icmp)).collect();
        if !found.is_empty() {
            let name = if is_icmp { "hosts_found" } else { "open_ports_found" };
            measured.push(Quantity::text(name, found.join(" ")));
        }
        let first = case.first.unwrap_or(case.last);
        Alert {
            detector: HorizontalScan::SLUG.into(),
            kind: if self.scope == Scope::Port { "horizontal_scan" } else { "block_scan" }.into(),
            category: "Recon.Scanning".into(),
            severity: if case.answers_open.count() > 0 && !is_icmp { Severity::Medium } else { Severity::Low },
            confidence: confidence(key.protocol, distinct.count(), self.config.min_targets, answered, case.rate),
            description: format!("{what} by {source}: {} hosts, {} open", distinct.count(), case.answers_open.count()),
            first_time: first,
            last_time: case.last,
            sources,
            targets: Endpoints {
                count: distinct.count(),
                exact: distinct.is_exact(),
                sample: case.targets.as_slice().to_vec(),
                prefixes: coverage,
                roles: Vec::new(),
            },
            port_count: ports.count(),
            ports: ports.ranges(16),
            protocol: key.protocol,
            flows: case.flows,
            packets: case.packets,
            octets: case.octets,
            parameters: vec![
                Quantity::count("min_targets", self.config.min_targets.into(), "distinct destination addresses"),
                Quantity::count("window", self.config.window.as_secs().into(), "seconds"),
                Quantity::ratio("max_business_share", self.config.max_business_share, "flows with business per probe"),
            ],
            measured,
            techniques: vec!["T1595.001".into(), "T1046".into()],
            evidence: Evidence { window: civil::window(first, case.last), filter },
            degraded: sampled(case.rate),
            ..Alert::default()
        }
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn open_text(address: IpAddr, port: u16, is_icmp: bool) -> String {
    match address {
        _ if is_icmp => address.to_string(),
        IpAddr::V4(a) => format!("{a}:{port}"),
        IpAddr::V6(a) => format!("[{a}]:{port}"),
    }
}

/// Surer with more targets, and where refusals show that nobody had business there; less with UDP, where silence may be
/// loss, and with sampling.
pub(crate) fn confidence(proto: u8, count: u64, min: u32, answered: u64, rate: u64) -> f64 {
    let mut confidence = if proto == protocol::UDP { 0.5 } else { 0.7 };
    if count >= u64::from(min) * 2 {
        confidence += 0.1;
    }
    if answered > 0 {
        confidence += 0.1;
    }
    if rate > 1 {
        confidence -= 0.3;
    }
    (confidence * 100.0_f64).round() / 100.0
}

/// The detector.
pub struct HorizontalScan {
    ports: Tracker<ScanRules>,
    blocks: Tracker<ScanRules>,
    allowed: u64,
}

impl HorizontalScan {
    /// Its name.
    pub const SLUG: &'static str = "horizontal_scan";

    /// The detector without state. Parameters out of range are brought into it.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.min_targets = config.min_targets.clamp(2, MAX_MIN_TARGETS);
        let limits = config.limits;
        let rules = |scope| ScanRules { config: config.clone(), scope };
        Self {
            ports: Tracker::new(rules(Scope::Port), limits),
            blocks: Tracker::new(rules(Scope::Block), limits),
            allowed: 0,
        }
    }
}

impl Detector for HorizontalScan {
    fn slug(&self) -> &'static str {
        Self::SLUG
    }

    fn record(&mut self, record: &FlowRecord<'_>, now: Timestamp, out: &mut Vec<Alert>) {
        let Some(contact) = Contact::of(record) else { return };
        let config = &self.ports.rules().config;
        if config.allow.allows(contact.source, contact.target, contact.port) {
            self.allowed += 1;
            return;
        }
        let v6_prefix = config.v6_source_prefix;
        let key = |source: IpAddr, port| {
            let source = if source.is_ipv6() { masked(source, v6_prefix) } else { source };
            Key { source, protocol: contact.protocol, port }
        };
        let (port, block) = (key(contact.source, contact.port), key(contact.source, 0));
        let is_icmp = matches!(contact.protocol, protocol::ICMP | protocol::ICMPV6);
        match contact.kind {
            Kind::Probe(answer) => {
                let rate = sampling(record);
                for (tracker, key) in [(&mut self.ports, port), (&mut self.blocks, block)] {
                    // Without ports there is nothing that a block would add.
                    if is_icmp && tracker.rules().scope == Scope::Block {
                        continue;
                    }
                    tracker.update(key, now, out, |rules, case| case.probe(&contact, answer, rules, rate));
                }
                // In uniflows a datagram the other way is the answer to one that was counted as a probe.
                if contact.protocol == protocol::UDP {
                    let back = [key(contact.target, contact.source_port), key(contact.target, 0)];
                    for (tracker, key) in [&mut self.ports, &mut self.blocks].into_iter().zip(back) {
                        if let Some(case) = tracker.case(&key) {
                            case.business += 1;
                        }
                    }
                }
            }
            Kind::Business | Kind::Reply(_) => {
                for (tracker, key) in [(&mut self.ports, port), (&mut self.blocks, block)] {
                    let Some(case) = tracker.case(&key) else { continue };
                    match contact.kind {
                        Kind::Reply(answer) if contact.protocol != protocol::UDP => {
                            case.answer(contact.target, contact.port, answer);
                        }
                        _ => case.business += 1,
                    }
                }
            }
            Kind::Unreachable => {}
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.ports.tick(now, out);
        self.blocks.tick(now, out);
    }

    fn finish(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.ports.finish(now, out);
        self.blocks.finish(now, out);
    }

    fn entries(&self) -> usize {
        self.ports.len() + self.blocks.len()
    }

    fn activity(&self) -> Activity {
        let mut activity = *self.ports.activity();
        activity.add(self.blocks.activity());
        activity.records_allowed = self.allowed;
        activity
    }
}
