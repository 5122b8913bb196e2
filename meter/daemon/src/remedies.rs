// SPDX-License-Identifier: MIT OR Apache-2.0
//! What helps against loss and trouble, counter by counter.

/// Counters that tell of loss or trouble when they are not zero, and what an operator can do.
const REMEDIES: &[(&str, &str)] = &[
    (
        "rx_dropped",
        "often harmless: frames of protocols that nobody on this machine wants; else more memory for sockets (sysctl net.core.netdev_max_backlog)",
    ),
    ("rx_missed_errors", "a longer queue of the interface (ethtool -G NAME rx N), and its interrupts on more cores"),
    ("rx_fifo_errors", "a longer queue of the interface (ethtool -G NAME rx N)"),
    ("rx_errors", "look at the cable, the transceiver, and the other end (ethtool -S NAME)"),
    (
        "lost_ring_full",
        "more workers (--workers), cores that do nothing else (--cores), a larger ring (--memory), or fewer packets (--filter)",
    ),
    ("lost_by_interface", "as of rx_missed_errors"),
    ("lost_xdp_ring_full", "more workers, cores that do nothing else (--cores), or --busy-poll"),
    ("lost_xdp_fill_empty", "a larger ring (--memory), or --busy-poll"),
    (
        "lost_xdp_dropped",
        "frames larger than AF_XDP takes: a smaller MTU, offloads off (ethtool -K NAME gro off lro off), or --capture packet",
    ),
    ("waiting_packets", "nothing, unless it stays high: then the worker does not keep up"),
    ("interruptions", "see what took the interface away; metering goes on when it is back"),
    ("unsupported_link_type", "capture an interface that has Ethernet, IP or another link type that is decoded"),
    ("encrypted", "capture behind the access point or the encrypting device, where packets are in the clear"),
    ("truncated_link_header", "a larger --snaplen"),
    ("truncated_ip_header", "a larger --snaplen"),
    ("snapped_packets", "a larger --snaplen, if application fields are missed"),
    ("packets_dated_ahead", "see what is wrong with the clock of the capture"),
    ("clock_steps_forward", "nothing, if there was a pause; else see what sets the clock"),
    ("clock_steps_back", "see what sets the clock of this machine back"),
    (
        "wall_clock_steps_forward",
        "have the clock corrected gradually (chronyd, ntpd); records around the step have timestamps of both clocks",
    ),
    (
        "wall_clock_steps_back",
        "have the clock corrected gradually (chronyd, ntpd); records around the step have timestamps of both clocks",
    ),
    ("ended_lack_of_resources", "more --flows, or more --memory"),
    ("transactions_not_recorded", "a higher --max-transactions, if each of them is wanted"),
    ("records_with_cut_fields", "nothing: fields have bounds"),
    ("stream_gaps", "see why packets are missing: loss here, or a mirror port that does not give all"),
    ("flows_without_app_state", "more --app-flows, or more --memory"),
    ("flows_without_statistics", "more --memory, or fewer --statistics"),
    ("application_states_refused", "more --memory"),
    ("application_unread_refused", "more --memory"),
    ("application_segments_refused", "more --memory"),
    ("records_dropped_queue", "a destination, or a way to it, that takes more; fewer records (longer timeouts)"),
    ("records_without_fields", "TCP in place of UDP, or a larger --max-datagram where the path carries it"),
    ("records_dropped_size", "TCP in place of UDP"),
    ("records_not_sent", "see why the destination does not take them: its own log, the way to it, room on the disk"),
    (
        "records_dropped_spool",
        "see why the destination is away or slow; more --spool-memory, or a --spool-dir, for a longer time without it",
    ),
    ("records_dropped_spool_disk", "see whether the folder of the spool (--spool-dir) can be written, and has room"),
    ("records_dropped_away", "see whether the destination's name can be resolved; an address in its place"),
    ("records_dropped_mtu", "TCP in place of UDP, or a path with a larger MTU"),
    ("records_refused", "see whether somebody listens at the destination, and whether there is a route"),
    (
        "records_left_in_spool",
        "send them when the destination is there again (weir replay FILE --to tcp://…); they are in --spool-dir",
    ),
    ("records_sent_again", "nothing, if the collector knows repetitions by their sequence numbers; else --resend 0B"),
    (
        "records_in_doubt",
        "look into the collector; if it refuses connections after they were made (TLS: its own log says why), they did not arrive",
    ),
    ("messages_split", "a smaller --max-datagram, of what the path takes"),
    ("connection_failures", "see whether the destination is there; it is tried again and again"),
    ("send_errors", "see whether somebody listens at the destination"),
    ("reconnects", "see why the destination closes connections"),
];

/// What helps when a counter of this name is not zero; `None` if nothing is wrong then.
pub fn remedy(counter: &str) -> Option<&'static str> {
    REMEDIES.iter().find_map(|(name, remedy)| (*name == counter).then_some(*remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{NIC, SENT, WORKER};

    #[test]
    fn remedies_are_for_counters_that_there_are() {
        let mut names: Vec<_> = WORKER.iter().flat_map(|(family, _)| family.definitions).map(|d| d.0).collect();
        names.extend(NIC.definitions.iter().chain(SENT.definitions).map(|d| d.0));
        for (name, _) in REMEDIES {
            assert!(names.contains(name), "{name}");
        }
        for name in names.iter().filter(|name| name.contains("lost") || name.contains("dropped")) {
            assert!(remedy(name).is_some(), "{name}");
        }
    }
}
