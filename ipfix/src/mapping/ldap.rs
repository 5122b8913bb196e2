// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of LDAP.

use super::weir;

rows! { Ldap:
    version "ldapVersion" Unsigned8 = weir(400);
    bind_name "ldapBindName" String = weir(401);
    bind_mechanism "ldapBindMechanism" String = weir(402);
    operations "ldapOperations" Unsigned32 = weir(403);
    search_base "ldapSearchBase" [String] = weir(404);
    result_code "ldapResultCode" [Unsigned16] = weir(405);
    extended "ldapExtended" [String] = weir(406);
}
