// SPDX-License-Identifier: MIT OR Apache-2.0
//! YAF, into an IPFIX file. Not in Debian: run where it was built from its source.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{ACTIVE_TIMEOUT, Counts, Found, IDLE_TIMEOUT, Setup, Subject};
use crate::collector::{Collected, read_file};

pub struct Yaf(pub PathBuf);

impl Subject for Yaf {
    fn name(&self) -> &str {
        "yaf"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = Command::new(&self.0);
        command.arg("--in").arg(setup.trace).arg("--out").arg(setup.file("flows.ipfix")).arg("--no-stats");
        command.args(["--idle-timeout", &IDLE_TIMEOUT.to_string(), "--active-timeout", &ACTIVE_TIMEOUT.to_string()]);
        command.args(["--max-flows", &setup.biflows().to_string()]);
        Ok(command)
    }

    fn found(&self, setup: &Setup<'_>, _: &Path, _: Option<&Collected>, _: bool) -> Result<Found> {
        read_file(&setup.file("flows.ipfix"))
    }

    fn counts(&self) -> Counts {
        Counts::Biflows
    }
}
