// SPDX-License-Identifier: MIT OR Apache-2.0
//! `weir replay`: messages of an IPFIX file to a collector.

use std::{
    fs,
    io::Write,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use weir_ipfix::message::Header;

use crate::Usage;

/// Send the messages of an IPFIX file to a collector, as they are
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file
    file: PathBuf,

    /// Where to: udp://HOST:PORT or tcp://HOST:PORT
    #[arg(long, value_name = "URL")]
    to: String,

    /// Messages per second; 0 is as fast as they go
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u32,
}

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// Sends all messages. A file that is damaged is sent up to the damage.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let bytes = fs::read(&arguments.file).with_context(|| arguments.file.display().to_string())?;
    let mut way = connect(&arguments.to)?;
    let start = Instant::now();
    let (mut at, mut sent) = (0, 0_u32);
    let damage = loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break None;
        }
        let header = match Header::parse(rest) {
            Ok(header) => header,
            Err(error) => break Some(error),
        };
        let message = rest.get(..usize::from(header.length)).unwrap_or(rest);
        if arguments.rate > 0 {
            let due = Duration::from_secs_f64(f64::from(sent) / f64::from(arguments.rate));
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        match &mut way {
            Way::Udp(socket) => socket.send(message).map(drop),
            Way::Tcp(stream) => stream.write_all(message),
        }
        // Not as a cause: a pipe that broke there is no reader of ours that has had enough.
        .map_err(|error| anyhow!("{} went away after {sent} messages: {error}", arguments.to))?;
        at += message.len();
        sent += 1;
    };
    eprintln!("weir: {sent} messages, {at} octets sent to {}", arguments.to);
    if let Some(error) = damage {
        eprintln!("weir: {}: damaged at byte {at}: {error}", arguments.file.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn connect(url: &str) -> anyhow::Result<Way> {
    let cannot = || format!("cannot reach {url}");
    match url.split_once("://") {
        Some(("tcp", address)) => Ok(Way::Tcp(TcpStream::connect(address).with_context(cannot)?)),
        Some(("udp", address)) => {
            let address = address.to_socket_addrs().with_context(cannot)?.next().with_context(cannot)?;
            let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.connect(address).with_context(cannot)?;
            Ok(Way::Udp(socket))
        }
        _ => bail!(Usage(format!("--to: '{url}' is neither udp://HOST:PORT nor tcp://HOST:PORT"))),
    }
}
