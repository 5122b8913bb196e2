// SPDX-License-Identifier: MIT OR Apache-2.0
//! pmacctd with its plugin nfprobe, IPFIX in datagrams to a local collector.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{ACTIVE_TIMEOUT, Counts, Found, IDLE_TIMEOUT, Setup, Subject, Transport};
use crate::collector::{Collected, found};

pub struct Pmacctd(pub PathBuf);

/// Octets between its two processes. With less it loses packets, and says so only in its log.
const MAX_PIPE: u64 = 4_000_000_000;
const PIPE_PER_PACKET: u64 = 2_000;
const MIN_PIPE: u64 = 16_000_000;

impl Subject for Pmacctd {
    fn name(&self) -> &str {
        "pmacctd nfprobe"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let timeouts: String =
            ["tcp", "tcp.rst", "tcp.fin", "udp", "icmp", "general"].map(|n| format!("{n}={IDLE_TIMEOUT}:")).concat();
        let pipe = (PIPE_PER_PACKET * setup.truth.packets).clamp(MIN_PIPE, MAX_PIPE);
        let lines = [
            "daemonize: false".to_owned(),
            format!("pcap_savefile: {}", setup.trace.display()),
            "plugins: nfprobe".to_owned(),
            "aggregate: src_host,dst_host,src_port,dst_port,proto".to_owned(),
            format!("nfprobe_receiver: {}", setup.collector()?),
            "nfprobe_version: 10".to_owned(),
            format!("nfprobe_timeouts: {timeouts}maxlife={ACTIVE_TIMEOUT}"),
            format!("nfprobe_maxflows: {}", setup.uniflows()),
            format!("plugin_pipe_size: {pipe}"),
            "plugin_buffer_size: 1000000".to_owned(),
        ];
        let path = setup.file("pmacctd.conf");
        fs::write(&path, lines.join("\n") + "\n")?;
        let mut command = Command::new(&self.0);
        command.arg("-f").arg(path);
        Ok(command)
    }

    fn found(&self, _: &Setup<'_>, _: &Path, collected: Option<&Collected>, _: bool) -> Result<Found> {
        found(collected)
    }

    fn transport(&self) -> Option<Transport> {
        Some(Transport::Udp)
    }

    fn counts(&self) -> Counts {
        Counts::Uniflows
    }

    fn sleeps(&self) -> Option<&'static str> {
        Some("sleeps 2 s and more when the file ends")
    }
}
