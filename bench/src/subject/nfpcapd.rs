// SPDX-License-Identifier: MIT OR Apache-2.0
//! nfpcapd of nfdump, into its own files; counted by nfdump.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{ACTIVE_TIMEOUT, Counts, Found, IDLE_TIMEOUT, Setup, Subject, number_after, output_of};
use crate::collector::Collected;

pub struct Nfpcapd(pub PathBuf);

impl Subject for Nfpcapd {
    fn name(&self) -> &str {
        "nfpcapd"
    }

    fn command(&self, setup: &Setup<'_>) -> Result<Command> {
        let folder = setup.file("nfcapd");
        fs::create_dir(&folder)?;
        let mut command = Command::new(&self.0);
        command.arg("-r").arg(setup.trace).arg("-w").arg(folder);
        command.args(["-e", &format!("{ACTIVE_TIMEOUT},{IDLE_TIMEOUT}"), "-B", &setup.uniflows().to_string()]);
        Ok(command)
    }

    fn found(&self, setup: &Setup<'_>, _: &Path, _: Option<&Collected>, _: bool) -> Result<Found> {
        let folder = setup.file("nfcapd");
        let text = output_of("nfdump", &[OsStr::new("-R"), folder.as_os_str(), OsStr::new("-I")])?;
        Ok(Found {
            records: number_after(&text, "Flows:")?,
            packets: number_after(&text, "Packets:")?,
            octets: number_after(&text, "Bytes:")?,
            ..Found::default()
        })
    }

    fn counts(&self) -> Counts {
        Counts::Uniflows
    }
}
