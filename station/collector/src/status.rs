// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the collecting process counts and holds, and what it knows of each exporter.

use std::net::IpAddr;

use weir_flow::Timestamp;

weir_flow::counters! {
    /// What happened on the sockets.
    pub struct Received {
        #[doc = "datagrams taken from UDP sockets"]
        pub datagrams,
        #[doc = "messages taken from TCP sessions"]
        pub stream_messages,
        #[doc = "TCP sessions accepted"]
        pub sessions_accepted,
        #[doc = "TCP sessions closed by the exporter after a complete message"]
        pub sessions_closed,
        #[doc = "TCP sessions refused because as many as allowed were open"]
        pub sessions_refused_by_cap,
        #[doc = "TCP sessions refused because as many as allowed were open from that address"]
        pub sessions_refused_by_address_cap,
        #[doc = "TCP sessions disconnected because what came was no IPFIX message header"]
        pub disconnected_bad_header,
        #[doc = "TCP sessions disconnected because a message took too long to come"]
        pub disconnected_half_message,
        #[doc = "TCP sessions disconnected because nothing came for too long"]
        pub disconnected_idle,
        #[doc = "TCP sessions that ended within a message"]
        pub ended_within_message,
        #[doc = "TCP sessions that were reset or failed otherwise"]
        pub failed_sessions,
        #[doc = "TCP sessions closed by a stop of the collector while the exporter kept them open"]
        pub closed_by_stop,
        #[doc = "TCP sessions cut off by a stop of the collector before all that was in flight had come"]
        pub cut_by_stop,
        #[doc = "failures of accept or receive calls"]
        pub socket_errors,
    }
}

weir_flow::counters! {
    /// What became of the messages.
    pub struct Decoded {
        #[doc = "messages given to the decoder"]
        pub messages,
        #[doc = "their octets"]
        pub octets,
        #[doc = "messages of IPFIX"]
        pub messages_ipfix,
        #[doc = "messages of NetFlow version 9"]
        pub messages_netflow9,
        #[doc = "messages of NetFlow version 5"]
        pub messages_netflow5,
        #[doc = "messages not read: neither IPFIX nor NetFlow version 5 or 9"]
        pub messages_of_unknown_version,
        #[doc = "messages not read: shorter than their header, or than it claims"]
        pub messages_truncated,
        #[doc = "messages not read: no room for another session"]
        pub messages_beyond_session_cap,
        #[doc = "messages not read: no room for another observation domain"]
        pub messages_beyond_domain_cap,
        #[doc = "messages with octets behind the length that they claim, which were not read"]
        pub messages_with_trailing_octets,
        #[doc = "sets of IPFIX and NetFlow version 9"]
        pub sets,
        #[doc = "sets of templates or options templates"]
        pub sets_of_templates,
        #[doc = "sets of data"]
        pub sets_of_data,
        #[doc = "sets with a reserved ID, passed over"]
        pub sets_reserved,
        #[doc = "sets of data decoded when they came"]
        pub sets_decoded,
        #[doc = "sets of data that came before their template and were kept"]
        pub sets_waited,
        #[doc = "of those, sets decoded when their template came"]
        pub sets_recovered,
        #[doc = "of those, sets given up because their session ended or the template turned out to be another"]
        pub sets_given_up,
        #[doc = "sets of data without a template, not kept because there was no room"]
        pub sets_not_kept,
        #[doc = "damaged set headers: where the next set begins is unknown, the rest of the message was not read"]
        pub sets_damaged,
        #[doc = "flow records decoded, each given to the sink"]
        pub records,
        #[doc = "records of options read; they are no flows and not given to the sink"]
        pub records_of_options,
        #[doc = "records longer than what was left of their set or message; at most one for each"]
        pub records_damaged,
        #[doc = "flow records without any time, which were given the export time"]
        pub records_without_time,
        #[doc = "templates that were new"]
        pub templates_learned,
        #[doc = "templates that replaced another one of the same ID"]
        pub templates_changed,
        #[doc = "templates that were known already"]
        pub templates_repeated,
        #[doc = "templates withdrawn by their exporter"]
        pub templates_withdrawn,
        #[doc = "template withdrawals over UDP, where they have no meaning"]
        pub withdrawals_ignored,
        #[doc = "damaged templates; at most one for each set, since where the next begins is unknown"]
        pub templates_damaged,
        #[doc = "templates refused because they have too many fields without octets"]
        pub templates_refused_empty_fields,
        #[doc = "templates refused because their session has as many as allowed"]
        pub templates_beyond_count_cap,
        #[doc = "templates refused because of the memory that they need"]
        pub templates_beyond_memory_cap,
        #[doc = "UDP sessions begun"]
        pub udp_sessions_begun,
        #[doc = "UDP sessions forgotten after a long silence"]
        pub udp_sessions_expired,
        #[doc = "UDP sessions forgotten, before they had yielded a record, to make room for another"]
        pub udp_sessions_evicted,
        #[doc = "flow records missing by the sequence numbers of IPFIX and NetFlow version 5, and not come late since"]
        pub lost_records,
        #[doc = "messages missing by the sequence numbers of NetFlow version 9, and not come late since"]
        pub lost_messages,
        #[doc = "gaps in sequence numbers"]
        pub sequence_gaps,
        #[doc = "messages that came late, or twice"]
        pub messages_late,
        #[doc = "restarts of exporters, as seen by sequence numbers and times"]
        pub exporter_restarts,
        #[doc = "messages whose sequence number could not be checked: the number of records before them is unknown"]
        pub sequence_unchecked,
        #[doc = "messages of exporters that are not listed one by one, because as many as allowed are"]
        pub messages_of_unlisted_exporters,
    }
}

