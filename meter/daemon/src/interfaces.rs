// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interfaces of this machine, and what capture they offer.

use std::fs;

use crate::{nic, xdp};

/// One line for each interface in the order of their index, and one on AF_XDP.
pub fn list() -> String {
    let mut interfaces: Vec<(u32, String)> = Vec::new();
    for entry in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default().trim().to_owned();
        // Plain files such as bonding_masters are no interfaces.
        let Ok(index) = read("ifindex").parse() else { continue };
        let queues = nic::receive_queues(&name);
        let state = read("operstate");
        let text = format!("{index:>4}  {name:<16} {state:<12} mtu {:<6} receive queues {queues}\n", read("mtu"));
        interfaces.push((index, text));
    }
    interfaces.sort();
    let lines: String = interfaces.into_iter().map(|i| i.1).collect();
    format!("{lines}AF_XDP: {}\n", xdp::support())
}
