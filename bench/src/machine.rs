// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine is, and what this process has used of it, as Linux's `/proc` says. Where it does not, it is unknown.

use std::{fs, thread, time::Duration};

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
