// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flow statistics: what a metering process measures of the packets of a record, if it is asked to.
//!
//! Definitions, units and sources are in `docs/statistics.md`. What concerns one direction has a field for that of the record's
//! key, and one whose name begins with `reverse_` for the other; a uniflow has only the first. A field is unset where its
//! group is not measured, where the record has no packet that it could come from, and where a protocol has no such thing.

use crate::{List, ShortOctets, Timestamp};

/// Most packets that are listed one by one.
pub const MAX_PACKETS: usize = 120;
/// Bins of a histogram.
pub const BINS: usize = 8;
/// Most bursts of one direction that are listed.
pub const MAX_BURSTS: usize = 15;
/// Most octets of payload of one direction whose entropy is told.
pub const MAX_ENTROPY_OCTETS: usize = 256;

crate::fields! {
    /// Statistics of the packets of one record.
    pub struct Statistics = "stats" {
        /// Octets of payload of each of the first packets, at most 32,767.
        pub packet_lengths: List<i16, MAX_PACKETS>,
        /// When each of these packets was observed.
        pub packet_times: List<Timestamp, MAX_PACKETS>,
        /// TCP control bits of each of these packets, the lower eight; zero unless TCP.
        pub packet_flags: List<u8, MAX_PACKETS>,
        /// Direction of each of these packets: 1 that of the key, -1 the other one.
        pub packet_directions: List<i8, MAX_PACKETS>,
        /// Packets by octets of payload: below 16, 32, 64, 128, 256, 512, 1024, and the rest.
        pub size_histogram: List<u32, BINS>,
        /// Packets by milliseconds since the packet before in the same direction: below 16, 32, 64, 128, 256, 512, 1024, and
        /// the rest.
        pub time_histogram: List<u32, BINS>,
        /// The same as `size_histogram` of the other direction.
        pub reverse_size_histogram: List<u32, BINS>,
        /// The same as `time_histogram` of the other direction.
        pub reverse_time_histogram: List<u32, BINS>,
        /// Packets of each of the first bursts.
        pub burst_packets: List<u32, MAX_BURSTS>,
        /// Octets of payload of each of these bursts.
        pub burst_octets: List<u32, MAX_BURSTS>,
        /// Time of the first packet of each of these bursts.
        pub burst_starts: List<Timestamp, MAX_BURSTS>,
        /// Time of the last packet of each of these bursts.
        pub burst_ends: List<Timestamp, MAX_BURSTS>,
        /// The same as `burst_packets` of the other direction.
        pub reverse_burst_packets: List<u32, MAX_BURSTS>,
        /// The same as `burst_octets` of the other direction.
        pub reverse_burst_octets: List<u32, MAX_BURSTS>,
        /// The same as `burst_starts` of the other direction.
        pub reverse_burst_starts: List<Timestamp, MAX_BURSTS>,
        /// The same as `burst_ends` of the other direction.
        pub reverse_burst_ends: List<Timestamp, MAX_BURSTS>,
        /// Entropy of the first octets of payload, in thousandths of a bit for each octet: 0 to 8000.
        pub entropy: Option<u16>,
        /// The same of the other direction.
        pub reverse_entropy: Option<u16>,
        /// Octets that `entropy` is of.
        pub entropy_octets: Option<u16>,
        /// Octets that `reverse_entropy` is of.
        pub reverse_entropy_octets: Option<u16>,
        /// Microseconds from the SYN to the ACK that ends the handshake.
        pub handshake_time: Option<u32>,
        /// Microseconds from the SYN to the SYN with ACK: to the server and back.
        pub server_round_trip: Option<u32>,
        /// Microseconds from the SYN with ACK to the ACK that ends the handshake: to the client and back.
        pub client_round_trip: Option<u32>,
        /// Microseconds from the last payload of the client to the first of the server's after it, the first time in the
        /// record.
        pub response_time: Option<u32>,
        /// Segments with nothing but what was sent before, or what comes too late to be out of order.
        pub retransmissions: Option<u32>,
        /// The same of the other direction.
        pub reverse_retransmissions: Option<u32>,
        /// Segments that came after others that follow them, early enough not to be sent again.
        pub out_of_order: Option<u32>,
        /// The same of the other direction.
        pub reverse_out_of_order: Option<u32>,
        /// Duplicate acknowledgments (RFC 5681 section 2) that this direction sent.
        pub duplicate_acks: Option<u32>,
        /// The same of the other direction.
        pub reverse_duplicate_acks: Option<u32>,
        /// Segments that tell a window of zero.
        pub zero_windows: Option<u32>,
        /// The same of the other direction.
        pub reverse_zero_windows: Option<u32>,
        /// Window field of the first segment, as it stands there.
        pub window: Option<u16>,
        /// The same of the other direction.
        pub reverse_window: Option<u16>,
        /// Maximum segment size option of the SYN.
        pub mss: Option<u32>,
        /// The same of the other direction.
        pub reverse_mss: Option<u32>,
        /// Window scale option of the SYN: the window is shifted by so many bits.
        pub window_scale: Option<u16>,
        /// The same of the other direction.
        pub reverse_window_scale: Option<u16>,
        /// Options of all segments: for each kind below 64, the bit of that number.
        pub tcp_options: Option<u64>,
        /// The same of the other direction.
        pub reverse_tcp_options: Option<u64>,
        /// Octets of the IP packet of the SYN without ACK.
        pub syn_octets: Option<u16>,
        /// Time to live or hop limit of the first packet.
        pub ttl: Option<u8>,
        /// The same of the other direction.
        pub reverse_ttl: Option<u8>,
        /// Least of all packets.
        pub ttl_min: Option<u8>,
        /// The same of the other direction.
        pub reverse_ttl_min: Option<u8>,
        /// Greatest of all packets.
        pub ttl_max: Option<u8>,
        /// The same of the other direction.
        pub reverse_ttl_max: Option<u8>,
        /// Flags of the IPv4 header of the first packet, in the upper three bits: 0x40 "don't fragment", 0x20 "more
        /// fragments".
        pub ip_flags: Option<u8>,
        /// The same of the other direction.
        pub reverse_ip_flags: Option<u8>,
        /// Source of the Ethernet frame of the first packet of the direction of the key, the outermost one.
        pub source_mac: ShortOctets<6>,
        /// Destination of that frame.
        pub destination_mac: ShortOctets<6>,
        /// Label, traffic class and bottom of stack of the outermost MPLS label of the first packet (RFC 3032 section 2.1).
        pub mpls_label: ShortOctets<3>,
        /// The same of the other direction.
        pub reverse_mpls_label: ShortOctets<3>,
        /// The same of the label below it.
        pub mpls_label_2: ShortOctets<3>,
        /// The same of the other direction.
        pub reverse_mpls_label_2: ShortOctets<3>,
        /// The same of the third one.
        pub mpls_label_3: ShortOctets<3>,
        /// The same of the other direction.
        pub reverse_mpls_label_3: ShortOctets<3>,
        /// Type of service or traffic class octet of the first packet of the other direction.
        pub reverse_tos: Option<u8>,
        /// Identifier of the outermost VLAN of that packet, if it had one.
        pub reverse_vlan: Option<u16>,
        /// ICMP type in the upper octet, code in the lower one, of that packet.
        pub reverse_icmp: Option<u16>,
        /// The same for ICMPv6.
        pub reverse_icmpv6: Option<u16>,
    }
}
