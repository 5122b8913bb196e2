// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where captures are: those of this folder, and those of the corpus that may lie beside the project.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The folder of the bundled captures.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The bundled captures, in order of their names.
#[must_use]
pub fn bundled() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if matches!(path.extension().and_then(|e| e.to_str()), Some("pcap" | "pcapng")) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The folder of the corpus: captures that other people made, with expected results, which are not part of the project.
/// `WEIR_CORPUS` names it; else it is looked for beside the project. Without it, a test that needs it says so and passes.
#[must_use]
pub fn corpus(test: &str) -> Option<PathBuf> {
    let beside = folder().join("../../shared/pcaps");
    let path = env::var_os("WEIR_CORPUS").map_or(beside, PathBuf::from);
    if path.join("captures").is_dir() {
        return path.canonicalize().ok();
    }
    println!("skipped: {test}: no corpus at {} (set WEIR_CORPUS)", path.display());
    None
}

/// The captures of the corpus, in order of their names.
#[must_use]
pub fn corpus_captures(corpus: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus.join("captures")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// A program of this workspace, built with the same profile as the test that asks.
///
/// # Panics
///
/// If it has not been built: `cargo build --workspace` does that.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    // target/PROFILE/deps/TEST
    let profile = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let path = profile.join(name);
    assert!(path.exists(), "{} is not built: run cargo build --workspace first", path.display());
    path
}
