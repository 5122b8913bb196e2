// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which traces there are, and where they lie.

use std::{
    env,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, ensure};

use crate::{
    machine,
    trace::{Kind, Spec},
    truth::Summary,
};

/// A trace under its name in reports.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// What it is made from.
    pub spec: Spec,
}

/// How large traces are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Size {
    /// For figures.
    Full,
    /// For checks: next to nothing.
    Quick,
}

/// All traces: the sweep over active flows, then the others.
#[must_use]
pub fn all(size: Size, seed: u64) -> Vec<Planned> {
    const K: u32 = 1_000;
    const M: u32 = 1_000_000;
    let full: [(&str, Kind, u32, u32); 11] = [
        ("u1k", Kind::Uniform, K, 10 * M),
        ("u10k", Kind::Uniform, 10 * K, 10 * M),
        ("u100k", Kind::Uniform, 100 * K, 10 * M),
        ("u1m", Kind::Uniform, M, 40 * M),
        ("u10m", Kind::Uniform, 10 * M, 40 * M),
        ("zipf", Kind::Zipf, M, 10 * M),
        ("burst", Kind::Burst, M, 10 * M),
        ("syn", Kind::Syn, 1, 4 * M),
        ("mix", Kind::Mix, 10 * K, 3 * M),
        ("collision", Kind::Collision, 100 * K, 10 * M),
        ("tunnel", Kind::Tunnel, 10 * K, M),
    ];
    let quick: [(&str, Kind, u32, u32); 5] = [
        ("u1k", Kind::Uniform, K, 20 * K),
        ("syn", Kind::Syn, 1, 5 * K),
        ("mix", Kind::Mix, 100, 5 * K),
        ("collision", Kind::Collision, K, 5 * K),
        ("tunnel", Kind::Tunnel, 100, 2 * K),
    ];
    let rows = if size == Size::Full { &full[..] } else { &quick[..] };
    let planned = |&(name, kind, flows, packets): &(&str, Kind, u32, u32)| Planned {
        name: name.to_owned(),
        spec: Spec { kind, flows, packets: packets.into(), seed },
    };
    rows.iter().map(planned).collect()
}

/// Where traces are kept if nobody says where: the user's cache folder.
#[must_use]
pub fn default_folder() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(env::temp_dir).join("weir-bench")
}

/// A folder of this process alone.
#[must_use]
pub fn temporary_folder() -> PathBuf {
    env::temp_dir().join(format!("weir-bench-{}", process::id()))
}

impl Planned {
    /// Where the trace lies in a folder.
    #[must_use]
    pub fn path(&self, folder: &Path) -> PathBuf {
        let Spec { packets, seed, .. } = self.spec;
        folder.join(format!("{}-{packets}-{seed}.pcap", self.name))
    }

    /// Makes the trace if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or memory does not suffice for keeping it in the page cache.
    pub fn make(&self, folder: &Path) -> Result<Summary> {
        let path = self.path(folder);
        if self.spec.is_at(&path) {
            return Summary::load(&path);
        }
        let expected = self.spec.expected_octets();
        if let Some(available) = machine::available_memory() {
            ensure!(expected < available, "{} would not stay in memory: {} MiB", path.display(), expected >> 20);
        }
        eprintln!("  writing {}, about {} MiB", path.display(), expected >> 20);
        self.spec.write(&path).with_context(|| path.display().to_string())
    }
}
