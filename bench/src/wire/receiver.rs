// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who receives: `weir-meter` through each of its layers, and its peers; how each is run on an interface, and what says how many
//! packets it has metered.
//!
//! | receiver | metered | lost, by layer |
//! |---|---|---|
//! | `weir-meter` | its ledger: packets metered, or ignored by a reason | its ledger: what each socket says |
//! | `softflowd` | what libpcap received less what it dropped, by `softflowctl statistics` | the same |
//! | `nfpcapd` | packets of its files, read by `nfdump -I` | what it says at its end: dropped by the system |
//! | `argus` | packets of its file, read by `racount` | not known |
//!
//! softflowd reads without a timeout: the last packets, less than a block of its ring, stay there until others come. So its own
//! number of processed packets is short of what it would have metered, and libpcap's is used.

use std::{
    ffi::OsStr,
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::lab::{Namespace, Wire};
use crate::{
    subject::{ACTIVE_TIMEOUT, IDLE_TIMEOUT, number_after, on_path, output_of},
    sys,
};

/// A ring of each receiver that can be told, in MiB: what `weir-meter` takes by itself.
const RING_MIB: u32 = 32;
/// Flows that peers have room for.
const FLOWS: u32 = 200_000;

/// A program that receives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Receiver {
    /// argus, into a file.
    Argus,
    /// nfpcapd of nfdump, into its own files.
    Nfpcapd,
    /// softflowd, IPFIX to a socket that nobody reads.
    Softflowd,
    /// weir-meter, all parsers on, into an IPFIX file.
    Weir {
        /// The program.
        path: PathBuf,
        /// What `--capture` is told.
        capture: &'static str,
    },
}

/// Layers of `weir-meter`.
pub const CAPTURES: [&str; 3] = ["packet", "xdp", "pcap"];

/// Packets that a layer has lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    /// Which, and by what counter.
    pub layer: String,
    /// How many.
    pub packets: u64,
}

/// What a receiver says at its end.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Packets that it has metered, or looked at and ignored.
    pub metered: u64,
    /// Packets that it knows to be lost; layers that lost none are left out.
    pub lost: Vec<Loss>,
}

impl Receiver {
    /// All that are here: each layer of `weir-meter`, then peers; and names of peers that are missing.
    #[must_use]
    pub fn all(meter: &Path) -> (Vec<Self>, Vec<&'static str>) {
        let ours = CAPTURES.iter().map(|capture| Self::Weir { path: meter.to_owned(), capture });
        let (mut receivers, mut missing) = (ours.collect::<Vec<_>>(), Vec::new());
        let peers = [
            (Self::Softflowd, &["softflowd", "softflowctl"][..]),
            (Self::Nfpcapd, &["nfpcapd", "nfdump"]),
            (Self::Argus, &["argus", "racount"]),
        ];
        for (peer, programs) in peers {
            match programs.iter().find(|program| on_path(program).is_none()) {
                None => receivers.push(peer),
                Some(program) => missing.push(*program),
            }
        }
        (receivers, missing)
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Argus => "argus".to_owned(),
            Self::Nfpcapd => "nfpcapd".to_owned(),
            Self::Softflowd => "softflowd".to_owned(),
            Self::Weir { capture, .. } => format!("weir-meter {capture}"),
        }
    }

    /// Whether it is `weir-meter`.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Weir { .. })
    }

    /// The program with its arguments, to be run at the right end of a wire with so many queues. What it writes goes to the folder.
    ///
    /// # Errors
    ///
    /// If the program is missing.
    pub fn command(&self, namespace: &Namespace, queues: usize, folder: &Path) -> Result<Command> {
        let program = |name: &str| on_path(name).with_context(|| format!("{name} is missing"));
        let mut command = match self {
            Self::Weir { path, .. } => namespace.command(path),
            peer => namespace.command(&program(&peer.name())?),
        };
        if *self == Self::Argus {
            // It forgets what it was told before: the machine's configuration, and arguments.
            command.arg("-X");
        }
        command.args(["-i", Wire::RIGHT]);
        match self {
            Self::Weir { capture, .. } => {
                // libpcap has no way to share an interface between workers.
                let workers = if *capture == "pcap" { 1 } else { queues };
                command.args(["--capture", capture, "--workers", &workers.to_string()]);
                command.args(["--status-socket", "none", "--status-interval", "0s"]);
                command.args(["--idle-timeout", &format!("{IDLE_TIMEOUT}s")]);
                command.args(["--active-timeout", &format!("{ACTIVE_TIMEOUT}s")]);
                command.arg("--export").arg(format!("file:{}", folder.join("flows.ipfix").display()));
                command.arg("--ledger").arg(folder.join("ledger.json"));
            }
            Self::Softflowd => {
                command.args(["-d", "-6", "-v", "10", "-P", "udp", "-n", &format!("127.0.0.1:{EXPORT_PORT}")]);
                command.args(["-B", &(RING_MIB << 20).to_string(), "-m", &FLOWS.to_string()]);
                command.arg("-c").arg(folder.join("control")).arg("-p").arg(folder.join("softflowd.pid"));
                for name in ["tcp", "tcp.rst", "tcp.fin", "udp", "icmp", "general"] {
                    command.arg("-t").arg(format!("{name}={IDLE_TIMEOUT}"));
                }
                command.arg("-t").arg(format!("maxlife={ACTIVE_TIMEOUT}"));
            }
            Self::Nfpcapd => {
                let files = folder.join("nfcapd");
                fs::create_dir_all(&files)?;
                command.arg("-w").arg(files).args(["-e", &format!("{ACTIVE_TIMEOUT},{IDLE_TIMEOUT}")]);
                command.args(["-b", &RING_MIB.to_string(), "-B", &FLOWS.to_string()]);
            }
            Self::Argus => {
                command.args(["-S", &ACTIVE_TIMEOUT.to_string()]);
                command.arg("-w").arg(folder.join("flows.argus"));
            }
        }
        Ok(command)
    }

    /// What must be there while it runs.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn destination(&self, namespace: &Namespace) -> Result<Option<UdpSocket>> {
        if *self != Self::Softflowd {
            return Ok(None);
        }
        Ok(Some(namespace.enter(|| UdpSocket::bind(("127.0.0.1", EXPORT_PORT)))??))
    }

    /// What it says while it runs, when all packets have come; empty if it says nothing then.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn last_words(&self, folder: &Path) -> Result<String> {
        if *self != Self::Softflowd {
            return Ok(String::new());
        }
        let control = folder.join("control");
        output_of("softflowctl", &[OsStr::new("-c"), control.as_os_str(), OsStr::new("statistics")])
    }

    /// Asks it to export everything and end.
    ///
    /// # Errors
    ///
    /// If it does not listen.
    pub fn end(&self, id: u32, folder: &Path) -> Result<()> {
        if *self != Self::Softflowd {
            sys::end_process(id, false);
            return Ok(());
        }
        // A signal ends it without an export.
        let control = folder.join("control");
        output_of("softflowctl", &[OsStr::new("-c"), control.as_os_str(), OsStr::new("shutdown")]).map(drop)
    }

    /// What it has done, after it has ended; `said` is what it said before, `log` what it printed.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    pub fn account(&self, folder: &Path, said: &str, log: &str) -> Result<Account> {
        match self {
            Self::Weir { .. } => {
                let text = fs::read_to_string(folder.join("ledger.json")).context("no ledger")?;
                account_of_ledger(&serde_json::from_str(&text).context("ledger")?)
            }
            Self::Softflowd => {
                let received = number_after(said, "Packets received by libpcap:")?;
                let dropped = number_after(said, "Packets dropped by libpcap:")?;
                Ok(Account { metered: received.saturating_sub(dropped), lost: losses("ring (ps_drop)", dropped) })
            }
            Self::Nfpcapd => {
                let files = folder.join("nfcapd");
                let text = output_of("nfdump", &[OsStr::new("-R"), files.as_os_str(), OsStr::new("-I")])?;
                let dropped = dropped_by_system(log).unwrap_or(0);
                Ok(Account { metered: number_after(&text, "Packets:")?, lost: losses("ring (ps_drop)", dropped) })
            }
            Self::Argus => {
                let file = folder.join("flows.argus");
                let text = output_of("racount", &[OsStr::new("-r"), file.as_os_str()])?;
                let sum =
                    text.lines().find_map(|line| line.trim().strip_prefix("sum")).context("racount says nothing")?;
                let packets = sum.split_whitespace().nth(1).and_then(|word| word.parse().ok());
                Ok(Account { metered: packets.context("racount gives no packets")?, lost: Vec::new() })
            }
        }
    }
}

