// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters for Prometheus: its text format (version 0.0.4) over HTTP/1.1, `GET /metrics` and nothing else.
//!
//! Requests are answered one after the other, each within a few seconds: whoever is slow is cut off.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::board::{Board, Family, NIC, Picture, SENT, WORKER};

/// Longest request.
const MAX_REQUEST: usize = 8192;
/// How long a request, and the taking of its answer, may last.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers requests on a thread of its own.
///
/// # Errors
///
/// If the system gives no thread.
pub fn serve(listener: TcpListener, board: Arc<Board>) -> io::Result<()> {
    let work = move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => drop(answer(&stream, &board)),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(work).map(drop)
}

fn answer(mut stream: &TcpStream, board: &Board) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = read_request(stream)?;
    let line = request.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let mut words = line.split(|octet| *octet == b' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", text(&board.read())),
        (Some(b"GET"), Some(_)) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())
}

/// Reads until the empty line behind the head.
fn read_request(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || request.len() > MAX_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            octets => request.extend_from_slice(part.get(..octets).unwrap_or_default()),
        }
    }
    Ok(request)
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
    text.push_str("# HELP weir_meter_flows Flows in the cache.\n# TYPE weir_meter_flows gauge\n");
    for interface in &now.interfaces {
        for (number, worker) in interface.workers.iter().enumerate() {
            let name = escaped(&interface.name);
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "weir_meter_flows{{interface=\"{name}\",worker=\"{number}\"}} {}", worker.flows);
        }
    }
    text
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
