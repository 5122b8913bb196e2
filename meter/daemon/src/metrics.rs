// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters for Prometheus: its text format (version 0.0.4) over HTTP/1.1, `GET /metrics` and nothing else.
//!
//! A few requests are answered at a time, each within a few seconds: whoever is slow is cut off.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use weir_export::SinkCounters;
use weir_metering::live::Progress;

use crate::{
    board::{Board, Family, NIC, Picture, SENT, WORKER},
    serve,
};

/// Longest request.
const MAX_REQUEST: usize = 8192;
/// Reads that are made of the rest of one that is longer.
const MAX_REST: usize = 64;
/// How long a request, and the taking of its answer, may last.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers requests on threads of its own.
///
/// # Errors
///
/// If the system gives no thread.
pub fn serve(listener: TcpListener, board: Arc<Board>) -> io::Result<()> {
    let accept = move || listener.accept().map(|(stream, _)| stream);
    // Whoever does not wait for the answer does not get it.
    serve::each("metrics", accept, move |stream| drop(answer(&stream, &board)))
}

fn answer(mut stream: &TcpStream, board: &Board) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let end = Instant::now() + PATIENCE;
    let request = read_request(stream, end)?;
    let (status, body) = match &request {
        Some(request) => respond(request, &|| text(&board.read())),
        None => ("431 Request Header Fields Too Large", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    if request.is_none() {
        // Closed with something unread, the connection is reset, and the answer may be lost (RFC 9112, 9.6).
        stream.shutdown(Shutdown::Write)?;
        let mut rest = [0; 1024];
        for _ in 0..MAX_REST {
            if read_some(stream, &mut rest, end)? == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Status and body for the head of a request.
fn respond(request: &[u8], metrics: &dyn Fn() -> String) -> (&'static str, String) {
    let line = request.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let mut words = line.split(|octet| *octet == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
    match (method, path) {
        (Some(b"GET"), b"/metrics") => ("200 OK", metrics()),
        (Some(b"GET"), _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    }
}

/// Reads until the empty line behind the head; `None` if that is too long.
fn read_request(stream: &TcpStream, end: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST {
            return Ok(None);
        }
        match read_some(stream, &mut part, end)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            octets => request.extend_from_slice(part.get(..octets).unwrap_or_default()),
        }
    }
    Ok(Some(request))
}

/// Reads what comes, until then at most.
fn read_some(mut stream: &TcpStream, part: &mut [u8], end: Instant) -> io::Result<usize> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(part)
}

/// All counters as Prometheus reads them.
pub fn text(now: &Picture) -> String {
    let mut text = String::new();
    let by_interface =
        |index: usize| now.interfaces.iter().map(move |i| (i.name.as_str(), i.nic.values().get(index).copied()));
    for (index, (name, meaning)) in NIC.definitions.iter().enumerate() {
        head(&mut text, &NIC, name, meaning);
        for (interface, value) in by_interface(index) {
            sample(&mut text, &NIC, name, &format!("interface=\"{}\"", escaped(interface)), value.unwrap_or(0));
        }
    }
    let meaning = "what the driver of the interface counts that speaks of loss, under its own names";
    text.push_str(&format!(
        "# HELP weir_meter_driver_total {meaning} (ethtool -S).\n# TYPE weir_meter_driver_total counter\n"
    ));
    for interface in &now.interfaces {
        for (name, value) in &interface.driver {
            let (interface, name) = (escaped(&interface.name), escaped(name));
            let _ = writeln!(text, "weir_meter_driver_total{{interface=\"{interface}\",counter=\"{name}\"}} {value}");
        }
    }
    for (family, values) in WORKER {
        for (index, (name, meaning)) in family.definitions.iter().enumerate() {
            head(&mut text, family, name, meaning);
            for interface in &now.interfaces {
                for (number, worker) in interface.workers.iter().enumerate() {
                    let labels = format!("interface=\"{}\",worker=\"{number}\"", escaped(&interface.name));
                    sample(&mut text, family, name, &labels, values(worker).get(index).copied().unwrap_or(0));
                }
            }
        }
    }
    for (index, (name, meaning)) in SENT.definitions.iter().enumerate() {
        head(&mut text, &SENT, name, meaning);
        for destination in &now.destinations {
            let value = destination.counters.values().get(index).copied().unwrap_or(0);
            sample(&mut text, &SENT, name, &format!("destination=\"{}\"", escaped(&destination.name)), value);
        }
    }
    push_gauges(&mut text, now);
    text
}

/// What is so at the time.
fn push_gauges(text: &mut String, now: &Picture) {
    type Gauge = (&'static str, &'static str, fn(&Progress<SinkCounters>) -> u64);
    let gauges: [Gauge; 2] = [
        ("flows", "Flows in the cache", |worker| worker.flows),
        ("capturing", "Whether the worker has a source, and its interface is up", |worker| worker.is_capturing.into()),
    ];
    for (gauge, meaning, value) in gauges {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "# HELP weir_meter_{gauge} {meaning}.\n# TYPE weir_meter_{gauge} gauge");
        for interface in &now.interfaces {
            let name = escaped(&interface.name);
            for (number, worker) in interface.workers.iter().enumerate() {
                let value = value(worker);
                let _ = writeln!(text, "weir_meter_{gauge}{{interface=\"{name}\",worker=\"{number}\"}} {value}");
            }
        }
    }
    let gauge = "weir_meter_destination_given_up";
    let _ = writeln!(text, "# HELP {gauge} Whether no more records go there.\n# TYPE {gauge} gauge");
    for destination in &now.destinations {
        let name = escaped(&destination.name);
        let _ = writeln!(text, "{gauge}{{destination=\"{name}\"}} {}", u8::from(destination.has_ended));
    }
}

/// A number that may fall is no counter.
fn kind(name: &str) -> &'static str {
    if name == "waiting_packets" { "gauge" } else { "counter" }
}

fn full_name(family: &Family, name: &str) -> String {
    let suffix = if kind(name) == "counter" { "_total" } else { "" };
    format!("weir_meter_{}_{name}{suffix}", family.name)
}

fn head(text: &mut String, family: &Family, name: &str, meaning: &str) {
    let full = full_name(family, name);
    let _ = writeln!(text, "# HELP {full} {}\n# TYPE {full} {}", meaning.replace('\\', "\\\\"), kind(name));
}

fn sample(text: &mut String, family: &Family, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{}{{{labels}}} {value}", full_name(family, name));
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
