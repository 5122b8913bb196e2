// SPDX-License-Identifier: MIT OR Apache-2.0
//! NTP (RFC 5905): one request of a client and its response, or one message that stands alone.

use crate::ShortText;

/// Most octets of a timestamp as text: ten digits, a point, nine digits.
pub const MAX_TIMESTAMP: usize = 20;

crate::fields! {
    /// Fields of an NTP transaction: those of the server's response, where it was seen; else those of the request.
    ///
    /// Timestamps are seconds of the NTP era, which begins in 1900 or 2036, with nine decimals, the rest cut off. The
    /// timestamp zero means that it is not known, and is unset.
    pub struct Ntp = "ntp" {
        /// Leap indicator.
        pub leap: Option<u8>,
        /// Version.
        pub version: Option<u8>,
        /// Mode: 1 and 2 symmetric active and passive, 3 client, 4 server, 5 broadcast.
        pub mode: Option<u8>,
        /// Stratum.
        pub stratum: Option<u8>,
        /// Poll interval, the octet as it stands: a logarithm to base 2 of seconds, in two's complement.
        pub poll: Option<u8>,
        /// Precision of the clock, the octet as it stands: a logarithm to base 2 of seconds, in two's complement; 231 is -25.
        pub precision: Option<u8>,
        /// Root delay, in 1/65536 of a second.
        pub root_delay: Option<u32>,
        /// Root dispersion, in 1/65536 of a second.
        pub root_dispersion: Option<u32>,
        /// Reference identifier: ASCII for stratum 0 and 1, where it is that; else in the form of an IPv4 address.
        pub reference_id: ShortText<15>,
        /// Reference timestamp: when the clock was set last.
        pub reference_time: ShortText<MAX_TIMESTAMP>,
        /// Origin timestamp: departure of the request by the client's clock.
        pub origin_time: ShortText<MAX_TIMESTAMP>,
        /// Receive timestamp: arrival of the request by the server's clock.
        pub receive_time: ShortText<MAX_TIMESTAMP>,
        /// Transmit timestamp: departure of this message by its sender's clock.
        pub transmit_time: ShortText<MAX_TIMESTAMP>,
    }
}
