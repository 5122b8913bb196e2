// SPDX-License-Identifier: MIT OR Apache-2.0
//! Amplification: a reflector answers small queries with a spoofed source by large responses to the victim. DNS above all,
//! and the other services of the [`SERVICES`] table.
//!
//! Two views. *Abused server*: by (server, client, service). *Victim*: by (client, service) over all servers, when at
//! least `min_servers` take part. Each counts queries and responses in sub-windows of a minute; a flow longer than a minute
//! is spread evenly over the minutes that it covers, with exact sums. A case is an attack while, within the window,
//!
//! - the responses reach `min_response_octets` or `min_response_packets`, and
//! - their packets are large on average (`min_packet_octets` of the service), and
//! - they are `min_amplification` times the octets of the queries, or there was no query at all (unsolicited: the query was
//!   spoofed elsewhere, or takes another path).
//!
//! Where records carry DNS fields, the share of query types that amplify (ANY, TXT, DNSKEY, RRSIG…) and the most frequent
//! name raise or lower the confidence. `docs/detectors.md` has the parameters and the limits.

mod services;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use weir_flow::{FlowRecord, Timestamp, app::AppRef, protocol};

pub use self::services::{SERVICES, Service};
use crate::{
    alert::{Alert, Endpoints, Evidence, Quantity, Severity},
    civil,
    contact::oriented,
    detector::{Activity, Allow, Detector, Limits, sampled, sampling},
    prefix::{PortRange, Prefix, Span},
    state::{Distinct, Rules, Samples, Tracker, Window, hash},
};

/// Parameters.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the detector runs.
    pub enabled: bool,
    /// Time over which queries and responses are summed; 1 to 60 minutes, rounded up to a minute.
    pub window: Span,
    /// Octets of responses within the window that make an attack; or `min_response_packets`.
    pub min_response_octets: u64,
    /// Packets of responses within the window that make an attack; or `min_response_octets`.
    pub min_response_packets: u64,
    /// Least octets of responses per octet of queries, where there are queries.
    pub min_amplification: f64,
    /// Distinct servers that make the view of the victim; 1 to 4096.
    pub min_servers: u32,
    /// Own networks. If there are any, abused servers and victims are reported only if they are in one.
    pub networks: Vec<Prefix>,
    /// The services and their ports.
    pub services: Vec<Service>,
    /// What it looks away from; `sources` are servers, `targets` clients.
    pub allow: Allow,
    /// Bounds and times.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Span::secs(300),
            min_response_octets: 10_000_000,
            min_response_packets: 3_000,
            min_amplification: 5.0,
            min_servers: 20,
            networks: Vec::new(),
            services: SERVICES.to_vec(),
            allow: Allow::default(),
            limits: Limits::default(),
        }
    }
}

/// Query types whose answers are large: TXT, RRSIG, DNSKEY, ANY.
const AMPLIFYING: [u16; 4] = [16, 46, 48, 255];
/// Longest name kept for the alert, in octets.
const MAX_NAME: usize = 255;
/// Most sub-windows, in minutes.
const MAX_MINUTES: u64 = 60;

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Key {
    client: IpAddr,
    /// `None` in the view of the victim.
    server: Option<IpAddr>,
    port: u16,
}

/// Queries and responses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Sums {
    query_flows: u64,
    query_packets: u64,
    query_octets: u64,
    response_flows: u64,
    response_packets: u64,
    response_octets: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.each(other, u64::saturating_add);
    }

    /// An even share of one in `n`, rounded down.
    fn share(&self, n: u64) -> Self {
        let mut share = *self;
        share.each(&Self::default(), |v, _| v / n.max(1));
        share
    }

    fn times(&self, n: u64) -> Self {
        let mut times = *self;
        times.each(&Self::default(), |v, _| v.saturating_mul(n));
        times
    }

    fn subtract(&mut self, other: &Self) {
        self.each(other, u64::saturating_sub);
    }

    fn each(&mut self, other: &Self, f: impl Fn(u64, u64) -> u64) {
        for (value, other) in [
            (&mut self.query_flows, other.query_flows),
            (&mut self.query_packets, other.query_packets),
            (&mut self.query_octets, other.query_octets),
            (&mut self.response_flows, other.response_flows),
            (&mut self.response_packets, other.response_packets),
            (&mut self.response_octets, other.response_octets),
        ] {
            *value = f(*value, other);
        }
    }
}

