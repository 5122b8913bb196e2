// SPDX-License-Identifier: MIT OR Apache-2.0
//! softflowd, IPFIX over a connection to a local collector, so that nothing is lost on the way.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{ACTIVE_TIMEOUT, Counts, Found, IDLE_TIMEOUT, Octets, Setup, Subject, Transport};
use crate::collector::{Collected, found};

pub struct Softflowd(pub PathBuf);

impl Subject for Softflowd {
    fn name(&self) -> &str {
        "softflowd"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = Command::new(&self.0);
        // A control socket can hang it when it reads a file.
        command.args(["-d", "-c", "none", "-6", "-v", "10", "-P", "tcp"]).arg("-p").arg(setup.file("softflowd.pid"));
        command.arg("-n").arg(setup.collector()?.to_string()).arg("-m").arg(setup.uniflows().to_string());
        for name in ["tcp", "tcp.rst", "tcp.fin", "udp", "icmp", "general"] {
            command.arg("-t").arg(format!("{name}={IDLE_TIMEOUT}"));
        }
        command.arg("-t").arg(format!("maxlife={ACTIVE_TIMEOUT}")).arg("-r").arg(setup.trace);
        Ok(command)
    }

    fn found(&self, _: &Setup<'_>, _: &Path, collected: Option<&Collected>, _: bool) -> Result<Found> {
        found(collected)
    }

    fn transport(&self) -> Option<Transport> {
        Some(Transport::Tcp)
    }

    fn counts(&self) -> Counts {
        Counts::Uniflows
    }

    fn octets(&self) -> Octets {
        Octets::BehindEthernet
    }
}
