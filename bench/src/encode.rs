// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exporting process alone: records made in memory, encoded and written to a file, as fast as it takes them.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weir_export::{Destination, Exporter, ExporterConfig, Format, Transport};
use weir_flow::{
    Counters, EndReason, FlowKey, FlowRecord, RecordSink, Timestamp,
    app::{Dns, Http},
    protocol, tcp_flags,
};

use crate::machine::process_time;

/// Records of each kind that are made; they are handed over again and again.
const PREPARED: usize = 1024;

/// What records are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Kind {
    /// One SYN over IPv4, each of another flow: the smallest record.
    Syn,
    /// TCP over IPv4 in both directions.
    Biflow,
    /// UDP over IPv6 in both directions.
    V6,
    /// DNS transactions over IPv4, with two answers.
    Dns,
    /// HTTP transactions over IPv4.
    Http,
    /// All of these in turn: hardly two records in a row have one template.
    Mixed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Syn, Self::Biflow, Self::V6, Self::Dns, Self::Http, Self::Mixed];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Biflow => "biflow",
            Self::V6 => "v6",
            Self::Dns => "dns",
            Self::Http => "http",
            Self::Mixed => "mixed",
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Octets in the file.
    pub octets: u64,
    /// Time on the wall.
    pub wall: Duration,
    /// Time of all threads in user mode.
    pub user: Duration,
    /// Time of all threads in the kernel.
    pub system: Duration,
}

/// Application fields of the records.
#[derive(Debug)]
pub struct Fields {
    dns: Dns,
    http: Http,
}

impl Default for Fields {
    fn default() -> Self {
        let mut dns = Dns { transaction_id: Some(0x1234), query_type: Some(1), query_class: Some(1), ..Dns::default() };
        (dns.response_code, dns.answer_count) = (Some(0), Some(2));
        dns.query_name.set(b"www.example.net", &mut dns.memory);
        for last in [1, 2] {
            dns.answer_ipv4.push([192, 0, 2, last], &mut dns.memory);
            dns.answers.push(format!("www.example.net 300 A 192.0.2.{last}").as_bytes(), &mut dns.memory);
        }
        let mut http = Http { status_code: Some(200), ..Http::default() };
        http.request_method.set(b"GET", &mut http.memory);
        http.request_target.set(b"/a/path/to/some/page.html?with=query", &mut http.memory);
        http.request_host.set(b"www.example.net", &mut http.memory);
        http.user_agent
            .set(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", &mut http.memory);
        Self { dns, http }
    }
}

impl Fields {
    /// Records of a kind.
    #[must_use]
    pub fn records(&self, kind: Kind) -> Vec<FlowRecord<'_>> {
        (0..PREPARED).map(|n| self.record(kind, u32::try_from(n).unwrap_or(0))).collect()
    }

