// SPDX-License-Identifier: MIT OR Apache-2.0
//! argus, into a file; counted by racount.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{ACTIVE_TIMEOUT, Counts, Found, Octets, Setup, Subject, output_of};
use crate::collector::Collected;

pub struct Argus(pub PathBuf);

/// Records of argus about itself.
const MANAGEMENT_RECORDS: u64 = 1;

impl Subject for Argus {
    fn name(&self) -> &str {
        "argus"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let mut command = Command::new(&self.0);
        // Without the machine's configuration. Its timeout of idle flows is not to be set.
        command.args(["-X", "-S", &ACTIVE_TIMEOUT.to_string(), "-r"]).arg(setup.trace);
        command.arg("-w").arg(setup.file("flows.argus"));
        Ok(command)
    }

    fn found(&self, setup: &Setup<'_>, _: &Path, _: Option<&Collected>, _: bool) -> Result<Found> {
        let text = output_of("racount", &[OsStr::new("-r"), setup.file("flows.argus").as_os_str()])?;
        let sum = text.lines().find_map(|line| line.trim().strip_prefix("sum")).context("racount says nothing")?;
        let numbers: Vec<u64> = sum.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [records, packets, _, _, octets, ..] = *numbers.as_slice() else { anyhow::bail!("racount says {sum:?}") };
        let records = records.saturating_sub(MANAGEMENT_RECORDS);
        Ok(Found { records, packets, octets, ..Found::default() })
    }

    fn counts(&self) -> Counts {
        Counts::Biflows
    }

    fn octets(&self) -> Octets {
        Octets::Frame
    }
}
