// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of Kerberos.

use super::weir;

rows! { Kerberos:
    request_type "kerberosRequestType" Unsigned8 = weir(390);
    response_type "kerberosResponseType" Unsigned8 = weir(391);
    realm "kerberosRealm" String = weir(392);
    client_name "kerberosClientName" String = weir(393);
    service_name "kerberosServiceName" String = weir(394);
    error_code "kerberosErrorCode" Unsigned32 = weir(395);
    error_text "kerberosErrorText" String = weir(396);
    offered_ciphers "kerberosOfferedCiphers" String = weir(397);
    ticket_cipher "kerberosTicketCipher" String = weir(398);
}
