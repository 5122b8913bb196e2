// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured: each a program that runs on a capture file as a process of its own, and leaves flow records somewhere.

mod argus;
mod bare;
mod ipfixprobe;
mod nfpcapd;
mod pmacctd;
mod softflowd;
mod tcpdump;
mod weir;
mod yaf;

use std::{
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

pub use bare::{run_floor, run_reading};
pub use weir::Variant;

use crate::{
    collector::Collected,
    truth::{Flow, Summary},
};

/// Seconds without a packet after which a flow ends, for all.
pub const IDLE_TIMEOUT: u32 = 30;
/// Seconds after which a record is made of a flow that goes on, for all.
pub const ACTIVE_TIMEOUT: u32 = 300;

/// What a subject is run on.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The capture file.
    pub trace: &'a Path,
    /// What is in it.
    pub truth: &'a Summary,
    /// An empty folder for what the subject writes.
    pub folder: &'a Path,
    /// Where the local collector listens, for those that need one.
    pub collector: Option<SocketAddr>,
}

impl Setup<'_> {
    /// Flows that a table is given room for, those of each direction counted: all of the trace, since some keep those that
    /// have ended, and a quarter more, since none fills without loss to the last.
    #[must_use]
    pub fn uniflows(&self) -> u64 {
        self.truth.uniflows * 5 / 4 + 1024
    }

    /// The same, both directions in one.
    #[must_use]
    pub fn biflows(&self) -> u64 {
        self.truth.biflows * 5 / 4 + 1024
    }

    /// A file in the folder, as text for a command line.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The collector's host and port.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn collector(&self) -> Result<SocketAddr> {
        self.collector.context("no collector")
    }
}

/// How records come to a local collector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// Over a connection.
    Tcp,
    /// In datagrams.
    Udp,
}

/// What is a record of whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counts {
    /// Both directions of a flow.
    Biflows,
    /// Each direction by itself.
    Uniflows,
    /// A transaction of an application, or a flow without any: at least as many as flows.
    Transactions,
    /// It makes no records.
    Nothing,
}

/// Which octets of a packet are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Octets {
    /// From the IP header on.
    Ip,
    /// All that is behind the Ethernet header, padding among it.
    BehindEthernet,
    /// Those of the whole frame.
    Frame,
}

/// What a subject has put out.
#[derive(Debug, Default)]
pub struct Found {
    /// Records.
    pub records: u64,
    /// Packets in them.
    pub packets: u64,
    /// Octets in them.
    pub octets: u64,
    /// The records of each flow put together, if asked for and known.
    pub flows: Option<Vec<Flow>>,
    /// Flow, protocol and identity of each message, if asked for and known.
    pub messages: Option<Vec<Message>>,
    /// What else is to be said.
    pub remark: Option<String>,
}

/// What identifies a message of a flow.
pub type Message = (weir_flow::FlowKey, String, Vec<u8>);

/// A program that is measured.
pub trait Subject {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// The program with its arguments; files and sockets that it needs are made here.
    ///
    /// # Errors
    ///
    /// If they cannot be made.
    fn command(&self, setup: &Setup<'_>) -> Result<Command>;

    /// What it has put out; `standard_output` is a file. All flows and messages only if `in_full`.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    fn found(
        &self,
        setup: &Setup<'_>,
        standard_output: &Path,
        collected: Option<&Collected>,
        in_full: bool,
    ) -> Result<Found>;

    /// Whether it needs a local collector.
    fn transport(&self) -> Option<Transport> {
        None
    }

    /// What its records are.
    fn counts(&self) -> Counts;

    /// Which octets it counts.
    fn octets(&self) -> Octets {
        Octets::Ip
    }

    /// Whether it is ours, and must be exact.
    fn is_ours(&self) -> bool {
        false
    }

    /// Whether it is no meter, but says what a meter cannot do without.
    fn is_bound(&self) -> bool {
        false
    }

    /// Why its time on the wall means nothing, if so.
    fn sleeps(&self) -> Option<&'static str> {
        None
    }
}

/// Programs that were looked for.
pub struct Lineup {
    /// Those that are here.
    pub subjects: Vec<Box<dyn Subject>>,
    /// Names of those that are not.
    pub missing: Vec<&'static str>,
}

/// Peers that must be built from their source.
pub const NOT_IN_DEBIAN: [&str; 2] = ["yaf", "ipfixprobe"];

/// Everybody: the bounds, `weir-meter` in its variants (by name and path), and the peers that are installed.
#[must_use]
pub fn lineup(meters: &[(String, PathBuf)]) -> Lineup {
    let mut subjects: Vec<Box<dyn Subject>> =
        vec![Box::new(bare::Reading), Box::new(bare::Floor::Read), Box::new(bare::Floor::Mapped)];
    for (name, path) in meters {
        for variant in Variant::ALL {
            subjects.push(Box::new(weir::Weir::new(name, path, variant)));
        }
    }
    let mut missing = Vec::new();
    let mut peer = |names: &[&'static str], make: &dyn Fn(Vec<PathBuf>) -> Box<dyn Subject>| match names
        .iter()
        .map(|name| on_path(name))
        .collect::<Option<Vec<_>>>()
    {
        Some(paths) => subjects.push(make(paths)),
        None => missing.extend(names.iter().find(|name| on_path(name).is_none())),
    };
    peer(&["softflowd"], &|paths| Box::new(softflowd::Softflowd(first(paths))));
    peer(&["nfpcapd", "nfdump"], &|paths| Box::new(nfpcapd::Nfpcapd(first(paths))));
    peer(&["argus", "racount"], &|paths| Box::new(argus::Argus(first(paths))));
    peer(&["pmacctd"], &|paths| Box::new(pmacctd::Pmacctd(first(paths))));
    peer(&["yaf"], &|paths| Box::new(yaf::Yaf(first(paths))));
    peer(&["ipfixprobe"], &|paths| Box::new(ipfixprobe::Ipfixprobe(first(paths))));
    peer(&["tcpdump"], &|paths| Box::new(tcpdump::Tcpdump(first(paths))));
    Lineup { subjects, missing }
}

fn first(paths: Vec<PathBuf>) -> PathBuf {
    paths.into_iter().next().unwrap_or_default()
}

/// A program, where it is.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    // Daemons of Debian are where only root looks.
    let daemons = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    env::split_paths(&folders).chain(daemons).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What a program that is not measured says on its standard output.
pub(crate) fn output_of(program: &str, arguments: &[&OsStr]) -> Result<String> {
    let path = on_path(program).with_context(|| format!("{program} is missing"))?;
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{program}: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A number from text like `Name: 17`.
pub(crate) fn number_after(text: &str, name: &str) -> Result<u64> {
    let found = text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse().ok());
    found.with_context(|| format!("no number after {name:?}"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