/// One minute.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    minute: u64,
    first: Timestamp,
    sums: Sums,
}

/// What one record says of a service.
struct Exchange {
    server: IpAddr,
    client: IpAddr,
    port: u16,
    sums: Sums,
    first: Timestamp,
    last: Timestamp,
    rate: u64,
}

/// Response packets by the logarithm of their mean size: bin n has sizes from 2ⁿ to 2ⁿ⁺¹ - 1, the last one all above.
#[derive(Debug, Default)]
struct Sizes([u64; 16]);

impl Sizes {
    fn add(&mut self, sums: &Sums) {
        let Some(mean) = sums.response_octets.checked_div(sums.response_packets) else { return };
        if let Some(bin) = self.0.get_mut(mean.max(1).ilog2().min(15) as usize) {
            *bin = bin.saturating_add(sums.response_packets);
        }
    }

    /// The size below which nine of ten packets are, as a power of two.
    fn common(&self) -> u64 {
        let total: u128 = self.0.iter().map(|&n| u128::from(n)).sum();
        let mut sum = 0;
        let bin = self.0.iter().position(|&n| {
            sum += u128::from(n);
            sum * 10 >= total * 9
        });
        2 << bin.unwrap_or(15)
    }
}

/// DNS fields of queries, summed.
#[derive(Default)]
struct Dns {
    queries: u64,
    amplifying: u64,
    /// Majority vote (Boyer and Moore): the name of more than half of the queries, if there is one.
    name: Vec<u8>,
    votes: u64,
}

#[derive(Default)]
struct Case {
    /// By minute, ascending; at most as many as the window has minutes.
    minutes: Vec<Bucket>,
    /// Since the responses are many.
    sizes: Option<Box<Sizes>>,
    /// Servers within the window; in the view of the victim only.
    recent_servers: Window,
    servers: Samples<IpAddr>,
    /// Since the attack began.
    server_count: Distinct,
    dns: Option<Box<Dns>>,
    /// Since the attack began; `None` while there is none.
    total: Option<Sums>,
    first: Timestamp,
    last: Timestamp,
    rate: u64,
}

impl Case {
    /// Takes an exchange in; whether the case is worth judging.
    fn add(&mut self, exchange: &Exchange, rules: &AmplificationRules) -> bool {
        self.last = self.last.max(exchange.last);
        self.rate = self.rate.max(exchange.rate);
        if let Some(total) = &mut self.total {
            total.add(&exchange.sums);
        }
        if rules.victim && exchange.sums.response_packets > 0 {
            let value = match exchange.server {
                IpAddr::V4(a) => a.to_bits().into(),
                IpAddr::V6(a) => hash(6, &a.octets()),
            };
            self.servers.insert(exchange.server);
            self.recent_servers.insert(value, exchange.last, rules.config.min_servers.max(64) as usize);
            if self.total.is_some() {
                self.server_count.insert(value);
            }
        }
        self.spread(exchange, rules.window());
        let large = rules.is_large(&self.sums(exchange.last, rules.window()));
        if large || self.total.is_some() {
            self.sizes.get_or_insert_default().add(&exchange.sums);
        }
        large
    }

    /// Adds the sums to the minutes that the exchange covers, evenly; what does not divide goes to the last minute.
    fn spread(&mut self, exchange: &Exchange, window: u64) {
        let minute = |ts: Timestamp| ts.as_secs() / 60;
        let (first, last) = (minute(exchange.first.min(exchange.last)), minute(exchange.last));
        let covered = last - first + 1;
        let share = exchange.sums.share(covered);
        let mut rest = exchange.sums;
        rest.subtract(&share.times(covered - 1));
        // Minutes before the window are left out; their share goes by.
        for minute in (first + covered.saturating_sub(window))..last {
            self.bucket(minute, exchange.first, window).sums.add(&share);
        }
        self.bucket(last, exchange.first, window).sums.add(&rest);
    }

