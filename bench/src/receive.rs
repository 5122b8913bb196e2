// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes the packets of an interface through the ring, looks at nothing of them or meters them, and counts: the floor of live
//! capture on one core, and what metering adds to it.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};
use weir_flow::{FlowRecord, PacketSource, SourceState};
use weir_metering::{
    MeterConfig, Share, Worker,
    capture::ring::{Ring, RingConfig},
};

/// When to end.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// After so much time in all.
    pub time: Option<Duration>,
    /// When nothing has come for so long, once there was something.
    pub idle: Duration,
}

/// Takes packets and says what became of them: one JSON object.
///
/// # Errors
///
/// If the ring cannot be opened, or there is not the memory to meter with.
pub fn receive(config: RingConfig, meters: bool, until: &Until) -> Result<Value> {
    let mut ring = Ring::open(config)?;
    let mut records = 0_u64;
    let sink = |_: &FlowRecord<'_>| records += 1;
    let mut worker = if meters { Some(Worker::new(&MeterConfig::default(), Share::ALL, sink)?) } else { None };
    let (mut packets, mut octets) = (0, 0);
    let (begin, used) = (Instant::now(), on_processor());
    let mut last = None;
    while until.time.is_none_or(|time| begin.elapsed() < time)
        && last.is_none_or(|last: Instant| last.elapsed() < until.idle)
    {
        let state = ring.poll(&mut |batch| {
            for packet in batch {
                packets += u64::from(packet.wire_packets());
                octets += u64::from(packet.wire_octets);
            }
            if let Some(worker) = &mut worker {
                worker.packets(batch);
            }
        })?;
        if state == SourceState::More {
            last = Some(Instant::now());
        }
    }
    let (elapsed, used) = (begin.elapsed(), on_processor().saturating_sub(used));
    let ledger = worker.map(|worker| worker.finish().0);
    let captured = ring.captured();
    Ok(json!({
        "packets": packets,
        "octets": octets,
        "handed_over": ring.handed_over(),
        "offered": captured.offered_packets,
        "lost": captured.lost_packets(),
        "merged": captured.merged_packets,
        "metered": ledger.map(|ledger| ledger.metered.metered_packets),
        "flows": ledger.map(|ledger| ledger.metered.flows_created),
        "records": records,
        "link_lost": ring.link_lost(),
        "seconds": elapsed.as_secs_f64(),
        "processor_seconds": Duration::from_nanos(used).as_secs_f64(),
    }))
}

/// Nanoseconds that this thread was on a processor, in the kernel or not.
fn on_processor() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
