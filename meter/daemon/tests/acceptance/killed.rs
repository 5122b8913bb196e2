// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter that is killed leaves nothing on its interface.

use std::time::Instant;

use serde_json::Value;

use crate::{
    LAYERS,
    common::{Meter, PATIENCE, datagrams, netns::Wire, number},
    meter_of,
};

/// What `ip` says of the interface on the right: whether there is an XDP program, and how many want it to be promiscuous.
fn state(wire: &Wire) -> (bool, u64) {
    let all: Value = serde_json::from_str(&wire.right.ip(&format!("-j -d link show {}", Wire::RIGHT))).unwrap();
    (!all[0]["xdp"].is_null(), all[0]["promiscuity"].as_u64().unwrap())
}

#[test]
fn who_is_killed_leaves_nothing_on_the_interface() {
    for layer in LAYERS {
        let Some(wire) = Wire::new() else { return };
        let before = state(&wire);
        assert_eq!(before, (false, 0));
        for _ in 0..2 {
            let mut meter: Meter = meter_of(&wire, layer, "");
            let (has_program, promiscuous) = state(&wire);
            assert_eq!(has_program, layer == "xdp");
            assert_eq!(promiscuous, 1, "{layer}");
            wire.send(&datagrams(10, 1));
            let all = meter.wait_until("ten", |all| number(all, "metered", "metered_packets") == 10);
            assert_eq!(number(&all, "capture", "offered_packets"), 10, "{layer}");
            meter.child.kill().unwrap();
            meter.child.wait().unwrap();
            // The kernel takes away what nobody holds any more, soon.
            let end = Instant::now() + PATIENCE;
            while state(&wire) != before {
                assert!(Instant::now() < end, "{layer}: {:?}", state(&wire));
            }
            // The second one meets the same interface, and what the first one left.
        }
    }
}
