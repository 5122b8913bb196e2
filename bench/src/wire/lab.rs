// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two network namespaces with a wire between them (veth): nothing is on it but what is sent, and both go when they are dropped.
//!
//! Names have the number of this process in them. What a process left behind that was killed is removed by the next one. It takes
//! root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW) and the program `ip`.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::sys;

/// Begin of all names; then come the number of the process, and one of the namespace.
const PREFIX: &str = "weir-bench-";
/// Where `ip netns` has namespaces.
const FOLDER: &str = "/run/netns";

/// A network namespace, removed when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// Counters of an interface, as `/proc/net/dev` has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received, and dropped by the interface or because it had no room.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets to be sent, and dropped. Of a veth: the other end had no room.
    pub tx_dropped: u64,
}

/// A wire. Both ends are up and have no addresses.
#[derive(Debug)]
pub struct Wire {
    /// Where packets are sent from.
    pub left: Namespace,
    /// Where they are received.
    pub right: Namespace,
}

impl Namespace {
    fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("{PREFIX}{}-{number}", std::process::id()) };
        run_ip(&["netns", "add", &namespace.name])?;
        // IPv6 speaks by itself: such packets would be received, and nobody has sent them.
        namespace.enter(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok())?;
        // Programs export to a socket of their own namespace.
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Does something in the namespace, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = Path::new(FOLDER).join(&self.name);
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let file = File::open(&path).with_context(|| path.display().to_string())?;
                sys::enter_namespace(&file).context("cannot enter a network namespace")?;
                Ok(work())
            });
            worker.join().map_err(|_| anyhow!("a thread has panicked"))?
        })
    }

    /// A program that is to run in the namespace, its process being that of the program.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Counters of an interface.
    ///
    /// # Errors
    ///
    /// If there is no such interface.
    pub fn counters(&self, interface: &str) -> Result<Counters> {
        let text = self.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        counters_of(&text, interface).with_context(|| format!("no counters of {interface}"))
    }

    /// Runs `ip` on the namespace; `words` have spaces between them.
    fn ip(&self, words: &str) -> Result<()> {
        let both = ["-n", &self.name].into_iter().chain(words.split(' '));
        run_ip(&both.collect::<Vec<_>>())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // With it go its interfaces. There is nobody to tell if that fails.
        let _ = run_ip(&["netns", "del", &self.name]);
    }
}

impl Wire {
    /// The interface that packets are sent to.
    pub const LEFT: &'static str = "left0";
    /// The interface that receives them.
    pub const RIGHT: &'static str = "right0";

    /// Makes one whose interfaces have so many queues.
    ///
    /// # Errors
    ///
    /// If the system refuses, or has no program `ip`.
    pub fn new(queues: usize) -> Result<Self> {
        remove_orphans();
        let wire = Self { left: Namespace::new()?, right: Namespace::new()? };
        let queues = format!("numtxqueues {queues} numrxqueues {queues}");
        let (left, right) = (Self::LEFT, Self::RIGHT);
        wire.left
            .ip(&format!("link add {left} {queues} type veth peer name {right} netns {} {queues}", wire.right.name))?;
        wire.right.ip(&format!("link set {right} up"))?;
        wire.left.ip(&format!("link set {left} up"))?;
        Ok(wire)
    }
}

fn run_ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("cannot run ip")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), errors.trim());
    Ok(())
}

/// Removes namespaces of processes that are no more.
fn remove_orphans() {
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists()) {
            let _ = run_ip(&["netns", "del", &name]);
        }
    }
}

/// Reads `/proc/net/dev`: eight numbers of what is received, then eight of what is sent.
fn counters_of(text: &str, interface: &str) -> Option<Counters> {
    const PACKETS: usize = 1;
    const DROPPED: usize = 3;
    const SENT: usize = 8;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let number = |place: usize| numbers.get(place).copied();
    Some(Counters {
        rx_packets: number(PACKETS)?,
        rx_dropped: number(DROPPED)?,
        tx_packets: number(SENT + PACKETS)?,
        tx_dropped: number(SENT + DROPPED)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_those_of_the_interface() {
        let text = "Inter-|   Receive                            |  Transmit\n\
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
             \x20   lo:  1 2 0 0 0 0 0 0  1 2 0 0 0 0 0 0\n\
             \x20left0: 600 10 1 7 0 0 0 0  540 9 2 3 0 0 0 0\n";
        let counters = counters_of(text, "left0").unwrap();
        assert_eq!((counters.rx_packets, counters.rx_dropped), (10, 7));
        assert_eq!((counters.tx_packets, counters.tx_dropped), (9, 3));
        assert!(counters_of(text, "left").is_none());
    }
}
