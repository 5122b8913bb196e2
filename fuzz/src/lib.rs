// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzz targets: whatever reads octets of others, attacked.
//!
//! A target is a plain function of octets. It runs under libFuzzer (`fuzz_targets/`) and in a test that needs no fuzzer
//! (`tests/regressions.rs`) alike. Each holds more than "no panic": that bounds are kept, that nothing is lost without
//! being counted, that what was written reads back as the same, that however a stream is split, the fields are the same.
//!
//! | target | attacks |
//! |---|---|
//! | one for each protocol, by its slug | its parser against the contract of parsers, then a session on its port |
//! | [`session`] | all parsers, recognised by content |
//! | [`packet`] | header views of every link type |
//! | [`worker`] | packet after packet: flow cache, fragments, streams, parsers, records |
//! | [`capture`] | readers of pcap and pcapng, by name and as a stream |
//! | [`record`] | JSON and IPFIX of any fields |
//! | [`ipfix`] | one message: header, sets, templates, records |
//! | [`collector`], [`netflow`] | message after message into the collecting process |
//!
//! Not here: the filter language, since it comes with the query engine; it has property tests in its own room.
#![expect(clippy::missing_panics_doc, reason = "to panic is how a target says that it has found something")]

mod app;
pub mod input;
mod ipfix;
mod meter;
mod record;
pub mod seed;

pub use app::*;
pub use ipfix::{collector, ipfix, netflow};
pub use meter::{capture, packet, worker};
pub use record::record;

/// A target and its name.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its folders of seeds and regressions.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
}

/// All targets.
#[must_use]
pub fn targets() -> Vec<Target> {
    let mut targets = TARGETS.to_vec();
    targets.extend([
        Target { name: "session", run: session },
        Target { name: "packet", run: packet },
        Target { name: "worker", run: worker },
        Target { name: "capture", run: capture },
        Target { name: "record", run: record },
        Target { name: "ipfix", run: ipfix },
        Target { name: "collector", run: collector },
        Target { name: "netflow", run: netflow },
    ]);
    targets
}

/// Runs the target that `WEIR_FUZZ_TARGET` names on one input.
///
/// # Panics
///
/// If there is no such target; and if it finds something.
pub fn chosen(data: &[u8]) {
    static CHOSEN: std::sync::LazyLock<Target> = std::sync::LazyLock::new(|| {
        let name = std::env::var("WEIR_FUZZ_TARGET").unwrap_or_default();
        let names: Vec<_> = targets().iter().map(|target| target.name).collect();
        let found = targets().into_iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("WEIR_FUZZ_TARGET is {name:?}, expected one of {names:?}"))
    });
    (CHOSEN.run)(data);
}
