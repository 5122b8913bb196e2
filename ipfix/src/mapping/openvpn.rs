// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of OpenVPN.

use super::{cesnet, weir};

rows! { Openvpn:
    confidence "openvpnConfidence" Unsigned8 = cesnet(828);
    operation "openvpnOperation" Unsigned8 = weir(415);
    protection "openvpnProtection" String = weir(416);
    client_session "openvpnClientSession" Unsigned64 = weir(417);
    server_session "openvpnServerSession" Unsigned64 = weir(418);
}
