// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a demo prints: what was seen, that nothing is missing, and the first answers.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use serde_json::Value;
use weir_analysis::civil;
use weir_flow::{Timestamp, ledger::Ignored};
use weir_store::{SqlFormat, Store};

use super::Run;
use crate::query::{DEFAULT_DATA, block_on};

/// Rows of each answer.
const ROWS: usize = 6;

/// One answer: its title, the question, and the columns: title, name in the answer, whether it is a number of octets.
struct Answer {
    title: &'static str,
    sql: &'static str,
    columns: &'static [(&'static str, &'static str, Form)],
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Number,
    Octets,
}
use Form::{Number, Octets, Text};

const ANSWERS: &[Answer] = &[
    Answer {
        title: "Top talkers",
        sql: "select ip, sum(octets) as octets, sum(packets) as packets, count(*) as records from ( \
              select src_ip as ip, octets + reverse_octets as octets, packets + reverse_packets as packets from flows \
              union all \
              select dst_ip, octets + reverse_octets, packets + reverse_packets from flows) \
              group by ip order by octets desc, ip limit 6",
        columns: &[
            ("host", "ip", Text),
            ("octets", "octets", Octets),
            ("packets", "packets", Number),
            ("records", "records", Number),
        ],
    },
    Answer {
        title: "DNS names asked for",
        sql: "select dns_query_name as name, count(*) as queries, \
              sum(case when dns_response_code = 3 then 1 else 0 end) as missing from flows \
              where dns_query_name is not null group by 1 order by queries desc, name limit 6",
        columns: &[("name", "name", Text), ("queries", "queries", Number), ("no such name", "missing", Number)],
    },
    Answer {
        title: "HTTP hosts",
        sql: "select http_request_host as host, count(*) as requests, min(http_user_agent) as agent, \
              sum(case when http_status_code >= 400 then 1 else 0 end) as errors from flows \
              where http_request_host is not null group by 1 order by requests desc, host limit 6",
        columns: &[
            ("host", "host", Text),
            ("requests", "requests", Number),
            ("errors", "errors", Number),
            ("a user agent", "agent", Text),
        ],
    },
    Answer {
        title: "TLS server names",
        sql: "select tls_server_name as name, count(*) as handshakes, count(distinct tls_ja4) as clients, \
              sum(octets + reverse_octets) as octets from flows \
              where tls_server_name is not null group by 1 order by handshakes desc, name limit 6",
        columns: &[
            ("name", "name", Text),
            ("handshakes", "handshakes", Number),
            ("JA4", "clients", Number),
            ("octets", "octets", Octets),
        ],
    },
    Answer {
        title: "SIP calls",
        sql: "select sip_from_uri as caller, sip_to_uri as called, count(*) as calls, \
              max(array_element(sip_status_code, -1)) as status from flows \
              where sip_method = 'INVITE' group by 1, 2 order by calls desc, caller, called limit 6",
        columns: &[
            ("from", "caller", Text),
            ("to", "called", Text),
            ("calls", "calls", Number),
            ("last status", "status", Number),
        ],
    },
    Answer {
        title: "Mails",
        sql: "select smtp_mail_from as sender, array_to_string(smtp_rcpt_to, ' ') as recipients, smtp_subject as subject \
              from flows where smtp_mail_from is not null order by flow_start, sender limit 6",
        columns: &[("from", "sender", Text), ("to", "recipients", Text), ("subject", "subject", Text)],
    },
];

/// Prints the report; true if nothing is missing anywhere.
pub fn print(run: &Run, data: &Path) -> anyhow::Result<bool> {
    let mut page = Page { out: io::stdout().lock(), styled: io::stdout().is_terminal() };
    page.captured(run)?;
    let complete = page.ledger(run)?;
    let store = Store::open(data)?;
    for answer in ANSWERS {
        page.answer(answer, &store)?;
    }
    page.alerts(run)?;
    page.further(data)?;
    Ok(complete)
}

struct Page<W> {
    out: W,
    styled: bool,
}

impl<W: Write> Page<W> {
    fn title(&mut self, text: &str) -> io::Result<()> {
        if self.styled { writeln!(self.out, "\n\x1b[1m{text}\x1b[0m") } else { writeln!(self.out, "\n{text}") }
    }

