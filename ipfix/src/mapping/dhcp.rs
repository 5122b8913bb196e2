// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of DHCP.

use super::{flowmon, weir};

rows! { Dhcp:
    message_type "dhcpType" Unsigned8 = flowmon(202);
    transaction_id "dhcpTransactionId" Unsigned32 = weir(360);
    client_mac "dhcpHostMacAddr" MacAddress = flowmon(201);
    client_id "dhcpClientId" String = weir(361);
    host_name "dhcpHostName" String = flowmon(206);
    fqdn "dhcpFqdn" String = weir(362);
    domain_name "dhcpDomainName" String = flowmon(205);
    vendor_class "dhcpVendorClass" String = weir(363);
    fingerprint "dhcpFingerprint" String = weir(364);
    requested_address "dhcpIpRequest" Ipv4Address = flowmon(207);
    client_address "dhcpClientAddress" Ipv4Address = weir(365);
    offered_address "dhcpOfferedIp" Ipv4Address = flowmon(200);
    server_address "dhcpServerIp" Ipv4Address = flowmon(204);
    relay_address "dhcpRelayAddress" Ipv4Address = weir(366);
    lease_time "dhcpIpLeaseTime" Unsigned32 = flowmon(203);
    message "dhcpMessage" String = weir(367);
}
