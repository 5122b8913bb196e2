// SPDX-License-Identifier: MIT OR Apache-2.0
//! One trial: a receiver is started at one end of a wire, packets are sent at the other for a while, the receiver is given time to
//! take what waits for it, and asked to end. Then it is counted.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{
    lab::Wire,
    receiver::{Loss, Receiver},
    search::Offer,
};
use crate::{
    machine,
    send::{self, Frames, Sent},
    sys,
};

/// How long a receiver may take to start, to take what waits, and to end, each.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a receiver.
const LOOK: Duration = Duration::from_millis(20);
/// A receiver that was on a processor for less than a hundredth of this time has nothing left to take.
const QUIET: Duration = Duration::from_millis(200);
/// libpcap hands a block of the ring over when it is full, or after its reader's timeout, up to a second with peers.
const BLOCK_TIMEOUT: Duration = Duration::from_millis(1200);
/// A peer says nothing when it is ready: it has a socket, and some time thereafter it reads from it. nfpcapd was seen to take more
/// than 300 ms, and to lose what came before.
const FIRST_READ: Duration = Duration::from_secs(1);

/// What was sent, and what became of it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The rate asked for.
    pub offer: Offer,
    /// What all senders have sent.
    pub sent: Sent,
    /// Packets that the receiver has metered, or ignored by a reason.
    pub metered: u64,
    /// Packets that a counter says to be lost, by layer.
    pub lost: Vec<Loss>,
    /// Time that the receiver was on a processor, from when it was ready to its end, export included. What the kernel does with a
    /// packet until it is in the ring is the sender's time, on a veth.
    pub cpu: Duration,
    /// Part of the machine's time that another machine took meanwhile.
    pub steal: f64,
}

impl Trial {
    /// Packets per second that were sent.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.sent.packets as f64 / self.sent.time.as_secs_f64().max(1e-9)
    }

    /// Packets that counters say to be lost.
    #[must_use]
    pub fn counted_lost(&self) -> u64 {
        self.lost.iter().map(|loss| loss.packets).sum()
    }

    /// Packets that were sent, and are not metered.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.sent.packets.saturating_sub(self.metered)
    }

    /// Whether all was metered, and nothing twice.
    #[must_use]
    pub fn is_loss_free(&self) -> bool {
        self.metered == self.sent.packets && self.counted_lost() == 0
    }

    /// Whether every packet is metered or lost by a counter, exactly.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.sent.packets == self.metered + self.counted_lost()
    }
}

/// Who sends, what, and for how long.
#[derive(Debug)]
pub struct Sending<'a> {
    /// Frames of each sender; one has a thread and a processor of its own.
    pub parts: &'a [Frames],
    /// The rate of all together.
    pub offer: Offer,
    /// How long.
    pub time: Duration,
}

/// Makes a trial on a wire with so many queues.
///
/// # Errors
///
/// If the receiver does not start, does not end or leaves no account; or if sending fails.
pub fn run(receiver: &Receiver, wire: &Wire, queues: usize, sending: &Sending<'_>) -> Result<Trial> {
    let folder = Folder::new()?;
    let _destination = receiver.destination(&wire.right)?;
    let mut running = Running::start(receiver, wire, queues, sending.parts.len(), &folder.0)?;
    running.wait_until_ready(receiver)?;
    let (before, ticks) = (running.cpu(), machine::ticks());
    let dropped = wire.left.counters(Wire::LEFT)?.tx_dropped;
    let sent = send_all(wire, sending)?;
    running.wait_until_quiet(if receiver.is_ours() { Duration::ZERO } else { BLOCK_TIMEOUT })?;
    let steal = machine::steal(ticks, machine::ticks());
    let said = receiver.last_words(&folder.0)?;
    let cpu = running.end(receiver, &folder.0)?.saturating_sub(before);
    let account = receiver.account(&folder.0, &said, &running.log()).with_context(|| receiver.name())?;
    let dropped = wire.left.counters(Wire::LEFT)?.tx_dropped - dropped;
    let mut lost = account.lost;
    if dropped > 0 {
        lost.push(Loss { layer: "wire (veth, tx_dropped)".to_owned(), packets: dropped });
    }
    Ok(Trial { offer: sending.offer, sent, metered: account.metered, lost, cpu, steal })
}

/// Sends without anybody who receives: what the sender can do by itself.
///
/// # Errors
///
/// If sending fails.
pub fn send_all(wire: &Wire, sending: &Sending<'_>) -> Result<Sent> {
    let count = sending.parts.len().max(1) as u64;
    let rate = match sending.offer {
        Offer::FlatOut => None,
        Offer::Rate(rate) => Some(rate.div_ceil(count)),
    };
    let plan = send::Plan { packets: u64::MAX, time: Some(sending.time), rate };
    let cores = sys::cores();
    let results: Vec<Result<Sent>> = thread::scope(|scope| {
        let spawn = |(number, frames)| {
            let core = cores.get(number % cores.len().max(1)).copied();
            scope.spawn(move || {
                wire.left.enter(|| {
                    // A veth takes its queue by the processor that sends.
                    core.map_or(Ok(()), |core| sys::run_on(&[core]))?;
                    send::send(Wire::LEFT, frames, &plan)
                })?
            })
        };
        let senders: Vec<_> = sending.parts.iter().enumerate().map(spawn).collect();
        senders.into_iter().map(|s| s.join().unwrap_or_else(|_| Err(anyhow!("a sender has panicked")))).collect()
    });
    let mut all = Sent::default();
    for sent in results {
        let sent = sent?;
        all.packets += sent.packets;
        all.octets += sent.octets;
        all.refused += sent.refused;
        all.time = all.time.max(sent.time);
    }
    Ok(all)
}

