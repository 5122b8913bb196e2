// SPDX-License-Identifier: MIT OR Apache-2.0
//! ipfixprobe without plugins for applications, IPFIX over a connection to a local collector. Not in Debian: run where it was
//! built from its source.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{ACTIVE_TIMEOUT, Counts, Found, IDLE_TIMEOUT, Setup, Subject, Transport};
use crate::collector::{Collected, found};

pub struct Ipfixprobe(pub PathBuf);

impl Subject for Ipfixprobe {
    fn name(&self) -> &str {
        "ipfixprobe"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let collector = setup.collector()?;
        // Four times as many as flows: its lines of the table overflow long before the table is full.
        let size = (setup.biflows() * 4).ilog2().clamp(17, 30);
        let mut command = Command::new(&self.0);
        command.arg("-i").arg(format!("pcap;file={}", setup.trace.display()));
        command.arg("-s").arg(format!("cache;size={size};active={ACTIVE_TIMEOUT};inactive={IDLE_TIMEOUT}"));
        command.arg("-o").arg(format!("ipfix;host={};port={}", collector.ip(), collector.port()));
        Ok(command)
    }

    fn found(&self, _: &Setup<'_>, _: &Path, collected: Option<&Collected>, _: bool) -> Result<Found> {
        found(collected)
    }

    fn transport(&self) -> Option<Transport> {
        Some(Transport::Tcp)
    }

    fn counts(&self) -> Counts {
        Counts::Biflows
    }
}
