// SPDX-License-Identifier: MIT OR Apache-2.0
//! RTP and RTCP (RFC 3550): one media source in each direction, and what both sides report.

use crate::{Compact, Text};

crate::fields! {
    /// Fields of a media flow, of the time of one record. Without a prefix, they are of packets from the initiator; with `reverse_`,
    /// of packets towards it.
    pub struct Rtp = "rtp" {
        /// SSRC of the source that is followed; where no RTP was seen, of who sends reports.
        pub ssrc: Compact<u32>,
        /// Payload type of its first packet.
        pub payload_type: Option<u8>,
        /// Units of its timestamps in a second: of the payload type (RFC 3551 section 6), or estimated; unset while it is
        /// not known.
        pub clock_rate: Compact<u32>,
        /// Its packets, repeated ones included.
        pub packets: Compact<u32>,
        /// Its packets that have not come, by sequence numbers.
        pub lost: Compact<u32>,
        /// Its packets that came behind later ones.
        pub late: Compact<u32>,
        /// Its packets that came again.
        pub duplicates: Compact<u32>,
        /// Interarrival jitter (RFC 3550 section 6.4.1) after its last packet, in microseconds.
        pub jitter: Compact<u32>,
        /// The largest that this jitter was, in microseconds.
        pub max_jitter: Compact<u32>,
        /// Packets of other sources in the same direction.
        pub other_packets: Compact<u32>,
        /// Datagrams with RTCP packets.
        pub rtcp_packets: Compact<u32>,
        /// Octets in them.
        pub rtcp_octets: Compact<u64>,
        /// Packets that it sent, by its last sender report.
        pub sender_packets: Compact<u32>,
        /// Octets of payload that it sent, by its last sender report.
        pub sender_octets: Compact<u32>,
        /// Of packets to it, the share that was lost, in 1/256, by its last report.
        pub reported_fraction: Option<u8>,
        /// Packets to it that were lost since the beginning, by its last report; 0 where more came than were sent.
        pub reported_lost: Compact<u32>,
        /// Jitter of packets to it in units of their timestamps, by its last report.
        pub reported_jitter: Compact<u32>,
        /// From the observation point to it and back, in microseconds, by its last report on a sender report that was seen
        /// (RFC 3550 section 6.4.1).
        pub round_trip: Compact<u32>,
        /// CNAME that it gives itself.
        pub cname: Text<256>,
        /// Reverse: SSRC of the source that is followed; where no RTP was seen, of who sends reports.
        pub reverse_ssrc: Compact<u32>,
        /// Reverse: Payload type of its first packet.
        pub reverse_payload_type: Option<u8>,
        /// Reverse: Units of its timestamps in a second: of the payload type (RFC 3551 section 6), or estimated; unset while
        /// it is not known.
        pub reverse_clock_rate: Compact<u32>,
        /// Reverse: Its packets, repeated ones included.
        pub reverse_packets: Compact<u32>,
        /// Reverse: Its packets that have not come, by sequence numbers.
        pub reverse_lost: Compact<u32>,
        /// Reverse: Its packets that came behind later ones.
        pub reverse_late: Compact<u32>,
        /// Reverse: Its packets that came again.
        pub reverse_duplicates: Compact<u32>,
        /// Reverse: Interarrival jitter (RFC 3550 section 6.4.1) after its last packet, in microseconds.
        pub reverse_jitter: Compact<u32>,
        /// Reverse: The largest that this jitter was, in microseconds.
        pub reverse_max_jitter: Compact<u32>,
        /// Reverse: Packets of other sources in the same direction.
        pub reverse_other_packets: Compact<u32>,
        /// Reverse: Datagrams with RTCP packets.
        pub reverse_rtcp_packets: Compact<u32>,
        /// Reverse: Octets in them.
        pub reverse_rtcp_octets: Compact<u64>,
        /// Reverse: Packets that it sent, by its last sender report.
        pub reverse_sender_packets: Compact<u32>,
        /// Reverse: Octets of payload that it sent, by its last sender report.
        pub reverse_sender_octets: Compact<u32>,
        /// Reverse: Of packets to it, the share that was lost, in 1/256, by its last report.
        pub reverse_reported_fraction: Option<u8>,
        /// Reverse: Packets to it that were lost since the beginning, by its last report; 0 where more came than were sent.
        pub reverse_reported_lost: Compact<u32>,
        /// Reverse: Jitter of packets to it in units of their timestamps, by its last report.
        pub reverse_reported_jitter: Compact<u32>,
        /// Reverse: From the observation point to it and back, in microseconds, by its last report on a sender report that
        /// was seen (RFC 3550 section 6.4.1).
        pub reverse_round_trip: Compact<u32>,
        /// Reverse: CNAME that it gives itself.
        pub reverse_cname: Text<256>,
    }
}
