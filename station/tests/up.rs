// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir up` as a process: what comes in is on the console, and stored when a signal ends it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpStream, UdpSocket},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

/// A message of NetFlow version 5 with one record, of 7 packets and 700 octets.
fn netflow5() -> Vec<u8> {
    let mut message = vec![0, 5, 0, 1];
    // Milliseconds of uptime, seconds and nanoseconds since 1970, sequence number, engine, sampling.
    for word in [60_000_u32, 1_795_183_500, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend([192, 0, 2, 1, 198, 51, 100, 9, 0, 0, 0, 0, 0, 1, 0, 2]);
    for word in [7_u32, 700, 50_000, 59_000] {
        message.extend(word.to_be_bytes());
    }
    // Ports 1024 and 53, padding, flags, UDP, type of service, systems, prefixes, padding.
    message.extend([4, 0, 0, 53, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(message.len(), 24 + 48);
    message
}

fn weir(arguments: &[&str], data: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null());
    command
}

/// What follows `marker` on the line of standard error that has it.
fn announced(lines: &mut impl BufRead, marker: &str) -> String {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(marker) {
            return rest.trim_end().trim_end_matches('/').to_owned();
        }
        line.clear();
    }
    panic!("it ended without saying {marker:?}");
}

fn get(console: &str, path: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(console).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {console}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Sends SIGTERM, and gives what the process still says.
fn end(mut child: Child, mut lines: BufReader<ChildStderr>) -> String {
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let mut said = String::new();
    lines.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    said
}

#[test]
fn a_record_is_shown_and_stored() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["up", "--listen", "udp://127.0.0.1:0", "--console", "127.0.0.1:0"];
    let mut child = weir(&arguments, dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let console = announced(&mut lines, "console at http://");
    let collector = announced(&mut lines, "listening on udp://");

    let before = get(&console, "/api/status");
    assert_eq!(before["collecting"].as_bool(), Some(true));
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&netflow5(), collector).unwrap();
    // The records of the last second are stored, and the counters read several times a second: ask until both show.
    let deadline = Instant::now() + Duration::from_secs(60);
    let exporter = loop {
        assert!(Instant::now() < deadline, "the record does not show");
        let status = get(&console, "/api/status");
        let flows = get(&console, "/api/query?filter=src%20ip%20192.0.2.1");
        if status["exporters"].as_array().is_some_and(|e| !e.is_empty())
            && flows["flows"].as_array().is_some_and(|f| !f.is_empty())
        {
            assert_eq!(flows["flows"][0]["octetDeltaCount"].as_u64(), Some(700));
            break status["exporters"][0].clone();
        }
        std::thread::yield_now();
    };
    assert_eq!((exporter["protocol"].as_str(), exporter["records"].as_u64()), (Some("NetFlow v5"), Some(1)));
    assert_eq!(get(&console, "/api/alerts")["judged"].as_bool(), Some(true));

    let said = end(child, lines);
    assert!(said.contains("1 records received, 1 stored"), "{said}");
}

#[test]
fn what_is_in_flight_is_stored_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["up", "--listen", "udp://127.0.0.1:0", "--console", "127.0.0.1:0"];
    let mut child = weir(&arguments, dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let collector = announced(&mut lines, "listening on udp://");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&netflow5(), collector).unwrap();
    let said = end(child, lines);
    assert!(said.contains("1 records received, 1 stored"), "{said}");

    // The console alone, over the same store.
    let mut child = weir(&["console", "--console", "127.0.0.1:0"], dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let console = announced(&mut lines, "console at http://");
    assert_eq!(get(&console, "/api/top?stat=srcip/bytes")["rows"][0]["bytes"].as_u64(), Some(700));
    assert_eq!(get(&console, "/api/status")["collecting"].as_bool(), Some(false));
    end(child, lines);
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["up", "--listen", "udp://127.0.0.1:0", "--console", "0.0.0.0:0"];
    let output = weir(&arguments, dir.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("neither TLS nor a login") && said.contains("--console-without-tls"), "{said}");
}
