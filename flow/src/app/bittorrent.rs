// SPDX-License-Identifier: MIT OR Apache-2.0
//! BitTorrent: a connection between peers, or what is asked over UDP between the same ports.

use crate::{ShortOctets, ShortText, TextList};

crate::fields! {
    /// Fields of BitTorrent.
    pub struct Bittorrent = "bittorrent" {
        /// What it is: `peer` (BEP 3), `dht` (BEP 5), `tracker` (BEP 15).
        pub kind: ShortText<8>,
        /// Hash of the torrent (`info_hash`), of the first message that has one.
        pub info_hash: ShortOctets<20>,
        /// Identifier of the peer or node that began the flow.
        pub source_id: ShortOctets<20>,
        /// Identifier of the other one.
        pub destination_id: ShortOctets<20>,
        /// Queries of the distributed hash table, or actions of the tracker, each once.
        pub query: TextList<8, 32>,
    }
}
