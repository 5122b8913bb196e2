// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said of a flow whose application is known, or is not, beside the fields of its transactions.

#![expect(clippy::unwrap_used, reason = "a program that does not run fails the test")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const SECOND: u64 = 1_700_000_000;

/// One packet of TCP from or to a server, seconds after the beginning.
struct Segment<'a> {
    at: u64,
    server_port: u16,
    from_server: bool,
    sequence: u32,
    flags: u8,
    payload: &'a [u8],
}

fn packet(segment: &Segment<'_>) -> Vec<u8> {
    let Segment { at, server_port, from_server, sequence, flags, payload } = *segment;
    let [client, server] = [([10, 0, 0, 1], 40_000_u16), ([10, 0, 0, 2], server_port)];
    let [(from, source), (to, destination)] = if from_server { [server, client] } else { [client, server] };
    let octets = (40 + payload.len() as u16).to_be_bytes();
    let ip = [&[0x45, 0, octets[0], octets[1], 0, 0, 0, 0, 64, 6, 0, 0][..], &from, &to].concat();
    let ports = [source, destination].map(u16::to_be_bytes);
    let tcp = [ports.as_flattened(), &sequence.to_be_bytes(), &[0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]].concat();
    let frame = [&[2; 12][..], &[0x08, 0x00], &ip, &tcp, payload].concat();
    let len = frame.len() as u32;
    let header = [(SECOND + at) as u32, 0, len, len];
    [header.map(u32::to_le_bytes).as_flattened(), &frame].concat()
}

fn meter(test: &str, segments: &[Segment<'_>], flags: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.pcap"));
    let mut file = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).as_flattened().to_vec();
    segments.iter().for_each(|segment| file.extend(packet(segment)));
    fs::write(&path, file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-meter"));
    command.args(["-r", path.to_str().unwrap(), "--export", "json:-", "--active-timeout", "20s"]).args(flags);
    command.output().unwrap()
}

/// An exchange of HTTP, and acknowledgments for a while.
fn known() -> Vec<Segment<'static>> {
    let segment = |at, from_server, sequence, flags, payload| Segment {
        at,
        server_port: 8081,
        from_server,
        sequence,
        flags,
        payload,
    };
    let mut segments = vec![
        segment(0, false, 99, 0x02, &b""[..]),
        segment(0, false, 100, 0x18, b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        segment(0, true, 500, 0x18, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    segments.extend((1..7).map(|step| segment(step * 10, false, 136, 0x10, &b""[..])));
    segments
}

#[test]
fn every_record_of_a_recognised_flow_names_its_application() {
    let Output { status, stdout, stderr } = meter("named", &known(), &["-q"]);
    assert!(status.success(), "{stderr:?}");
    let lines: Vec<_> = str::from_utf8(&stdout).unwrap().lines().collect();
    assert!(lines.len() >= 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("\"applicationName\":\"http\"")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("httpRequestTarget")).count(), 1, "{lines:?}");
}

#[test]
fn what_is_not_recognised_is_told_by_port() {
    let mut segments = known();
    let unknown =
        |at, payload| Segment { at, server_port: 9999, from_server: false, sequence: 1, flags: 0x18, payload };
    segments.push(unknown(60, &[0xf0; 60][..]));
    // A connection attempt has no payload.
    segments.push(Segment { server_port: 7777, flags: 0x02, ..unknown(60, &[]) });
    let Output { stderr, .. } = meter("unrecognised", &segments, &["-q", "--unrecognised"]);
    let text = String::from_utf8(stderr).unwrap();
    let octets = segments.iter().map(|segment| 40 + segment.payload.len()).sum::<usize>();
    assert!(text.starts_with(&format!("not recognised: 100 of {octets} octets, 1 of ")), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains("\n  tcp/9999 ") && text.ends_with(" 100 octets             1 packets           1 records\n"),
        "{text}"
    );
}
