// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of the generator, `weir-bench send`: each that an interface took is metered, or counted where it was lost.

use std::thread;

use weir_bench::{
    send::{self, Frames, Plan, Sent},
    trace::{Order, Trace, TraceSpec},
};

use crate::{
    assert_closes,
    common::{Meter, netns::Wire, number},
    ended, ignored, lost, meter_of,
};

/// Packets of as many flows, one after the other, none of which is ignored.
pub fn frames(flows: u32) -> Frames {
    let spec =
        TraceSpec { flows, packets: flows as usize, size: 128, has_payload: true, order: Order::Sequential, seed: 1 };
    Frames::of_trace(&Trace::new(spec))
}

/// Sends from the left of a wire, by as many threads, each with a plan of its own; gives what they sent.
fn send(wire: &Wire, frames: &Frames, plans: &[Plan]) -> Sent {
    thread::scope(|scope| {
        let threads: Vec<_> = plans
            .iter()
            .map(|plan| scope.spawn(|| wire.left.enter(|| send::send(Wire::LEFT, frames, plan).unwrap())))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold(Sent::default(), |all, one| Sent {
            packets: all.packets + one.packets,
            octets: all.octets + one.octets,
            refused: all.refused + one.refused,
            time: all.time.max(one.time),
        })
    })
}

/// Frames that the wire itself dropped, of those it had taken.
pub fn dropped_by_wire(wire: &Wire) -> u64 {
    wire.left.counter(Wire::LEFT, "tx_dropped")
}

/// Waits until all that was sent is accounted for: metered, ignored, or lost by a counter.
pub fn wait_for_all(meter: &Meter, wire: &Wire, sent: u64) {
    let reached = sent - dropped_by_wire(wire);
    meter.wait_until(&format!("all of {sent}"), |all| {
        number(all, "metered", "delivered_packets") + lost(all) >= reached
    });
}

fn is_exact(layer: &str, queues: u32, frames: &Frames) {
    const PACKETS: u64 = 30_000;
    let Some(wire) = Wire::with_queues(queues) else { return };
    let meter = meter_of(&wire, layer, "");
    let plan = |rate| Plan { packets: PACKETS, time: None, rate };
    // One flat out, as many as there are queues; then at half of that.
    let plans = |rate| vec![plan(rate); queues as usize];
    let flat_out = send(&wire, frames, &plans(None));
    wait_for_all(&meter, &wire, flat_out.packets);
    let rate = (flat_out.packets as f64 / flat_out.time.as_secs_f64() / 2.0 / f64::from(queues)) as u64;
    let half = send(&wire, frames, &plans(Some(rate)));
    let sent = flat_out.packets + half.packets;
    assert_eq!(sent, 2 * PACKETS * u64::from(queues));
    wait_for_all(&meter, &wire, sent);
    let dropped = dropped_by_wire(&wire);
    let (ledger, records) = ended(meter);
    let name = format!("{layer}, {queues} queues");
    println!("{name}: {flat_out:?} {half:?}: {} lost, {dropped} dropped by the wire", lost(&ledger));
    assert_closes(&ledger, &name);
    let metered = number(&ledger, "metered", "metered_packets");
    assert_eq!(sent, metered + lost(&ledger) + dropped, "{name}: {ledger:#}");
    assert_eq!(ignored(&ledger), 0, "{name}: {ledger:#}");
    let count = |record: &serde_json::Value, name: &str| record[name].as_u64().unwrap_or(0);
    let in_records: u64 =
        records.iter().map(|record| count(record, "packetDeltaCount") + count(record, "reversePacketDeltaCount")).sum();
    // Of a queue that was full on a busy machine, some records are dropped, and counted.
    if number(&ledger, "records", "records_dropped_queue") == 0 {
        assert_eq!(in_records, metered, "{name}");
    }
}

#[test]
fn what_is_sent_is_metered_or_lost_by_a_counter() {
    let frames = frames(5000);
    for (layer, queues) in [("packet", 1), ("packet", 2), ("pcap", 1), ("pcap", 2), ("xdp", 1), ("xdp", 2)] {
        is_exact(layer, queues, &frames);
    }
}
