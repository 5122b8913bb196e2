// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tcpdump -w /dev/null`: no meter, but what reading through libpcap costs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{Counts, Found, Setup, Subject};
use crate::collector::Collected;

pub struct Tcpdump(pub PathBuf);

impl Subject for Tcpdump {
    fn name(&self) -> &str {
        "tcpdump -w /dev/null"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = Command::new(&self.0);
        // As the user who runs it: otherwise it gives up its rights and cannot read the file.
        command.args(["-Z", "root", "-w", "/dev/null", "-r"]).arg(setup.trace);
        Ok(command)
    }

    fn found(&self, _: &Setup<'_>, _: &Path, _: Option<&Collected>, _: bool) -> Result<Found> {
        Ok(Found::default())
    }

    fn counts(&self) -> Counts {
        Counts::Nothing
    }

    fn is_bound(&self) -> bool {
        true
    }
}
