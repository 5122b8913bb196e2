// SPDX-License-Identifier: MIT OR Apache-2.0
//! What no parser knew, by transport protocol and port of the server: what to write a parser for, or to look into.
//!
//! A record counts if it has no application and its flow had payload: UDP always, TCP if a packet had PSH, which senders set on the
//! last segment of what they have to say (RFC 9293 section 3.9.1.2); so scans and floods of SYNs do not count.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use weir_flow::{FlowRecord, protocol, tcp_flags::PSH};

use crate::report::grouped;

/// Ports that have a line of their own at most, for each worker and in all; what others have is added up.
const MAX_PORTS: usize = 4096;
/// Ports that are shown, those with most octets.
const SHOWN: usize = 20;

/// What all workers found.
pub type Shared = Arc<Mutex<Unrecognised>>;

/// How much it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Volume {
    records: u64,
    packets: u64,
    /// From the IP header on.
    octets: u64,
}

impl Volume {
    const fn of(record: &FlowRecord<'_>) -> Self {
        let FlowRecord { forward, reverse, .. } = record;
        Self { records: 1, packets: forward.packets + reverse.packets, octets: forward.octets + reverse.octets }
    }

    const fn add(&mut self, other: Self) {
        self.records += other.records;
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

/// Volumes of what was not recognised.
#[derive(Debug, Default)]
pub struct Unrecognised {
    /// By protocol number and port.
    ports: HashMap<(u8, u16), Volume>,
    /// Of ports that have no line.
    others: Volume,
    /// Of all records, the recognised among them.
    all: Volume,
}

impl Unrecognised {
    /// Counts a record.
    pub fn note(&mut self, record: &FlowRecord<'_>) {
        let volume = Volume::of(record);
        self.all.add(volume);
        if record.app.is_none() && has_payload(record) {
            self.add(server(record), volume);
        }
    }

    /// Adds what another has, which has nothing then.
    pub fn take(&mut self, other: &mut Self) {
        other.ports.drain().for_each(|(port, volume)| self.add(port, volume));
        self.others.add(std::mem::take(&mut other.others));
        self.all.add(std::mem::take(&mut other.all));
    }

    fn add(&mut self, port: (u8, u16), volume: Volume) {
        if self.ports.len() < MAX_PORTS || self.ports.contains_key(&port) {
            self.ports.entry(port).or_default().add(volume);
        } else {
            self.others.add(volume);
        }
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let mut sum = self.others;
        self.ports.values().for_each(|volume| sum.add(*volume));
        let mut ports: Vec<_> = self.ports.iter().collect();
        ports.sort_unstable_by_key(|(port, volume)| (u64::MAX - volume.octets, **port));
        let mut text = format!(
            "not recognised: {} of {} octets, {} of {} records\n",
            grouped(sum.octets),
            grouped(self.all.octets),
            grouped(sum.records),
            grouped(self.all.records)
        );
        let mut line = |port: &str, volume: &Volume| {
            let Volume { records, packets, octets } = *volume;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  {port:<10} {:>15} octets {:>13} packets {:>11} records",
                grouped(octets),
                grouped(packets),
                grouped(records)
            );
        };
        let mut rest = self.others;
        for (place, ((transport, port), volume)) in ports.into_iter().enumerate() {
            if place < SHOWN {
                let transport = if *transport == protocol::TCP { "tcp" } else { "udp" };
                line(&format!("{transport}/{port}"), volume);
            } else {
                rest.add(*volume);
            }
        }
        if rest != Volume::default() {
            line("others", &rest);
        }
        text
    }
}

/// One worker's, on the way to all.
#[derive(Debug)]
pub struct Noting {
    noted: Unrecognised,
    shared: Shared,
}

impl Noting {
    /// For `shared`, which has what is noted here after [`Self::publish`].
    pub fn new(shared: Shared) -> Self {
        Self { noted: Unrecognised::default(), shared }
    }

    /// Counts a record.
    pub fn note(&mut self, record: &FlowRecord<'_>) {
        self.noted.note(record);
    }

    /// Hands over what was noted.
    pub fn publish(&mut self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).take(&mut self.noted);
    }
}

/// The table of what all workers have handed over.
pub fn text(shared: &Shared) -> String {
    shared.lock().unwrap_or_else(PoisonError::into_inner).text()
}

fn has_payload(record: &FlowRecord<'_>) -> bool {
    match record.key.protocol {
        protocol::UDP => true,
        protocol::TCP => (record.forward.tcp_flags | record.reverse.tcp_flags) & PSH != 0,
        _ => false,
    }
}

/// Protocol and port of the server: who was asked, or where one direction was seen alone, who has the lower port.
fn server(record: &FlowRecord<'_>) -> (u8, u16) {
    let key = &record.key;
    let lower = key.dst_port.min(key.src_port);
    (key.protocol, if record.reverse.packets > 0 { key.dst_port } else { lower })
}

#[cfg(test)]
mod tests {
    use weir_flow::{Counters, FlowKey, app};

    use super::*;

    fn record(protocol: u8, ports: [u16; 2], flags: u16, octets: [u64; 2]) -> FlowRecord<'static> {
        let [src_port, dst_port] = ports;
        let counters = |octets| Counters { packets: octets / 100, octets, tcp_flags: flags, ..Counters::default() };
        FlowRecord {
            key: FlowKey { protocol, src_port, dst_port, ..FlowKey::default() },
            forward: counters(octets[0]),
            reverse: counters(octets[1]),
            ..FlowRecord::default()
        }
    }

    #[test]
    fn what_had_payload_and_no_application_is_told_by_the_servers_port() {
        let mut found = Unrecognised::default();
        found.note(&record(protocol::TCP, [40_000, 9999], PSH, [1000, 2000]));
        found.note(&record(protocol::TCP, [40_001, 9999], PSH, [1000, 0]));
        found.note(&record(protocol::TCP, [9999, 40_001], PSH, [500, 0]));
        found.note(&record(protocol::UDP, [7000, 40_000], 0, [100, 0]));
        // A scan, pings, and what was recognised.
        found.note(&record(protocol::TCP, [40_000, 80], 0, [100, 0]));
        found.note(&record(protocol::ICMP, [0, 0], 0, [100, 100]));
        let known = FlowRecord { app: app::unset(0), ..record(protocol::UDP, [40_000, 53], 0, [100, 300]) };
        found.note(&known);
        assert_eq!(
            found.text(),
            "not recognised: 4,600 of 5,300 octets, 4 of 7 records\n  \
             tcp/9999             4,500 octets            45 packets           3 records\n  \
             udp/7000               100 octets             1 packets           1 records\n"
        );
    }

    #[test]
    fn ports_are_bounded_and_nothing_is_lost() {
        let shared = Shared::default();
        let mut workers = [0, 1].map(|_| Noting::new(shared.clone()));
        for port in 1..=6000 {
            for noting in &mut workers {
                noting.note(&record(protocol::UDP, [60_000, port], 0, [100, 100]));
            }
        }
        workers.iter_mut().for_each(Noting::publish);
        assert_eq!(shared.lock().unwrap().ports.len(), MAX_PORTS);
        let text = text(&shared);
        assert!(
            text.starts_with("not recognised: 2,400,000 of 2,400,000 octets, 12,000 of 12,000 records\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1 + SHOWN + 1);
        assert!(text.ends_with(" 11,960 records\n"), "{text}");
    }
}
