// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of FTP.

use super::weir;

rows! { Ftp:
    banner "ftpBanner" String = weir(227);
    user "ftpUser" String = weir(228);
    command "ftpCommand" [String] = weir(229);
    reply_code "ftpReplyCode" [Unsigned16] = weir(230);
    reply_count "ftpReplyCount" Unsigned32 = weir(231);
    error_count "ftpErrorCount" Unsigned32 = weir(232);
    failed_login_count "ftpFailedLoginCount" Unsigned16 = weir(233);
    data_endpoint "ftpDataEndpoint" [String] = weir(234);
    file "ftpFile" [String] = weir(235);
}
