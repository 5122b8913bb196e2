// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which cores workers run on.

use std::fs;

use anyhow::bail;

use crate::options::live::cores as list_of;

/// A core for each of `workers` workers on an interface, or none where the system decides better.
///
/// Those that are asked for, in turn. Else those of the interface's NUMA node, where it has one, and among these those last
/// that serve its interrupts; if they are fewer than workers in all, the system decides.
pub fn choose(interface: &str, workers: usize, asked: &[usize], taken: &mut Vec<usize>) -> Vec<Option<usize>> {
    if !asked.is_empty() {
        let next = |_| {
            let core = asked.get(taken.len() % asked.len()).copied();
            taken.extend(core);
            core
        };
        return (0..workers).map(next).collect();
    }
    let mut free = allowed();
    if let Some(near) = near(interface).filter(|near| free.iter().any(|core| near.contains(core))) {
        free.retain(|core| near.contains(core));
    }
    let interrupted = interrupted(interface);
    free.retain(|core| !taken.contains(core));
    free.sort_by_key(|core| (interrupted.contains(core), *core));
    if free.len() < workers {
        return vec![None; workers];
    }
    let chosen: Vec<_> = free.into_iter().take(workers).collect();
    taken.extend(&chosen);
    chosen.into_iter().map(Some).collect()
}

/// Checks that workers may run on the cores that are asked for.
///
/// # Errors
///
/// If one is not there, or not for this process; the message names it.
pub fn check(asked: &[usize]) -> anyhow::Result<()> {
    let allowed = allowed();
    // Where the system does not say which there are, nothing can be said.
    match asked.iter().find(|core| !allowed.is_empty() && !allowed.contains(core)) {
        Some(core) => bail!("cores: there is no core {core} here, or not for this process"),
        None => Ok(()),
    }
}

/// Cores that this process may run on.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(|list| list_of(list.trim()).ok()).unwrap_or_default()
}

/// Cores of the interface's NUMA node.
fn near(interface: &str) -> Option<Vec<usize>> {
    let node = fs::read_to_string(format!("/sys/class/net/{interface}/device/numa_node")).ok()?;
    let node: usize = node.trim().parse().ok()?;
    let list = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist")).ok()?;
    list_of(list.trim()).ok()
}

/// Cores that serve the interface's interrupts.
fn interrupted(interface: &str) -> Vec<usize> {
    let numbers = fs::read_dir(format!("/sys/class/net/{interface}/device/msi_irqs"));
    let mut cores = Vec::new();
    for number in numbers.into_iter().flatten().flatten() {
        let path = format!("/proc/irq/{}/effective_affinity_list", number.file_name().to_string_lossy());
        if let Some(list) = fs::read_to_string(path).ok().and_then(|list| list_of(list.trim()).ok()) {
            cores.extend(list);
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_are_asked_for_are_taken_in_turn() {
        let mut taken = Vec::new();
        assert_eq!(choose("none", 3, &[5, 7], &mut taken), [Some(5), Some(7), Some(5)]);
        assert_eq!(choose("none", 1, &[5, 7], &mut taken), [Some(7)]);
    }

    #[test]
    fn a_core_that_is_not_there_is_named() {
        check(&allowed()).unwrap();
        assert!(check(&[4095]).unwrap_err().to_string().contains("4095"));
    }

    #[test]
    fn no_two_workers_share_a_core_unasked() {
        let mut taken = Vec::new();
        let all = allowed().len();
        let first = choose("none", all, &[], &mut taken);
        assert!(first.iter().all(Option::is_some), "{first:?}");
        assert_eq!(choose("none", 1, &[], &mut taken), [None]);
    }
}
