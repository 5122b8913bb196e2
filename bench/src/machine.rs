// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine is, and what this process has used of it, as Linux's `/proc` says. Where it does not, it is unknown.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

/// What figures depend on beside the program.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Load averages of the last 1, 5 and 15 minutes, when asked.
    pub load: String,
    /// Whether the program was built with debug assertions: its figures mean nothing.
    pub is_debug: bool,
}

impl Machine {
    /// This machine, now.
    #[must_use]
    pub fn here() -> Self {
        let unknown = || String::from("unknown");
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<_> = load.split(' ').take(3).collect();
        Self {
            cpu: value_of(&cpuinfo, "model name").map_or_else(unknown, str::to_owned),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |k| k.trim().to_owned()),
            load: if load.len() == 3 { load.join(" ") } else { unknown() },
            is_debug: cfg!(debug_assertions),
        }
    }
}

impl Machine {
    /// A line that says where figures come from.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { cpu, cores, kernel, load, is_debug } = self;
        let profile = if *is_debug { "debug build: THE FIGURES MEAN NOTHING, use --release" } else { "release build" };
        format!("machine: {cpu}, {cores} cores; Linux {kernel}; load {load}; {profile}")
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { cpu, cores, kernel, load, is_debug } = self;
        json!({ "cpu": cpu, "cores": cores, "kernel": kernel, "load": load, "debug_build": is_debug })
    }
}

/// What stands behind the colon in the first line that begins with a name.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// Time that this thread has been on a processor. The kernel may bring it up to date only with each tick of its clock, so
/// that it says nothing of a few milliseconds.
#[must_use]
pub fn cpu_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Time that all threads of this process, those included that have ended, have been in user mode and in the kernel.
#[must_use]
pub fn process_time() -> Option<(Duration, Duration)> {
    // In hundredths of a second, whatever the kernel's clock (proc(5)).
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold anything, also parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse().ok().map(|ticks: u64| Duration::from_millis(10 * ticks));
    Some((next()?, next()?))
}

/// Time that all threads of a process have been on a processor, but for those that have ended; nothing if there is no such one.
#[must_use]
pub fn time_of_process(id: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)).sum()
}

/// Octets of memory that are available to programs.
#[must_use]
pub fn available_memory() -> Option<u64> {
    octets("/proc/meminfo", "MemAvailable")
}

/// Octets of memory that this process holds.
#[must_use]
pub fn resident() -> Option<u64> {
    octets("/proc/self/status", "VmRSS")
}

/// Most octets that this process held, since it began or since [`forget_peak`].
#[must_use]
pub fn peak_resident() -> Option<u64> {
    octets("/proc/self/status", "VmHWM")
}

/// Lets the peak begin anew; false if the kernel does not allow that.
pub fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Octets of memory that all children of this process, and theirs, hold themselves: pages of mapped files are not counted,
/// what several share is counted once.
#[must_use]
pub fn memory_of_children() -> u64 {
    let mut open = children_of("self");
    let (mut own, mut shared) = (0, 0);
    while let Some(id) = open.pop() {
        let path = format!("/proc/{id}/status");
        own += octets(&path, "RssAnon").unwrap_or(0);
        shared = octets(&path, "RssShmem").unwrap_or(0).max(shared);
        open.extend(children_of(&id));
    }
    own + shared
}

/// Numbers of the children of all threads of a process.
fn children_of(id: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Ticks of the kernel's clock since it began, over all processors: those that another machine took, and all.
#[must_use]
pub fn ticks() -> [u64; 2] {
    const STEAL: usize = 7;
    // Time of guests, behind these, is part of the others.
    const COLUMNS: usize = 8;
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let columns: Vec<u64> = line.split_whitespace().skip(1).take(COLUMNS).filter_map(|t| t.parse().ok()).collect();
    [columns.get(STEAL).copied().unwrap_or(0), columns.iter().sum()]
}

/// Part of the time between two looks at [`ticks`] that another machine took.
#[must_use]
pub fn steal(before: [u64; 2], after: [u64; 2]) -> f64 {
    let [stolen, all] = [0, 1].map(|i: usize| {
        let at = |ticks: [u64; 2]| ticks.get(i).copied().unwrap_or(0);
        at(after).saturating_sub(at(before))
    });
    stolen as f64 / all.max(1) as f64
}

fn octets(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let kibioctets: u64 = value_of(&text, name)?.strip_suffix(" kB")?.parse().ok()?;
    Some(kibioctets * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_colons() {
        let text = "processor\t: 0\nmodel name\t: A: B\nmodel name\t: C\n";
        assert_eq!(value_of(text, "model name"), Some("A: B"));
        assert_eq!(value_of(text, "VmHWM"), None);
    }
}