    fn captured(&mut self, run: &Run) -> io::Result<()> {
        let of = |name: &str| run.ledger.get(name).copied().unwrap_or(0);
        self.title("Captured")?;
        let (packets, octets) = (of("metered.delivered_packets"), of("metered.delivered_octets"));
        writeln!(self.out, "  {} captures, {} packets, {}", run.captures, grouped(packets), scaled(octets))?;
        if let Some((first, last)) = run.span {
            let at = |ns| civil::rfc3339(Timestamp::from_nanos(ns));
            let span = Duration::from_nanos(last - first);
            writeln!(self.out, "  from {} to {}, {} apart", at(first), at(last), lasting(span))?;
        }
        for damaged in &run.damaged {
            writeln!(self.out, "  not read to its end: {damaged}")?;
        }
        Ok(())
    }

    /// Each line is an equation; what does not hold is marked.
    fn ledger(&mut self, run: &Run) -> io::Result<bool> {
        let of = |name: &str| run.ledger.get(name).copied().unwrap_or(0);
        let ignored: Vec<_> =
            Ignored::DEFINITIONS.iter().map(|(name, meaning)| (of(&format!("ignored.{name}")), *meaning)).collect();
        let ignored_packets: u64 = ignored.iter().map(|i| i.0).sum();
        let (seen, metered) = (of("metered.delivered_packets"), of("metered.metered_packets"));
        self.title("Ledger")?;
        let packets = seen == metered + ignored_packets;
        self.equation(
            packets,
            &format!(
                "{} packets seen = {} metered + {} ignored",
                grouped(seen),
                grouped(metered),
                grouped(ignored_packets)
            ),
        )?;
        for (count, meaning) in ignored.iter().filter(|i| i.0 > 0) {
            writeln!(self.out, "      {} ignored: {}", grouped(*count), meaning.trim())?;
        }
        let created = of("metered.records_created");
        let steps = [
            ("made", created),
            ("exported", of("sent.records_sent")),
            ("received", run.snapshot.decoded.records),
            ("stored", run.stored.stored_records),
        ];
        let records = steps.iter().all(|s| s.1 == created);
        let text: Vec<String> = steps.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
        self.equation(records, &format!("records: {}", text.join(if records { " = " } else { " | " })))?;
        let judged = &run.judged;
        let left_out = judged.off_wall + judged.off_clock;
        let all_judged =
            judged.records == created && judged.judged + judged.without_packets + left_out == judged.records;
        let mut text = format!("{} of them judged", grouped(judged.judged));
        for (count, why) in [
            (judged.without_packets, "further transactions of packets that were judged"),
            (left_out, "too far from the time of the records around them"),
        ] {
            if count > 0 {
                text.push_str(&format!(" + {} {why}", grouped(count)));
            }
        }
        self.equation(all_judged, &text)?;
        let flows = of("metered.flows_created");
        writeln!(
            self.out,
            "      of {} flows, with {} application transactions; {} messages, {} templates over TCP",
            grouped(flows),
            grouped(of("metered.transactions")),
            grouped(run.snapshot.decoded.messages),
            grouped(run.snapshot.decoded.templates_learned),
        )?;
        let lost = run.snapshot.decoded.lost_records;
        self.equation(lost == 0, &format!("{} records missing by sequence numbers", grouped(lost)))?;
        Ok(packets && records && all_judged && lost == 0 && run.damaged.is_empty())
    }

    fn equation(&mut self, holds: bool, text: &str) -> io::Result<()> {
        let (mark, colour) = if holds { ("✓", "32") } else { ("✗", "31") };
        if self.styled {
            writeln!(self.out, "  \x1b[{colour}m{mark}\x1b[0m {text}")
        } else {
            writeln!(self.out, "  {mark} {text}")
        }
    }

