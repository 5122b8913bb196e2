// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP (RFC 3261): one request and its responses, with the media that they describe (SDP, RFC 8866).

use crate::{Compact, List, Text, TextList};

crate::fields! {
    /// Fields of a SIP transaction.
    pub struct Sip = "sip" {
        /// Kind of message by the numbers of ipfixprobe: 1 INVITE, 2 ACK, 3 CANCEL, 4 BYE, 5 REGISTER, 6 OPTIONS, 7 PUBLISH,
        /// 8 NOTIFY, 9 INFO, 10 SUBSCRIBE; 99 where only a response was seen. Unset for other methods.
        pub message_type: Option<u16>,
        /// Method of the request line; where only a response was seen, `cseq` has it.
        pub method: Text<64>,
        /// Request-URI.
        pub request_uri: Text<512>,
        /// Status codes of the responses, provisional ones first.
        pub status_code: List<u16, 16>,
        /// From header fields, whole, each once: of the request, then those of responses that write it in another way.
        pub from: TextList<4, 512>,
        /// To header fields, whole, each once: of the request, then with the tags that responses give.
        pub to: TextList<4, 512>,
        /// URI of the first From.
        pub from_uri: Text<256>,
        /// URI of the first To.
        pub to_uri: Text<256>,
        /// Call-ID.
        pub call_id: Text<256>,
        /// User-Agent, of the first message that has one.
        pub user_agent: Text<256>,
        /// CSeq, number and method.
        pub cseq: Text<80>,
        /// Server, of responses.
        pub server: Text<256>,
        /// Topmost Via.
        pub via: Text<512>,
        /// First Contact.
        pub contact: Text<512>,
        /// User name of Authorization, else of Proxy-Authorization (RFC 7616 section 3.4).
        pub auth_user: Text<256>,
        /// IPv4 addresses at which media are received, of all session descriptions, each once (RFC 8866 section 5.7).
        pub media_ipv4: List<[u8; 4], 8>,
        /// IPv6 addresses at which media are received, likewise.
        pub media_ipv6: List<[u8; 16], 8>,
        /// Ports of media of the type audio, each once; without those that were refused (RFC 8866 section 5.14).
        pub audio_port: List<u16, 8>,
        /// Ports of media of the type video, likewise.
        pub video_port: List<u16, 8>,
        /// Ports of media of other types, as image (T.38) and application, likewise.
        pub media_port: List<u16, 8>,
        /// Names of the codecs that are offered or taken, each once: of `rtpmap` (RFC 8866 section 6.6), and of payload types with
        /// a name of their own (RFC 3551 section 6).
        pub codec: TextList<24, 32>,
        /// From the request to the first response, provisional or final, in microseconds.
        pub response_time: Compact<u32>,
        /// Of INVITE: from the request to the first response 180 to 189, in microseconds.
        pub time_to_ring: Compact<u64>,
        /// Of INVITE: from the request to the first response 200 to 299, in microseconds.
        pub time_to_answer: Compact<u64>,
        /// Of BYE: from the call's first INVITE, if it went over this flow, in microseconds.
        pub time_to_end: Compact<u64>,
        /// Of BYE: from the response that answered the call, if it went over this flow, in microseconds.
        pub call_duration: Compact<u64>,
    }
}
