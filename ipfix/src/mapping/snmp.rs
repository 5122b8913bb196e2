// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SNMP.

use super::weir;

rows! { Snmp:
    version "snmpVersion" Unsigned8 = weir(436);
    has_community "snmpHasCommunity" Unsigned8 = weir(437);
    pdu_type "snmpPduType" Unsigned8 = weir(438);
    request_id "snmpRequestId" Unsigned32 = weir(413);
    error_status "snmpErrorStatus" Unsigned8 = weir(414);
    user "snmpUser" String = weir(439);
    engine_id "snmpEngineId" OctetArray = weir(440);
    enterprise "snmpEnterprise" String = weir(441);
    object "snmpObject" [String] = weir(409);
}
