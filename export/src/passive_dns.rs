// SPDX-License-Identifier: MIT OR Apache-2.0
//! Passive DNS: which names had which data, and when, without who asked.
//!
//! Answer records of DNS transactions, added up: one line of JSON for each name, type and data, with the fields of the
//! Common Output Format (draft-dulaunoy-dnsop-passive-dns-cof). A table holds what is added up until it is [`written`](PassiveDns::write):
//! when it is full, about every minute of live capture, and at the end. So nothing is ever left out for lack of room, and
//! the counts of all lines together are the answer records that were noted. Each worker has a table of its own.
//!
//! - **Noted**: the answer section of responses in class IN to queries (RFC 1035), over UDP and TCP; of a record that several
//!   messages of a transaction repeat, one.
//! - **Not noted**: multicast DNS and LLMNR, which are about one link; answers beyond those that a transaction keeps, and those cut since
//!   they are too long, which are counted; authority and additional sections, which are not parsed.
//! - **Names** are in lower case, since resolvers vary the case of their questions at random; so are those that data consist of.

use std::collections::HashMap;

use weir_flow::{
    FlowRecord,
    app::{
        AppRef, Dns,
        dns::{MAX_ANSWER, Variant},
    },
};
use weir_ipfix::json;

/// Most lines that are added up at a time.
const MAX_ENTRIES: usize = 8192;

/// Most octets of their names and data.
const MAX_OCTETS: usize = 1 << 20;

/// Hand-overs after which a table is written: in live capture there is about one a second.
const HAND_OVERS: u8 = 60;

const CLASS_IN: u16 = 1;

/// What was seen of one name, type and data.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Place among the others, by when it was seen first.
    place: u32,
    /// Octets of name and type, with a space behind each.
    name: u16,
    kind: u16,
    /// The longest, in seconds: that of the zone rather than what is left of it in a cache.
    ttl: u32,
    /// Seconds since 1970.
    first: u64,
    last: u64,
    count: u64,
}

/// Answers of a transaction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Noted {
    /// Noted.
    pub answers: u64,
    /// Left out, since the transaction did not keep them, or not all of one.
    pub left_out: u64,
}

/// The table of one worker.
#[derive(Debug)]
pub struct PassiveDns {
    /// By name, type and data, with a space between.
    table: HashMap<Box<[u8]>, Seen>,
    octets: usize,
    key: Vec<u8>,
    hand_overs: u8,
    /// The observation domain.
    sensor: u32,
}

impl PassiveDns {
    /// Octets of memory that it takes at most.
    pub const MEMORY: usize = 2 * MAX_ENTRIES * (size_of::<(Box<[u8]>, Seen)>() + 1)
        + MAX_ENTRIES * (2 * size_of::<usize>() + size_of::<(&[u8], Seen)>())
        + MAX_OCTETS;

    /// Empty, of the observation domain `sensor`.
    pub fn new(sensor: u32) -> Self {
        Self { table: HashMap::new(), octets: 0, key: Vec::new(), hand_overs: 0, sensor }
    }

    /// Adds up the answers of a record; when there is no room for one, what is there is handed to `write` before.
    pub fn note(&mut self, record: &FlowRecord<'_>, mut write: impl FnMut(&mut Self)) -> Noted {
        let mut noted = Noted::default();
        let Some(AppRef::Dns(dns)) = record.app else { return noted };
        if !is_of_interest(dns) {
            return noted;
        }
        let time = record.end().as_secs();
        let mut kept = 0;
        for text in dns.answers.iter(&dns.memory) {
            kept += 1;
            match Answer::read(text) {
                Some(answer) => {
                    if !self.add(answer, time) {
                        write(self);
                        self.add(answer, time);
                    }
                    noted.answers += 1;
                }
                None => noted.left_out += 1,
            }
        }
        noted.left_out += u64::from(dns.answer_count.unwrap_or_default()).saturating_sub(kept);
        noted
    }

    /// False if there is no room.
    fn add(&mut self, answer: Answer<'_>, time: u64) -> bool {
        let (name, kind) = answer.write_key(&mut self.key);
        if let Some(seen) = self.table.get_mut(&self.key[..]) {
            seen.ttl = seen.ttl.max(answer.ttl);
            seen.first = seen.first.min(time);
            seen.last = seen.last.max(time);
            seen.count += 1;
            return true;
        }
        let octets = self.octets + self.key.len();
        if !self.table.is_empty() && (self.table.len() >= MAX_ENTRIES || octets > MAX_OCTETS) {
            return false;
        }
        self.octets = octets;
        let place = self.table.len() as u32;
        let seen = Seen { place, name, kind, ttl: answer.ttl, first: time, last: time, count: 1 };
        self.table.insert(self.key.as_slice().into(), seen);
        true
    }