/// Where softflowd exports to, in a namespace of its own.
const EXPORT_PORT: u16 = 4739;

fn losses(layer: &str, packets: u64) -> Vec<Loss> {
    if packets == 0 { Vec::new() } else { vec![Loss { layer: layer.to_owned(), packets }] }
}

/// What a ledger of `weir-meter` says: delivered packets are metered, or ignored by a reason; the kernel's counters of lost
/// ones are those whose names begin so.
fn account_of_ledger(ledger: &Value) -> Result<Account> {
    let section = |name: &str| ledger.get(name).and_then(Value::as_object).with_context(|| format!("no {name}"));
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let metered = section("metered")?.get("metered_packets").map(number).context("no metered_packets")?;
    let ignored: u64 = section("ignored")?.values().map(number).sum();
    let lost = section("capture")?.iter().filter(|(name, _)| name.starts_with("lost_"));
    let lost = lost.flat_map(|(name, value)| losses(name, number(value))).collect();
    Ok(Account { metered: metered + ignored, lost })
}

/// The last number of nfpcapd's own: `Stat: received: 300000, dropped by OS/Buffer: 17, …`, which it prints for each file.
fn dropped_by_system(log: &str) -> Option<u64> {
    let number = |line: &str| {
        let (_, rest) = line.split_once("dropped by OS/Buffer:")?;
        rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    log.lines().rev().find_map(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ledger_is_metered_ignored_and_lost() {
        let ledger = json!({
            "capture": { "offered_packets": 20, "lost_ring_full": 3, "lost_xdp_dropped": 0, "merged_packets": 5 },
            "metered": { "delivered_packets": 17, "metered_packets": 15 },
            "ignored": { "not_ip": 1, "malformed_ip_header": 1 },
        });
        let account = account_of_ledger(&ledger).unwrap();
        assert_eq!(account.metered, 17);
        assert_eq!(account.lost, losses("lost_ring_full", 3));
        assert!(account_of_ledger(&json!({})).is_err());
    }

    #[test]
    fn nfpcapd_says_what_the_system_has_dropped() {
        let log = "x\nStat: received: 300000, dropped by OS/Buffer: 5, freeze_q_cnt: 0\n\
             Stat: received: 400000, dropped by OS/Buffer: 17, freeze_q_cnt: 0\n";
        assert_eq!(dropped_by_system(log), Some(17));
        assert_eq!(dropped_by_system("nothing"), None);
    }
}