    fn record(&self, kind: Kind, n: u32) -> FlowRecord<'_> {
        let kind = match (kind, n % 5) {
            (Kind::Mixed, 0) => Kind::Syn,
            (Kind::Mixed, 1) => Kind::Biflow,
            (Kind::Mixed, 2) => Kind::V6,
            (Kind::Mixed, 3) => Kind::Dns,
            (Kind::Mixed, _) => Kind::Http,
            (kind, _) => kind,
        };
        let [.., a, b] = n.to_be_bytes();
        let v6 = |last| [0x2001, 0xdb8, 0, 0, 0, 0, last, u16::from_be_bytes([a, b])].into();
        let port = 1024 + u16::from_be_bytes([a, b]);
        let (v4, server) = ([10, 0, a, b].into(), [192, 0, 2, 1].into());
        let key = match kind {
            Kind::Syn | Kind::Biflow | Kind::Http => FlowKey::new(v4, server, port, 80, protocol::TCP),
            Kind::V6 => FlowKey::new(v6(1), v6(2), port, 443, protocol::UDP),
            Kind::Dns | Kind::Mixed => FlowKey::new(v4, server, port, 53, protocol::UDP),
        };
        let counters = |packets, tcp_flags| Counters {
            packets,
            octets: 60 * packets,
            first: Timestamp::from_millis(1_700_000_000_000 + u64::from(n)),
            last: Timestamp::from_millis(1_700_000_000_000 + u64::from(n) + 10 * packets),
            tcp_flags: if key.protocol == protocol::TCP { tcp_flags } else { 0 },
        };
        let all = tcp_flags::SYN | tcp_flags::ACK | tcp_flags::FIN;
        FlowRecord {
            key,
            forward: if kind == Kind::Syn { counters(1, tcp_flags::SYN) } else { counters(12, all) },
            reverse: if kind == Kind::Syn { Counters::default() } else { counters(17, all) },
            flow_id: 0x1234_5678_9abc_def0 + u64::from(n),
            end_reason: EndReason::IDLE,
            app: match kind {
                Kind::Dns => Some((&self.dns).into()),
                Kind::Http => Some((&self.http).into()),
                _ => None,
            },
            ..FlowRecord::default()
        }
    }
}

/// Exports so many records of a kind to a file of this format, which is made anew.
///
/// # Errors
///
/// The file cannot be written, or not all records got there.
pub fn run(kind: Kind, count: u64, format: Format, file: &Path) -> Result<Run> {
    let fields = Fields::default();
    let records = fields.records(kind);
    let destination: Destination = Destination { format, transport: Transport::File(file.to_owned()) };
    let exporter = Exporter::start(&ExporterConfig { destinations: vec![destination], ..ExporterConfig::default() })?;
    let mut sink = exporter.sink();
    let (before, wall) = (process_time(), Instant::now());
    let mut left = count;
    while left > 0 {
        for record in records.iter().take(usize::try_from(left).unwrap_or(PREPARED)) {
            sink.record(record);
        }
        left = left.saturating_sub(records.len() as u64);
    }
    let (_, reports) = exporter.finish(vec![sink]);
    let wall = wall.elapsed();
    let (user, system) = before.zip(process_time()).map_or_else(Default::default, |(b, a)| (a.0 - b.0, a.1 - b.1));
    let counters = reports.first().context("no destination")?.counters;
    ensure!(counters.records_sent == count, "{} records sent, not {count}", counters.records_sent);
    Ok(Run { octets: counters.octets_sent, wall, user, system })
}

/// The table of medians.
#[must_use]
pub fn table(count: u64, results: &[(Kind, Vec<Run>)]) -> String {
    let mut text = format!("{count} records to a file; time of all threads, medians of runs\n");
    text += "kind      octets/record   user ns   system ns   ns/record   records/CPU s   wall ns\n";
    for (kind, runs) in results {
        let records = count.max(1) as f64;
        let median = |of: &dyn Fn(&Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let nanos = |time: Duration| time.as_secs_f64() * 1e9 / records;
        let cpu = median(&|run| nanos(run.user + run.system));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<8} {:>14.1} {:>9.1} {:>11.1} {:>11.1} {:>13.2} M {:>9.1}",
            kind.name(),
            median(&|run| run.octets as f64 / records),
            median(&|run| nanos(run.user)),
            median(&|run| nanos(run.system)),
            cpu,
            1e3 / cpu,
            median(&|run| nanos(run.wall)),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_kind_get_into_the_file() {
        let file = std::env::temp_dir().join(format!("weir-bench-{}.ipfix", std::process::id()));
        for (kind, format) in Kind::ALL.into_iter().flat_map(|kind| [(kind, Format::Ipfix), (kind, Format::Json)]) {
            let run = run(kind, 2_000, format, &file).unwrap();
            assert_eq!(std::fs::metadata(&file).unwrap().len(), run.octets, "{} {format:?}", kind.name());
        }
        std::fs::remove_file(&file).unwrap();
    }
}