    fn answer(&mut self, answer: &Answer, store: &Store) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        block_on(store.sql(answer.sql, SqlFormat::Json, &mut lines))??;
        let rows: Vec<Value> =
            lines.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).take(ROWS).collect();
        self.title(answer.title)?;
        if rows.is_empty() {
            writeln!(self.out, "  none")?;
            return Ok(());
        }
        let cell = |row: &Value, (_, name, form): &(&str, &str, Form)| {
            let value = &row[*name];
            let number = value.as_u64().unwrap_or(0);
            match form {
                Text => shortened(value.as_str().unwrap_or("-")),
                Number if value.is_null() => "-".to_owned(),
                Number => grouped(number),
                Octets => scaled(number),
            }
        };
        let mut table: Vec<Vec<String>> = vec![answer.columns.iter().map(|c| c.0.to_owned()).collect()];
        table.extend(rows.iter().map(|row| answer.columns.iter().map(|c| cell(row, c)).collect()));
        self.table(&table, answer.columns)?;
        Ok(())
    }

    fn table(&mut self, table: &[Vec<String>], columns: &[(&str, &str, Form)]) -> io::Result<()> {
        let width = |column: usize| {
            table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        for (i, row) in table.iter().enumerate() {
            let mut line = String::from("  ");
            for (column, (cell, (_, _, form))) in row.iter().zip(columns).enumerate() {
                let width = width(column);
                line.push_str(&if *form == Text { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") });
            }
            let line = line.trim_end();
            if i == 0 && self.styled {
                writeln!(self.out, "\x1b[2m{line}\x1b[0m")?;
            } else {
                writeln!(self.out, "{line}")?;
            }
        }
        Ok(())
    }

    fn alerts(&mut self, run: &Run) -> io::Result<()> {
        self.title("Alerts")?;
        if run.alerts.is_empty() {
            writeln!(self.out, "  none")?;
        }
        for alert in &run.alerts {
            let severity = format!("{:?}", alert.severity).to_lowercase();
            writeln!(self.out, "  {:<8} {}", severity, alert.description)?;
            writeln!(self.out, "           weir query -t '{}' '{}'", alert.evidence.window, alert.evidence.filter)?;
        }
        Ok(())
    }

    fn further(&mut self, data: &Path) -> io::Result<()> {
        let data = if data == Path::new(DEFAULT_DATA) { String::new() } else { format!(" --data {}", data.display()) };
        let weir = std::env::current_exe().ok();
        let here = std::env::current_dir().ok();
        let weir = match (&weir, &here) {
            (Some(weir), Some(here)) => weir.strip_prefix(here).unwrap_or(weir).display().to_string(),
            _ => "weir".to_owned(),
        };
        self.title("Ask further")?;
        for (command, what) in [
            (format!("{weir} query{data} -s ip/bytes -n 5"), "who sent and received most"),
            (format!("{weir} query{data} -o long 'dst port 443 and bytes > 1k'"), "flows, in nfdump's language"),
            (format!("{weir} query{data} -s tls.sni -n 10 'exists tls.sni'"), "any field of an application"),
            (format!("{weir} sql{data} 'describe flows'"), "all columns, for SQL"),
            (
                format!(
                    "{weir} detect --read {}",
                    if data.is_empty() { DEFAULT_DATA } else { data.trim_start_matches(" --data ") }
                ),
                "the alerts again, as JSON",
            ),
            (format!("{weir} console{data}"), "all this in a browser"),
            (format!("{weir} --help"), "and the rest"),
        ] {
            writeln!(self.out, "  {command:<66} {what}")?;
        }
        Ok(())
    }
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of octets in the unit that suits it.
fn scaled(octets: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = octets as f64;
    for unit in ["octets", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "octets" { format!("{octets} {unit}") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

fn lasting(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..120 => format!("{:.1} s", span.as_secs_f64()),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// Text of the network on a terminal: no control characters, and not too long.
fn shortened(text: &str) -> String {
    const MOST: usize = 48;
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.chars().count() <= MOST {
        return clean;
    }
    clean.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(scaled), ["0 octets", "999 octets", "1.0 kB", "1.2 MB"]);
    }

    #[test]
    fn text_of_the_network_cannot_play_with_the_terminal() {
        assert_eq!(shortened("a\x1b[31mb"), "a\u{fffd}[31mb");
        assert_eq!(shortened(&"x".repeat(100)).chars().count(), 48);
    }
}
