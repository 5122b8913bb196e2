// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flat out with packets that are each of a new flow: memory keeps to its bound, the ledger closes, and somebody answers.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use weir_bench::send::{self, Frames, Plan};

use crate::{
    LAYERS, MINUTE, assert_closes,
    common::{Meter, netns::Wire, number},
    generator::{dropped_by_wire, frames, wait_for_all},
    ledger_of, lost,
};

const MIB: u64 = 1 << 20;

/// The most octets that a process held, its program left out.
fn held(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((field("VmHWM:")? - field("RssFile:")?) * 1024)
}

fn flood(layer: &str, memory: u64, time: Duration, frames: &Frames) {
    let Some(wire) = Wire::new() else { return };
    // Records of a minute would fill a disk.
    let arguments = format!("-i {} --capture {layer} --memory {memory}MiB --export file:/dev/null", Wire::RIGHT);
    let meter = Meter::start(&wire.right, &arguments);
    let plan = Plan { packets: u64::MAX, time: Some(time), rate: None };
    let is_done = AtomicBool::new(false);
    let (sent, answers) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = wire.left.enter(|| send::send(Wire::LEFT, frames, &plan));
            is_done.store(true, Ordering::Relaxed);
            sent.unwrap()
        });
        let mut answers = 0;
        while !is_done.load(Ordering::Relaxed) {
            assert!(meter.status(&[]).contains("offered ="));
            answers += 1;
        }
        (sender.join().unwrap(), answers)
    });
    assert!(answers >= 1, "{layer}: nobody answered");
    wait_for_all(&meter, &wire, sent.packets);
    let dropped = dropped_by_wire(&wire);
    let held = held(meter.child.id());
    let ledger = ledger_of(meter);
    let (metered, flows) = (number(&ledger, "metered", "metered_packets"), number(&ledger, "metered", "flows_created"));
    println!(
        "{layer}: {} packets in {:?} = {metered} metered, of {flows} flows, + {} lost + {dropped} dropped by the wire; \
         {answers} answers; {} KiB of {memory} MiB",
        sent.packets,
        sent.time,
        lost(&ledger),
        held.unwrap_or(0) / 1024
    );
    assert_closes(&ledger, layer);
    assert_eq!(sent.packets, metered + lost(&ledger) + dropped, "{layer}: {ledger:#}");
    assert!(flows > metered / 2, "{layer}: {flows} flows of {metered} packets");
    // There is no room for as many flows as there are; a machine that is very busy does not come so far.
    let ended_early = number(&ledger, "metered", "ended_lack_of_resources");
    assert!(ended_early > 0 || metered < frames.len() as u64, "{layer}: {ledger:#}");
    let Some(held) = held else {
        println!("skipped: the system does not say how much memory a process holds");
        return;
    };
    // And what the program takes for itself.
    assert!(held <= (memory + 4) * MIB, "{layer}: {} KiB of {memory} MiB", held / 1024);
}

#[test]
fn a_flood_of_new_flows_is_endured() {
    let frames = frames(200_000);
    for layer in LAYERS {
        flood(layer, 48, Duration::from_secs(1), &frames);
    }
}

#[test]
#[ignore = "minutes"]
fn a_flood_of_new_flows_is_endured_for_a_minute() {
    let frames = frames(4_000_000);
    for layer in LAYERS {
        flood(layer, 256, MINUTE, &frames);
    }
}
