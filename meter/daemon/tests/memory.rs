// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--memory` is kept as the system counts it, with all that an allocator leaves unused, not only as we do.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{
    fs,
    io::{BufWriter, Write},
    process::{ChildStdin, Command, Stdio},
};

const MIB: u64 = 1 << 20;

/// A record of a capture file: a TCP segment to port 80, of a flow of its own for each number.
fn segment(flow: u32, number: u32, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let octets = 54 + payload.len() as u32;
    let micros = 5 * number;
    let mut record = Vec::new();
    for word in [1_700_000_000 + micros / 1_000_000, micros % 1_000_000, octets, octets] {
        record.extend(word.to_le_bytes());
    }
    record.extend([2; 12]);
    record.extend([8, 0, 0x45, 0]);
    record.extend((octets as u16 - 14).to_be_bytes());
    record.extend([0, 0, 0, 0, 64, 6, 0, 0, 11]);
    record.extend(&flow.to_be_bytes()[1..]);
    record.extend([10, 0, 0, 1, 0x9c, 0x40, 0, 80]);
    record.extend(sequence.to_be_bytes());
    record.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    record.extend(payload);
    record
}

/// Header of a capture file: microseconds, Ethernet.
const HEADER: [u8; 24] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

/// Heads of HTTP that do not end, of so many flows: a SYN of each, then a segment of each, then another, and so on, so that
/// what is kept of every flow grows while that of all others does.
fn unfinished(flows: u32, segments: u32, to: &mut impl Write) {
    let (begins, goes_on) = ([b"GET /".as_slice(), &[b'a'; 1295]].concat(), [b'a'; 1300]);
    to.write_all(&HEADER).unwrap();
    for step in 0..=segments {
        for flow in 0..flows {
            let number = step * flows + flow;
            let record = match step {
                0 => segment(flow, number, 1000, 2, &[]),
                1 => segment(flow, number, 1001, 0x18, &begins),
                _ => segment(flow, number, 1001 + 1300 * (step - 1), 0x18, &goes_on),
            };
            to.write_all(&record).unwrap();
        }
    }
    to.flush().unwrap();
}

/// Requests of HTTP that nobody answers, of so many flows in step, each longer than the one before.
fn unanswered(flows: u32, requests: u32, to: &mut impl Write) {
    to.write_all(&HEADER).unwrap();
    let mut sequences = vec![1; flows as usize];
    for step in 0..requests {
        for (flow, sequence) in (0..flows).zip(&mut sequences) {
            let [target, agent, referer] = [100 * (1 + step), 200, 50 * (1 + step)].map(|len| "x".repeat(len as usize));
            let request = format!(
                "GET /{target} HTTP/1.1\r\nHost: {flow}.example\r\nUser-Agent: {agent}\r\nReferer: {referer}\r\n\r\n"
            );
            to.write_all(&segment(flow, step * flows + flow, *sequence, 0x18, request.as_bytes())).unwrap();
            *sequence += request.len() as u32;
        }
    }
    to.flush().unwrap();
}

/// A field of a process's status, in octets.
fn status(id: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Runs the meter on packets that `write` writes; gives the most octets that it held, its program left out.
fn held(memory: u64, more: &[&str], write: impl FnOnce(&mut BufWriter<&mut ChildStdin>)) -> Option<u64> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir-meter"))
        .args(["-q", "-r", "-", "--export", "file:/dev/null", "--memory", &format!("{memory}MiB")])
        .args(more)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write(&mut BufWriter::with_capacity(1 << 20, child.stdin.as_mut().unwrap()));
    // It waits for more now; what is left in the pipe is little.
    let peak = status(child.id(), "VmHWM").zip(status(child.id(), "RssFile"));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    peak.map(|(peak, program)| peak - program)
}

/// Holds it to what is allowed, and what the program takes for itself.
fn is_within(memory: u64, held: Option<u64>) {
    let Some(held) = held else {
        println!("skipped: the system does not say how much memory a process holds");
        return;
    };
    assert!(held <= (memory + 4) * MIB, "{} KiB of {memory} MiB", held / 1024);
    assert!(held > memory * MIB / 2, "{} KiB of {memory} MiB: not enough to say something", held / 1024);
}

#[test]
fn unfinished_messages_of_many_flows_stay_within_the_memory_that_is_allowed() {
    for (memory, more, flows, segments) in [
        (200, ["--flows", "80000"].as_slice(), 60_000, 2),
        (64, &["--flows", "40000"], 12_000, 5),
        (48, &["--flows", "20000", "--workers", "2"], 15_000, 2),
    ] {
        is_within(memory, held(memory, more, |to| unfinished(flows, segments, to)));
    }
}

#[test]
fn so_do_texts_that_grow_in_step() {
    for more in [["--flows", "50000"].as_slice(), &["--flows", "50000", "--workers", "2"]] {
        is_within(100, held(100, more, |to| unanswered(40_000, 8, to)));
    }
}