    fn bucket(&mut self, minute: u64, first: Timestamp, window: u64) -> &mut Bucket {
        let first = first.max(Timestamp::from_secs(minute * 60));
        if !self.minutes.iter().any(|b| b.minute == minute) {
            let newest = self.minutes.last().map_or(minute, |b| b.minute.max(minute));
            self.minutes.retain(|b| b.minute + window > newest);
            let at = self.minutes.partition_point(|b| b.minute < minute);
            self.minutes.insert(at, Bucket { minute, first, sums: Sums::default() });
        }
        let at = self.minutes.partition_point(|b| b.minute < minute);
        // It is there, or was put there just now.
        let bucket = &mut self.minutes[at];
        bucket.first = bucket.first.min(first);
        bucket
    }

    fn dns(&mut self, query_type: Option<u16>, name: &[u8]) {
        let dns = self.dns.get_or_insert_default();
        dns.queries += 1;
        dns.amplifying += u64::from(query_type.is_some_and(|t| AMPLIFYING.contains(&t)));
        let name = name.get(..MAX_NAME).unwrap_or(name);
        if dns.name == name {
            dns.votes += 1;
        } else if dns.votes == 0 {
            dns.name = name.to_vec();
            dns.votes = 1;
        } else {
            dns.votes -= 1;
        }
    }

    /// Sums within the window, which ends with the minute of `now` or of the latest record.
    fn sums(&self, now: Timestamp, window: u64) -> Sums {
        let newest = self.minutes.last().map_or(0, |b| b.minute).max(now.as_secs() / 60);
        let mut sums = Sums::default();
        self.minutes.iter().filter(|b| b.minute + window > newest).for_each(|b| sums.add(&b.sums));
        sums
    }

    /// Forgets what is before the window.
    fn forget(&mut self, now: Timestamp, window: u64) {
        let newest = self.minutes.last().map_or(0, |b| b.minute).max(now.as_secs() / 60);
        self.minutes.retain(|b| b.minute + window > newest);
        self.recent_servers.forget_before(Timestamp::from_secs((newest + 1).saturating_sub(window) * 60));
    }
}

struct AmplificationRules {
    config: Config,
    victim: bool,
}

impl AmplificationRules {
    fn window(&self) -> u64 {
        u64::from(self.config.window.as_secs()).div_ceil(60).clamp(1, MAX_MINUTES)
    }

    fn service(&self, port: u16) -> Option<&Service> {
        self.config.services.iter().find(|s| s.port == port)
    }

    fn is_large(&self, sums: &Sums) -> bool {
        sums.response_octets >= self.config.min_response_octets
            || sums.response_packets >= self.config.min_response_packets
    }

    fn holds(&self, key: &Key, case: &mut Case, now: Timestamp) -> bool {
        case.forget(now, self.window());
        let sums = case.sums(now, self.window());
        let min_packet = self.service(key.port).map_or(400, |s| s.min_packet_octets);
        let mean = sums.response_octets.checked_div(sums.response_packets).unwrap_or(0);
        let amplified = sums.query_packets == 0
            || sums.response_octets as f64 >= self.config.min_amplification * sums.query_octets as f64;
        let servers = !self.victim || case.recent_servers.len() >= self.config.min_servers as usize;
        servers && self.is_large(&sums) && mean >= u64::from(min_packet) && amplified
    }
}

impl Rules for AmplificationRules {
    type Key = Key;
    type Case = Case;

    fn is_attack(&self, key: &Key, case: &mut Case, now: Timestamp) -> bool {
        let attack = self.holds(key, case, now);
        if !attack {
            case.sizes = None;
        }
        attack
    }

    fn opened(&self, _key: &Key, case: &mut Case) {
        let mut total = Sums::default();
        case.minutes.iter().for_each(|b| total.add(&b.sums));
        case.total = Some(total);
        case.first = case.minutes.iter().map(|b| b.first).min().unwrap_or(case.last);
        let servers: Vec<u64> = case.recent_servers.values().collect();
        servers.into_iter().for_each(|s| case.server_count.insert(s));
    }

    fn goes_on(&self, key: &Key, case: &mut Case, now: Timestamp) -> bool {
        self.holds(key, case, now)
    }

    fn calmed(&self, case: &mut Case) {
        // What came before belongs to the attack that ended.
        *case = Case { last: case.last, ..Case::default() };
    }

    fn identity(&self, key: &Key) -> String {
        match key.server {
            Some(server) => format!("{} {server} {}", key.client, key.port),
            None => format!("{} {}", key.client, key.port),
        }
    }

