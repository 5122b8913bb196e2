// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of IMAP.

use super::{flowmon, weir};

rows! { Imap:
    banner "imapBanner" String = weir(236);
    user "imapUser" String = flowmon(252);
    command "imapCommand" [String] = weir(237);
    auth_mechanism "imapAuthMechanism" String = weir(238);
    mailbox "imapMailbox" [String] = weir(239);
    ok_count "imapOkCount" Unsigned32 = weir(240);
    error_count "imapErrorCount" Unsigned32 = weir(241);
    failed_login_count "imapFailedLoginCount" Unsigned16 = weir(242);
}