/// A folder for what a receiver writes, whatever user it becomes; removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Self(std::env::temp_dir().join(format!("weir-bench-wire-{}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir_all(&folder.0).with_context(|| folder.0.display().to_string())?;
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A receiver that runs; ended when it is dropped.
struct Running {
    id: u32,
    log: PathBuf,
    ended: Option<sys::Ended>,
}

impl Running {
    /// Starts one. If one sends, that has a processor for itself, and the receiver gets the others.
    fn start(receiver: &Receiver, wire: &Wire, queues: usize, senders: usize, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let mut command = receiver.command(&wire.right, queues, folder)?;
        command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let cores = sys::cores();
        let others = cores.get(senders..).filter(|others| !others.is_empty()).unwrap_or(&cores);
        let spawn = || {
            sys::run_on(others)?;
            command.spawn()
        };
        // On a thread of its own, as the processors are the thread's.
        let spawned = thread::scope(|scope| scope.spawn(spawn).join());
        let child = spawned.map_err(|_| anyhow!("a thread has panicked"))?.context("cannot start the receiver")?;
        Ok(Self { id: child.id(), log, ended: None })
    }

    fn log(&self) -> String {
        fs::read(&self.log).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default()
    }

    /// Time on a processor so far, of all its threads.
    fn cpu(&self) -> Duration {
        machine::time_of_process(self.id)
    }

    fn wait_until_ready(&mut self, receiver: &Receiver) -> Result<()> {
        if receiver.is_ours() {
            return self.wait_for(|this| this.log().contains("capturing on"));
        }
        let name = receiver.name();
        self.wait_for(|this| this.has_socket(&name))?;
        thread::sleep(FIRST_READ);
        Ok(())
    }

    /// Whether it is the program already, no longer `ip`, and a packet socket in its namespace is bound.
    fn has_socket(&self, name: &str) -> bool {
        const IS_RUNNING: usize = 5;
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.id)).unwrap_or_default();
        let is_bound = |line: &str| line.split_whitespace().nth(IS_RUNNING) == Some("1");
        read("comm").trim() == name && read("net/packet").lines().any(is_bound)
    }

    /// Waits until it has been waiting itself for a while, and at least so long.
    fn wait_until_quiet(&mut self, least: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut seen = (begin, self.cpu());
        self.wait_for(|this| {
            if seen.0.elapsed() < QUIET {
                return false;
            }
            let (now, cpu) = (Instant::now(), this.cpu());
            let is_quiet = cpu.saturating_sub(seen.1) < (now - seen.0) / 100;
            seen = (now, cpu);
            is_quiet && begin.elapsed() >= least
        })
    }

    fn wait_for(&mut self, mut is_so: impl FnMut(&Self) -> bool) -> Result<()> {
        let begin = Instant::now();
        while !is_so(self) {
            self.ended = sys::has_ended(self.id);
            ensure!(self.ended.is_none(), "the receiver has ended: {}", last_lines(&self.log()));
            ensure!(
                begin.elapsed() < PATIENCE,
                "the receiver is not done after {PATIENCE:?}: {}",
                last_lines(&self.log())
            );
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Has it end; gives its time on a processor in all.
    fn end(&mut self, receiver: &Receiver, folder: &Path) -> Result<Duration> {
        receiver.end(self.id, folder)?;
        let begin = Instant::now();
        let ended = loop {
            if let Some(ended) = sys::has_ended(self.id) {
                break ended;
            }
            ensure!(begin.elapsed() < PATIENCE, "{} does not end", receiver.name());
            thread::sleep(LOOK);
        };
        self.ended = Some(ended);
        if receiver.is_ours() && ended.code != Some(0) {
            bail!("the receiver has failed: {}", last_lines(&self.log()));
        }
        Ok(ended.usage.user + ended.usage.system)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            sys::end_process(self.id, true);
            let begin = Instant::now();
            while sys::has_ended(self.id).is_none() && begin.elapsed() < PATIENCE {
                thread::sleep(LOOK);
            }
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(metered: u64, lost: u64) -> Trial {
        let sent = Sent { packets: 1000, octets: 60_000, refused: 0, time: Duration::from_millis(500) };
        let lost = vec![Loss { layer: "ring".to_owned(), packets: lost }];
        Trial { offer: Offer::FlatOut, sent, metered, lost, cpu: Duration::ZERO, steal: 0.0 }
    }

    #[test]
    fn a_sum_closes_only_if_it_is_exact() {
        assert!(trial(1000, 0).is_loss_free() && trial(1000, 0).closes());
        assert!(trial(990, 10).closes() && !trial(990, 10).is_loss_free());
        assert!(!trial(990, 9).closes());
        // Something that nobody has sent.
        assert!(!trial(1001, 0).is_loss_free() && !trial(1001, 0).closes());
        assert_eq!((trial(990, 9).missing(), trial(990, 9).rate()), (10, 2000.0));
    }
}