    /// Whether it is time to write, when what is there is handed over.
    pub fn is_due(&mut self) -> bool {
        self.hand_overs = (self.hand_overs + 1) % HAND_OVERS;
        self.hand_overs == 0
    }

    /// Hands over all lines, each in the order in which it was seen first, and is empty then.
    pub fn write(&mut self, mut line: impl FnMut(&dyn Fn(&mut Vec<u8>))) {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_unstable_by_key(|(_, seen)| seen.place);
        for (key, seen) in entries {
            line(&|out| write_line(key, seen, self.sensor, out));
        }
        self.table.clear();
        self.octets = 0;
        self.hand_overs = 0;
    }
}

/// Whether what it answers is about the names of all.
fn is_of_interest(dns: &Dns) -> bool {
    dns.variant == Variant::Unicast
        && dns.response_code.is_some()
        && dns.opcode.get() == Some(0)
        && dns.query_class == Some(CLASS_IN)
}

/// An answer record in presentation form, in its parts.
#[derive(Clone, Copy)]
struct Answer<'a> {
    name: &'a [u8],
    ttl: u32,
    kind: &'a [u8],
    data: &'a [u8],
}

impl<'a> Answer<'a> {
    /// `None` of one that is cut, or whose name could not be read. Spaces in names are escaped, so that the first ends the name.
    fn read(text: &'a [u8]) -> Option<Self> {
        if text.len() >= MAX_ANSWER {
            return None;
        }
        let mut parts = text.splitn(4, |octet| *octet == b' ');
        let [name, ttl, kind, data] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let ttl = str::from_utf8(ttl).ok()?.parse().ok()?;
        (name != b"?" && !kind.is_empty()).then_some(Self { name, ttl, kind, data })
    }

    /// Writes what it is known by. Gives the octets of name and type with the space behind each.
    fn write_key(self, key: &mut Vec<u8>) -> (u16, u16) {
        key.clear();
        for part in [self.name, b" ", self.kind, b" ", self.data] {
            key.extend_from_slice(part);
        }
        let (name, kind) = (self.name.len() + 1, self.kind.len() + 1);
        key.iter_mut().take(name).for_each(|octet| octet.make_ascii_lowercase());
        if matches!(self.kind, b"AFSDB" | b"CNAME" | b"DNAME" | b"MX" | b"NS" | b"PTR" | b"RP" | b"SOA" | b"SRV") {
            key.iter_mut().skip(name + kind).for_each(|octet| octet.make_ascii_lowercase());
        }
        // An answer is shorter than either can count.
        (name as u16, kind as u16)
    }
}

