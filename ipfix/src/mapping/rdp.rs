// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of RDP.

use super::weir;

rows! { Rdp:
    cookie "rdpCookie" String = weir(380);
    routing_token "rdpRoutingToken" String = weir(381);
    requested_protocols "rdpRequestedProtocols" Unsigned32 = weir(382);
    selected_protocol "rdpSelectedProtocol" Unsigned32 = weir(383);
    failure_code "rdpFailureCode" Unsigned32 = weir(384);
}
