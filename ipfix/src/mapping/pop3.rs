// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of POP3.

use super::weir;

rows! { Pop3:
    banner "pop3Banner" String = weir(243);
    user "pop3User" String = weir(244);
    command "pop3Command" [String] = weir(245);
    auth_mechanism "pop3AuthMechanism" String = weir(246);
    ok_count "pop3OkCount" Unsigned32 = weir(247);
    error_count "pop3ErrorCount" Unsigned32 = weir(248);
    failed_login_count "pop3FailedLoginCount" Unsigned16 = weir(249);
}
