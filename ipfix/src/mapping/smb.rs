// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SMB. Flowmon's tree and file are octets in an encoding that nobody tells; ours are text, so theirs are aliases.

use super::{flowmon, weir};

rows! { Smb:
    version "smbVersion" Unsigned8 = weir(370);
    dialect "smbDialect" Unsigned16 = weir(371);
    commands "smbCommands" Unsigned32 = weir(372);
    status "smbStatus" Unsigned32 = weir(373);
    tree "smbTree" [String] = weir(374), flowmon(151);
    file "smbFile" [String] = weir(375), flowmon(152);
    user "smbUser" String = weir(376);
    domain "smbDomain" String = weir(377);
    host "smbHost" String = weir(378);
}
