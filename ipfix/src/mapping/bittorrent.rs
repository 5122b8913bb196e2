// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of BitTorrent.

use super::weir;

rows! { Bittorrent:
    kind "bittorrentKind" String = weir(420);
    info_hash "bittorrentInfoHash" OctetArray = weir(421);
    source_id "bittorrentSourceId" OctetArray = weir(422);
    destination_id "bittorrentDestinationId" OctetArray = weir(423);
    query "bittorrentQuery" [String] = weir(424);
}