fn write_line(key: &[u8], seen: &Seen, sensor: u32, out: &mut Vec<u8>) {
    let (name, rest) = key.split_at_checked(seen.name.into()).unwrap_or_default();
    let (kind, data) = rest.split_at_checked(seen.kind.into()).unwrap_or_default();
    for (before, text) in [(r#"{"rrname":"#, name), (r#","rrtype":"#, kind), (r#","rdata":"#, data)] {
        out.extend_from_slice(before.as_bytes());
        json::write_text(text.strip_suffix(b" ").unwrap_or(text), out);
    }
    for (before, number) in [
        (r#","time_first":"#, seen.first),
        (r#","time_last":"#, seen.last),
        (r#","count":"#, seen.count),
        (r#","ttl":"#, seen.ttl.into()),
        // A text, as the format has it.
        (r#","sensor_id":""#, sensor.into()),
    ] {
        out.extend_from_slice(before.as_bytes());
        json::write_number(number, out);
    }
    out.extend_from_slice(b"\"}\n");
}

#[cfg(test)]
mod tests {
    use weir_flow::{Counters, Timestamp};

    use super::*;

    fn dns(answers: &[&str]) -> Dns {
        let mut dns = Dns { response_code: Some(0), query_class: Some(1), ..Dns::default() };
        dns.opcode.set(0);
        dns.answer_count = Some(answers.len() as u16);
        answers.iter().for_each(|answer| dns.answers.push(answer.as_bytes(), &mut dns.memory));
        dns
    }

    fn note(table: &mut PassiveDns, dns: &Dns, secs: u64, lines: &mut Vec<String>) -> Noted {
        let time = Timestamp::from_secs(secs);
        let forward = Counters { packets: 1, first: time, last: time, ..Counters::default() };
        let record = FlowRecord { forward, app: Some(dns.into()), ..FlowRecord::default() };
        table.note(&record, |table| lines.extend(written(table)))
    }

    fn written(table: &mut PassiveDns) -> Vec<String> {
        let mut lines = Vec::new();
        table.write(|line| {
            let mut text = Vec::new();
            line(&mut text);
            lines.push(String::from_utf8(text).unwrap());
        });
        lines
    }

    #[test]
    fn answers_are_added_up() {
        let mut table = PassiveDns::new(7);
        let mut lines = Vec::new();
        let first = dns(&["wWw.Example.com 60 CNAME A.example.COM", r#"a.example.com 20 TXT "Aa "b\" 60 A c""#]);
        let second = dns(&["www.eXample.com 300 CNAME a.example.com"]);
        assert_eq!(note(&mut table, &first, 1_000, &mut lines), Noted { answers: 2, left_out: 0 });
        assert_eq!(note(&mut table, &second, 900, &mut lines), Noted { answers: 1, left_out: 0 });
        assert!(lines.is_empty());
        assert_eq!(
            written(&mut table),
            [
                "{\"rrname\":\"www.example.com\",\"rrtype\":\"CNAME\",\"rdata\":\"a.example.com\",\"time_first\":900,\
                 \"time_last\":1000,\"count\":2,\"ttl\":300,\"sensor_id\":\"7\"}\n",
                "{\"rrname\":\"a.example.com\",\"rrtype\":\"TXT\",\"rdata\":\"\\\"Aa \\\"b\\\\\\\" 60 A c\\\"\",\"time_first\":1000,\
                 \"time_last\":1000,\"count\":1,\"ttl\":20,\"sensor_id\":\"7\"}\n",
            ]
        );
        assert!(written(&mut table).is_empty());
    }

    #[test]
    fn what_is_not_about_the_names_of_all_is_not_noted() {
        let answer = ["a.local 120 A 192.0.2.1"];
        let mut table = PassiveDns::new(1);
        let mut lines = Vec::new();
        let mut other_class = dns(&answer);
        other_class.query_class = Some(3);
        let mut update = dns(&answer);
        update.opcode.set(5);
        for dns in [
            Dns { variant: Variant::Mdns, ..dns(&answer) },
            Dns { variant: Variant::Llmnr, ..dns(&answer) },
            Dns { response_code: None, ..dns(&answer) },
            other_class,
            update,
        ] {
            assert_eq!(note(&mut table, &dns, 1, &mut lines), Noted::default(), "{dns:?}");
        }
        assert!(written(&mut table).is_empty());
    }

    #[test]
    fn what_is_cut_is_counted_and_left_out() {
        let long = format!("a.b 60 TXT \"{}\"", "x".repeat(600));
        let mut cut = dns(&["a.b 60 A 192.0.2.1", &long, "? 60 A 192.0.2.2", "a.b 60 TYPE65280 \\# 0"]);
        cut.answer_count = Some(40);
        let mut table = PassiveDns::new(1);
        assert_eq!(note(&mut table, &cut, 1, &mut Vec::new()), Noted { answers: 2, left_out: 38 });
        let lines = written(&mut table);
        assert!(lines.len() == 2 && lines[1].contains(r##""rrtype":"TYPE65280","rdata":"\\# 0""##), "{lines:?}");
    }

    #[test]
    fn a_table_that_is_full_is_written_and_nothing_is_lost() {
        for length in [1, 200] {
            let mut table = PassiveDns::new(1);
            let mut lines = Vec::new();
            let mut noted = 0;
            for n in 0..20_000_u64 {
                let answer = format!("{n}.{} 60 A 192.0.2.1", "x".repeat(length));
                noted += note(&mut table, &dns(&[&answer, "often.example 60 A 192.0.2.1"]), n, &mut lines).answers;
                assert!(table.table.len() <= MAX_ENTRIES && table.octets <= MAX_OCTETS);
            }
            assert!(!lines.is_empty());
            lines.extend(written(&mut table));
            let count = |line: &String| {
                let rest = line.split("\"count\":").nth(1).unwrap();
                rest.split(',').next().unwrap().parse::<u64>().unwrap()
            };
            assert_eq!((noted, lines.iter().map(count).sum::<u64>()), (40_000, 40_000));
            assert!(lines.iter().filter(|line| line.contains("often.example")).count() < 10);
        }
    }
}
