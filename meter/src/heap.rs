// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much memory the heap has really taken.
//!
//! A budget counts what is in use. An allocator also has what was given back in pieces that nothing fits into any more, and who
//! wants to can make that much: flows that grow in step leave holes between those that do not. Only the system knows how
//! much it is. So it is asked, whenever a budget has grown by a step; and a heap that has taken more than it may makes the
//! budget smaller.

use std::{fs::File, os::unix::fs::FileExt, sync::OnceLock};

use weir_parsers::app::Budget;

/// The heap of this process, beside what it was at first.
#[derive(Debug)]
pub struct Heap {
    /// `None` where the system does not tell, or nobody asks.
    status: Option<&'static File>,
    /// Octets that it may take.
    allowed: usize,
    /// Octets of private memory when it was asked for the first time: with the flow tables, and the stacks of all threads.
    before: Option<usize>,
    /// Most octets by which that has grown since.
    most: usize,
}

impl Heap {
    /// Part of what is allowed by which the heap may pass it before it is asked again.
    const MARGIN: usize = 32;

    /// Octets by which a budget is smaller for each that is too much: what goes on is to find room in what is given up.
    const FOR_EXCESS: usize = 8;

    /// The heap of a process that may take so many octets from now on; `None` if nobody cares.
    pub fn new(allowed: Option<usize>) -> Self {
        let status = allowed.and_then(|_| status());
        let allowed = allowed.unwrap_or_default();
        Self { status, allowed: allowed - allowed / Self::MARGIN, before: None, most: 0 }
    }

    /// Looks how much it has taken, and makes a budget smaller that has led to more than is allowed, for as long as it does.
    #[cold]
    pub fn bound(&mut self, budget: &mut Budget) {
        let Some(now) = self.status.and_then(private) else { return };
        let grown = now.saturating_sub(*self.before.get_or_insert(now));
        let excess = grown.saturating_sub(self.allowed);
        // What is there already may be used again; it must not become more.
        let limit = if grown > self.most.max(self.allowed) { budget.charged() } else { usize::MAX };
        self.most = self.most.max(grown);
        budget.lower(limit.min(budget.whole().saturating_sub(Self::FOR_EXCESS * excess)));
    }
}

/// Where the system says how much memory this process has; opened once. A process that gives up the right to open files calls
/// this before.
pub fn status() -> Option<&'static File> {
    static STATUS: OnceLock<Option<File>> = OnceLock::new();
    STATUS.get_or_init(|| File::open("/proc/self/status").ok()).as_ref()
}

/// Octets of private memory that may be written to, whether it was touched or not: the heap, maps, stacks.
fn private(status: &File) -> Option<usize> {
    let mut text = [0; 4096];
    let len = status.read_at(&mut text, 0).ok()?;
    let text = text.get(..len)?;
    let line = text.split(|&octet| octet == b'\n').find_map(|line| line.strip_prefix(b"VmData:"))?;
    let kibibytes = str::from_utf8(line).ok()?.trim().strip_suffix("kB")?.trim_end();
    kibibytes.parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_that_has_taken_too_much_makes_the_budget_smaller() {
        const MIB: usize = 1 << 20;
        let mut heap = Heap::new(Some(64 * MIB));
        if heap.status.and_then(private).is_none() {
            println!("skipped: the system does not say how much memory a process holds");
            return;
        }
        let mut budget = Budget::new(200 * MIB);
        let whole = budget.limit();
        budget.charge(100 * MIB);
        heap.bound(&mut budget);
        assert_eq!(budget.limit(), whole);
        // Other tests take memory, too, but not so much.
        let taken = vec![1_u8; 1 << 30];
        heap.bound(&mut budget);
        assert_eq!(budget.limit(), 0);
        drop(taken);
        heap.bound(&mut budget);
        assert!(budget.limit() > 100 * MIB, "{}", budget.limit());

        let mut nobody = Heap::new(None);
        nobody.bound(&mut budget);
        assert!(nobody.before.is_none());
    }
}
