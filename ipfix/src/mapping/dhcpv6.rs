// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of DHCPv6.

use super::weir;

rows! { Dhcpv6:
    message_type "dhcpv6Type" Unsigned8 = weir(442);
    transaction_id "dhcpv6TransactionId" Unsigned32 = weir(443);
    client_duid "dhcpv6ClientDuid" String = weir(444);
    server_duid "dhcpv6ServerDuid" String = weir(445);
    fqdn "dhcpv6Fqdn" String = weir(446);
    vendor_class "dhcpv6VendorClass" String = weir(447);
    fingerprint "dhcpv6Fingerprint" String = weir(448);
    address "dhcpv6Address" [Ipv6Address] = weir(449);
    status "dhcpv6Status" Unsigned16 = weir(368);
}