impl Decoded {
    /// Whether every message and every set has exactly one fate, given what is `held`.
    #[must_use]
    pub fn closes(&self, held: &Held) -> bool {
        let not_read = self.messages_of_unknown_version
            + self.messages_truncated
            + self.messages_beyond_session_cap
            + self.messages_beyond_domain_cap;
        self.messages == self.messages_ipfix + self.messages_netflow9 + self.messages_netflow5 + not_read
            && self.sets == self.sets_of_templates + self.sets_of_data + self.sets_reserved
            && self.sets_of_data == self.sets_decoded + self.sets_waited + self.sets_not_kept
            && self.sets_waited == self.sets_recovered + self.sets_given_up + held.waiting_sets as u64
    }
}

/// What the decoder holds at the moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Transport sessions of any kind.
    pub sessions: usize,
    /// Observation domains.
    pub domains: usize,
    /// Templates.
    pub templates: usize,
    /// Octets of memory that the templates need, as estimated.
    pub template_octets: usize,
    /// Data sets that wait for their template.
    pub waiting_sets: usize,
    /// Octets that they need.
    pub waiting_octets: usize,
}

/// What an exporter speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// IPFIX (RFC 7011).
    Ipfix,
    /// NetFlow version 5.
    Netflow5,
    /// NetFlow version 9 (RFC 3954).
    Netflow9,
}

/// How messages came.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// From a file (RFC 5655).
    File,
    /// Over TCP.
    Tcp,
    /// Over UDP.
    Udp,
}

/// One exporter: an address, an observation domain, a protocol and a transport. All its sessions are summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exporter {
    /// Its address; `None` for files.
    pub address: Option<IpAddr>,
    /// The observation domain.
    pub domain: u32,
    /// What it speaks.
    pub protocol: Protocol,
    /// How it comes.
    pub transport: Transport,
    /// Messages read.
    pub messages: u64,
    /// Flow records given to the sink.
    pub records: u64,
    /// Records (NetFlow version 9: messages) missing by their sequence numbers.
    pub lost: u64,
    /// Templates learned or changed.
    pub templates: u64,
    /// One of how many packets it samples, as it says; zero if it does not.
    pub sampling_interval: u32,
    /// Export time of the latest message.
    pub exported: Timestamp,
    /// When the latest message came.
    pub last_seen: Timestamp,
}

/// All that is known, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// What happened on the sockets.
    pub received: Received,
    /// What became of the messages.
    pub decoded: Decoded,
    /// What the decoder holds.
    pub held: Held,
    /// Exporters in the order in which they were first seen.
    pub exporters: Vec<Exporter>,
    /// TCP sessions that are open.
    pub open_sessions: usize,
    /// Datagrams that the kernel dropped because they were not taken in time. `None` where it does not say.
    pub kernel_drops: Option<u64>,
    /// Octets of receive buffer that the kernel gave, for all UDP sockets together, in its own way of counting.
    pub receive_buffer: usize,
}
