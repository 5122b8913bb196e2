// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a subject once, as a child process, and measures it from outside.

use std::{
    fs,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    check::{self, Verdict},
    collector::Collector,
    machine,
    subject::{Setup, Subject},
    sys,
    truth::Summary,
};

/// A child may take this part of the memory that is available when it begins: the trace must stay in the page cache.
const MEMORY_PARTS: [u64; 2] = [4, 5];
/// Between two looks at a child's memory.
const LOOK: Duration = Duration::from_millis(4);

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// From the start of the process to its end.
    pub wall: Duration,
    /// On a processor, in the program, all threads and processes of it.
    pub user: Duration,
    /// On a processor, in the kernel.
    pub system: Duration,
    /// Most octets of memory that were its own: pages of mapped files, as the trace may be, are not.
    pub memory: u64,
    /// Most octets of one process with pages of mapped files, as the kernel has it.
    pub max_resident: u64,
    /// Part of the machine's time that another machine took meanwhile.
    pub steal: f64,
}

impl Run {
    /// On a processor.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Runs a subject on a trace and compares what it puts out with the truth, flow by flow if `in_full`.
///
/// # Errors
///
/// If it cannot be run, ends in failure or not within `limit`, or puts out what cannot be read.
pub fn run(
    subject: &dyn Subject,
    trace: &Path,
    truth: &Summary,
    folder: &Path,
    limit: Duration,
    in_full: bool,
) -> Result<(Run, Verdict, String)> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let collector = subject.transport().map(Collector::start).transpose()?;
    let setup = Setup { trace, truth, folder, collector: collector.as_ref().map(|c| c.address) };
    let mut command = subject.command(&setup)?;
    let (output, errors) = (setup.file("standard-output"), setup.file("standard-error"));
    command.stdin(std::process::Stdio::null()).stdout(fs::File::create(&output)?).stderr(fs::File::create(&errors)?);
    let shown = shown(&command);
    let ran = watch(&mut command, limit);
    let collected = collector.map(Collector::finish).transpose();
    let run = ran.with_context(|| last_line(&errors))?;
    let collected = collected?;
    let found = subject.found(&setup, &output, collected.as_ref(), in_full)?;
    let verdict = check::judge(subject, trace, truth, found)?;
    fs::remove_dir_all(folder)?;
    Ok((run, verdict, shown))
}

fn shown(command: &std::process::Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn last_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

/// Runs a command to its end. It and all its children are one group, which is ended when the time is over.
fn watch(command: &mut std::process::Command, limit: Duration) -> Result<Run> {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
    // What a child holds at most begins with what this process held at most, until it becomes another program.
    machine::forget_peak();
    let ticks = machine::ticks();
    let begin = Instant::now();
    let leader = command.spawn()?.id();
    let (mut run, mut code) = (Run::default(), None);
    let mut end = begin;
    let (done, is_done) = mpsc::channel::<()>();
    let mut excess = None;
    thread::scope(|scope| {
        let watcher = scope.spawn(move || look_after(leader, limit, &is_done));
        while let Some(child) = sys::wait_any() {
            if child.id == leader {
                end = Instant::now();
                code = child.code;
            }
            run.user += child.usage.user;
            run.system += child.usage.system;
            run.max_resident = run.max_resident.max(child.usage.max_resident);
        }
        drop(done);
        (run.memory, excess) = watcher.join().unwrap_or_default();
    });
    run.wall = end - begin;
    run.steal = machine::steal(ticks, machine::ticks());
    match excess {
        Some(Excess::Memory(octets)) => bail!("ended for taking more than {} MiB of memory", octets >> 20),
        Some(Excess::Time(limit)) => bail!("not done after {} s", limit.as_secs()),
        None => {}
    }
    ensure!(code == Some(0), "ended with {}", code.map_or_else(|| "a signal".to_owned(), |c| format!("status {c}")));
    Ok(run)
}

/// Why a child had to be ended.
#[derive(Clone, Copy, Debug)]
enum Excess {
    Memory(u64),
    Time(Duration),
}

/// Looks at the memory of all children until it is told that they have ended; gives the most, and whether it had to end them.
fn look_after(leader: u32, limit: Duration, is_done: &mpsc::Receiver<()>) -> (u64, Option<Excess>) {
    let begin = Instant::now();
    let [part, parts] = MEMORY_PARTS;
    let most_allowed = machine::available_memory().map_or(u64::MAX, |octets| octets / parts * part);
    let (mut most, mut excess) = (0, None);
    while is_done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        most = most.max(machine::memory_of_children());
        if excess.is_none() {
            if begin.elapsed() > limit {
                excess = Some(Excess::Time(limit));
            } else if most > most_allowed {
                excess = Some(Excess::Memory(most_allowed));
            }
            if excess.is_some() {
                sys::kill_group(leader);
            }
        }
    }
    (most, excess)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_run_has_the_time_of_all_processes_and_failures_are_said() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let limit = Duration::from_secs(60);
        // A child, and a child of it that nobody waits for but us: counting takes some time on a processor.
        let count = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        sys::adopt_orphans();
        let one = watch(&mut shell(count), limit).unwrap();
        let both = watch(&mut shell(&format!("({count}) & {count}; {count}")), limit).unwrap();
        assert!(one.cpu() > Duration::ZERO && both.cpu() > one.cpu(), "{one:?} {both:?}");
        let failure = |script: &str, limit| format!("{:#}", watch(&mut shell(script), limit).unwrap_err());
        assert!(failure("exit 3", limit).contains("status 3"));
        assert!(failure("kill -9 $$", limit).contains("signal"));
        assert!(failure("while :; do :; done", Duration::from_millis(20)).contains("not done after"));
    }
}
