// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ledger: what became of every packet, and of every record.
//!
//! Two identities hold at any time on each worker, and so for their sum:
//!
//! - `delivered_packets = metered_packets + ignored, by reason`
//! - `records_created = records handed to the sink`, and a flow in the cache is in neither.
//!
//! Counters are plain integers of one worker; whoever reports folds them with [`Ledger::add`].

/// Declares a struct of counters, each with its one definition.
#[macro_export]
macro_rules! counters {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            $(#[doc = $meaning:literal] pub $counter:ident,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name {
            $(#[doc = $meaning] pub $counter: u64,)*
        }

        impl $name {
            /// Name and definition of each counter, in the order of [`Self::values`].
            pub const DEFINITIONS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($counter), $meaning)),*];

            /// The counters in the order of [`Self::DEFINITIONS`].
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$counter),*]
            }

            /// Adds the counters of another part of the same whole.
            pub fn add(&mut self, other: &Self) {
                $(self.$counter += other.$counter;)*
            }
        }
    };
}

counters! {
    /// Packets that were delivered but not metered, by the reason; each packet under exactly one.
    pub struct Ignored {
        #[doc = "the link type of the source is not decoded"]
        pub unsupported_link_type,
        #[doc = "not IP: ARP, LLDP, spanning tree, or another protocol above the link layer"]
        pub not_ip,
        #[doc = "encrypted on the link layer: a protected frame of 802.11, or MACsec"]
        pub encrypted,
        #[doc = "a later part of a packet that the link layer divided (802.11, ARCNET)"]
        pub link_fragment,
        #[doc = "the captured bytes end inside the headers before IP"]
        pub truncated_link_header,
        #[doc = "the headers before IP contradict themselves, or say that the frame is damaged"]
        pub malformed_link_header,
        #[doc = "more VLAN tags, MPLS labels or link headers than are followed"]
        pub too_many_link_headers,
        #[doc = "the captured bytes end inside the fixed IP header"]
        pub truncated_ip_header,
        #[doc = "the IP header contradicts itself: wrong version, or lengths that cannot be"]
        pub malformed_ip_header,
    }
}

counters! {
    /// What one metering worker did.
    pub struct Metered {
        #[doc = "packets that the source handed over"]
        pub delivered_packets,
        #[doc = "their octets on the wire, link header included"]
        pub delivered_octets,
        #[doc = "packets counted in a flow"]
        pub metered_packets,
        #[doc = "their octets, from the IP header to the end of the IP payload"]
        pub metered_octets,
        #[doc = "metered packets whose transport header was cut off or malformed: they are in a flow with port 0"]
        pub without_transport_header,
        #[doc = "metered later fragments whose first fragment was not seen: they are in a flow with port 0"]
        pub fragments_without_ports,
        #[doc = "metered packets of which the capture holds less than was on the wire"]
        pub snapped_packets,
        #[doc = "packets dated more than ten seconds ahead of the clock, which did not go with them since those after them did not"]
        pub packets_dated_ahead,
        #[doc = "times that the clock went ahead by more than ten seconds at once: nothing was captured meanwhile, or it was set"]
        pub clock_steps_forward,
        #[doc = "times that the clock went back by more than ten seconds, since all packets were dated so for ten seconds"]
        pub clock_steps_back,
        #[doc = "flows that were entered into the cache"]
        pub flows_created,
        #[doc = "records handed to the sink; in uniflow mode one for each direction that has packets"]
        pub records_created,
        #[doc = "records closed by the idle timeout (end reason 1)"]
        pub ended_idle,
        #[doc = "records closed by the active timeout (end reason 2)"]
        pub ended_active,
        #[doc = "records closed by FIN or RST (end reason 3)"]
        pub ended_by_protocol,
        #[doc = "records closed by the next transaction, or at the end of the run (end reason 4)"]
        pub ended_forced,
        #[doc = "records closed early because the cache was full (end reason 5)"]
        pub ended_lack_of_resources,
        #[doc = "records of TCP connections whose beginning was seen, with packets of both directions"]
        pub connections_both_ways,
        #[doc = "the same, of which only packets of the client were seen, and more than its first"]
        pub connections_client_only,
        #[doc = "the same, of which only packets of the server were seen, and more than its first"]
        pub connections_server_only,
        #[doc = "application transactions found"]
        pub transactions,
        #[doc = "application transactions left out of the records by --max-transactions or a full queue of open ones"]
        pub transactions_not_recorded,
        #[doc = "records with an application field that was longer than its bound"]
        pub records_with_cut_fields,
        #[doc = "gaps in TCP streams that were reported to an application parser"]
        pub stream_gaps,
        #[doc = "flows whose application state was not kept because no more memory was allowed for it"]
        pub flows_without_app_state,
        #[doc = "flows whose statistics were not kept because no more memory was allowed for them"]
        pub flows_without_statistics,
        #[doc = "flows whose parser was given up, its transactions closed, because the memory for application state was used up"]
        pub application_states_refused,
        #[doc = "incomplete messages that were not kept, which is a gap, because the memory for application state was used up"]
        pub application_unread_refused,
        #[doc = "early TCP segments that were not kept, which is a gap, because the memory for application state was used up"]
        pub application_segments_refused,
    }
}

counters! {
    /// What the layers below a live source did with its packets, since it was opened. A file has none of this.
    pub struct Captured {
        #[doc = "packets that the kernel took for this socket: those handed over, those lost below, and those that wait"]
        pub offered_packets,
        #[doc = "packets lost in the kernel because the ring of the AF_PACKET socket, or libpcap's buffer, was full"]
        pub lost_ring_full,
        #[doc = "packets that libpcap says the interface or its driver dropped"]
        pub lost_by_interface,
        #[doc = "AF_XDP: packets lost because the receive ring was full"]
        pub lost_xdp_ring_full,
        #[doc = "AF_XDP: packets lost because the fill ring had no free frame"]
        pub lost_xdp_fill_empty,
        #[doc = "AF_XDP: packets that the kernel dropped for another reason, such as being larger than a frame"]
        pub lost_xdp_dropped,
        #[doc = "packets handed over that the system had merged of several (GRO); they count as the packets they were"]
        pub merged_packets,
    }
}

impl Captured {
    /// Packets lost for any reason before the source could hand them over.
    #[must_use]
    pub fn lost_packets(&self) -> u64 {
        let Self {
            lost_ring_full, lost_by_interface, lost_xdp_ring_full, lost_xdp_fill_empty, lost_xdp_dropped, ..
        } = self;
        lost_ring_full + lost_by_interface + lost_xdp_ring_full + lost_xdp_fill_empty + lost_xdp_dropped
    }
}

/// What one worker did with the packets it was given.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ledger {
    /// What was metered, and how it ended.
    pub metered: Metered,
    /// What was not metered, by reason.
    pub ignored: Ignored,
}

impl Ledger {
    /// Packets ignored for any reason.
    #[must_use]
    pub fn ignored_packets(&self) -> u64 {
        self.ignored.values().iter().sum()
    }

    /// Whether every delivered packet was either metered or ignored for a reason.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.metered.delivered_packets == self.metered.metered_packets + self.ignored_packets()
    }

    /// Adds another worker's counters.
    pub fn add(&mut self, other: &Self) {
        self.metered.add(&other.metered);
        self.ignored.add(&other.ignored);
    }
}