    fn alert(&self, key: &Key, case: &Case) -> Alert {
        let service = self.service(key.port).map_or("unknown", |s| s.name.as_ref());
        let total = case.total.unwrap_or_default();
        let unsolicited = total.query_packets == 0;
        let mean = total.response_octets.checked_div(total.response_packets).unwrap_or(0);
        let factor =
            if total.query_octets == 0 { 0.0 } else { total.response_octets as f64 / total.query_octets as f64 };
        let mut measured = vec![
            Quantity::text("service", service),
            Quantity::count("query_flows", total.query_flows, "flows"),
            Quantity::count("query_packets", total.query_packets, "packets"),
            Quantity::count("query_octets", total.query_octets, "octets"),
            Quantity::count("response_flows", total.response_flows, "flows"),
            Quantity::count("response_packets", total.response_packets, "packets"),
            Quantity::count("response_octets", total.response_octets, "octets"),
            Quantity::count("mean_response_packet", mean, "octets"),
        ];
        if let Some(sizes) = &case.sizes {
            measured.push(Quantity::count("most_response_packets_below", sizes.common(), "octets"));
        }
        if !unsolicited {
            measured.push(Quantity::ratio("amplification", factor, "octets of responses per octet of queries"));
        }
        let mut confidence: f64 = if unsolicited { 0.8 } else { 0.7 };
        if self.victim {
            measured.push(Quantity::count("servers", case.server_count.count(), "distinct servers"));
            confidence += 0.1;
        }
        if let Some(dns) = &case.dns {
            let share = dns.amplifying as f64 / dns.queries.max(1) as f64;
            measured.push(Quantity::ratio("amplifying_query_types", share, "of queries (TXT, RRSIG, DNSKEY, ANY)"));
            if dns.votes > 0 && !dns.name.is_empty() {
                measured.push(Quantity::text("query_name", String::from_utf8_lossy(&dns.name)));
            }
            confidence += if share >= 0.5 {
                0.1
            } else if share < 0.1 {
                -0.3
            } else {
                0.0
            };
        }
        if case.rate > 1 {
            confidence -= 0.1;
        }
        let client = key.client;
        let (sources, by, filter) = match key.server {
            Some(server) => (
                Endpoints::one(server),
                server.to_string(),
                format!("ip {server} and ip {client} and proto udp and port {}", key.port),
            ),
            None => (
                Endpoints {
                    count: case.server_count.count(),
                    exact: case.server_count.is_exact(),
                    sample: case.servers.as_slice().to_vec(),
                    ..Endpoints::default()
                },
                format!("{} servers", case.server_count.count()),
                format!("ip {client} and proto udp and port {}", key.port),
            ),
        };
        let how = if unsolicited { "unsolicited".to_owned() } else { format!("{factor:.0} times the queries") };
        Alert {
            detector: DnsAmplification::SLUG.into(),
            kind: if self.victim { "amplification_victim" } else { "amplification_server" }.into(),
            category: "Availability.DDoS".into(),
            severity: Severity::High,
            confidence: (confidence.clamp(0.1, 1.0) * 100.0).round() / 100.0,
            description: format!(
                "{} amplification of {client} by {by}: {} octets in {} packets, {how}",
                service.to_uppercase(),
                total.response_octets,
                total.response_packets
            ),
            first_time: case.first,
            last_time: case.last,
            sources: Endpoints { roles: vec!["Backscatter".into()], ..sources },
            targets: Endpoints::one(client),
            port_count: 1,
            ports: vec![PortRange::one(key.port)],
            protocol: protocol::UDP,
            flows: total.response_flows,
            packets: total.response_packets,
            octets: total.response_octets,
            parameters: vec![
                Quantity::count("window", self.config.window.as_secs().into(), "seconds"),
                Quantity::count("min_response_octets", self.config.min_response_octets, "octets"),
                Quantity::count("min_response_packets", self.config.min_response_packets, "packets"),
                Quantity::ratio("min_amplification", self.config.min_amplification, "octets per octet"),
                Quantity::count("min_servers", self.config.min_servers.into(), "distinct servers"),
                Quantity::count(
                    "min_packet_octets",
                    self.service(key.port).map_or(400, |s| s.min_packet_octets).into(),
                    "octets",
                ),
            ],
            measured,
            techniques: vec!["T1498.002".into()],
            evidence: Evidence { window: civil::window(case.first, case.last), filter },
            degraded: sampled(case.rate).map(|s| s + "; counts were multiplied"),
            ..Alert::default()
        }
    }
}

