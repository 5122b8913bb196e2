// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SSH.

use super::weir;

rows! { Ssh:
    client_version "sshClientVersion" String = weir(350);
    server_version "sshServerVersion" String = weir(351);
    hassh "sshHassh" OctetArray = weir(352);
    hassh_server "sshHasshServer" OctetArray = weir(353);
    kex_algorithm "sshKexAlgorithm" String = weir(354);
    host_key_algorithm "sshHostKeyAlgorithm" String = weir(355);
    cipher "sshCipher" String = weir(356);
    mac "sshMac" String = weir(357);
}