/// The detector.
pub struct DnsAmplification {
    servers: Tracker<AmplificationRules>,
    victims: Tracker<AmplificationRules>,
    allowed: u64,
}

impl DnsAmplification {
    /// Its name.
    pub const SLUG: &'static str = "dns_amplification";

    /// The detector without state. Parameters out of range are brought into it.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.min_servers = config.min_servers.clamp(1, 4_096);
        let rules = |victim| AmplificationRules { config: config.clone(), victim };
        let limits = config.limits;
        Self { servers: Tracker::new(rules(false), limits), victims: Tracker::new(rules(true), limits), allowed: 0 }
    }

    /// What the record says: one exchange, or two where a uniflow between two service ports could be either direction.
    fn exchanges(&self, record: &FlowRecord<'_>) -> [Option<Exchange>; 2] {
        let Some((key, forward, reverse)) = oriented(record) else { return [None, None] };
        if key.protocol != protocol::UDP {
            return [None, None];
        }
        let rate = sampling(record);
        let has_reverse = reverse.packets > 0;
        let (first, last) = if has_reverse {
            (forward.first.min(reverse.first), forward.last.max(reverse.last))
        } else {
            (forward.first, forward.last)
        };
        let exchange = |query: bool| {
            let (queries, responses) = if query { (&forward, &reverse) } else { (&reverse, &forward) };
            let (server, client, port) = if query {
                (key.destination(), key.source(), key.dst_port)
            } else {
                (key.source(), key.destination(), key.src_port)
            };
            Exchange {
                server,
                client,
                port,
                sums: Sums {
                    query_flows: u64::from(queries.packets > 0),
                    query_packets: queries.packets.saturating_mul(rate),
                    query_octets: queries.octets.saturating_mul(rate),
                    response_flows: u64::from(responses.packets > 0),
                    response_packets: responses.packets.saturating_mul(rate),
                    response_octets: responses.octets.saturating_mul(rate),
                },
                first: first.min(last),
                last,
                rate,
            }
        };
        let served = |port| self.servers.rules().service(port).is_some();
        match (served(key.dst_port), served(key.src_port)) {
            (true, true) if !has_reverse => [Some(exchange(true)), Some(exchange(false))],
            (true, _) => [Some(exchange(true)), None],
            (false, true) => [Some(exchange(false)), None],
            (false, false) => [None, None],
        }
    }
}

impl Detector for DnsAmplification {
    fn slug(&self) -> &'static str {
        Self::SLUG
    }

    fn record(&mut self, record: &FlowRecord<'_>, now: Timestamp, out: &mut Vec<Alert>) {
        let dns = match record.app {
            Some(AppRef::Dns(dns)) => Some((dns.query_type, dns.query_name.as_bytes(&dns.memory))),
            _ => None,
        };
        for exchange in self.exchanges(record).into_iter().flatten() {
            let config = &self.servers.rules().config;
            if config.allow.allows(exchange.server, exchange.client, exchange.port) {
                self.allowed += 1;
                continue;
            }
            let own = |address| config.networks.is_empty() || config.networks.iter().any(|p| p.contains(address));
            let (own_server, own_client) = (own(exchange.server), own(exchange.client));
            let (client, port) = (exchange.client, exchange.port);
            let add = |rules: &AmplificationRules, case: &mut Case| {
                if let Some((query_type, name)) = dns {
                    case.dns(query_type, name);
                }
                case.add(&exchange, rules)
            };
            if own_server {
                self.servers.update(Key { client, server: Some(exchange.server), port }, now, out, add);
            }
            if own_client {
                self.victims.update(Key { client, server: None, port }, now, out, add);
            }
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.servers.tick(now, out);
        self.victims.tick(now, out);
    }

    fn finish(&mut self, now: Timestamp, out: &mut Vec<Alert>) {
        self.servers.finish(now, out);
        self.victims.finish(now, out);
    }

    fn entries(&self) -> usize {
        self.servers.len() + self.victims.len()
    }

    fn activity(&self) -> Activity {
        let mut activity = *self.servers.activity();
        activity.add(self.victims.activity());
        activity.records_allowed = self.allowed;
        activity
    }
}
