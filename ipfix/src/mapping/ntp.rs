// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of NTP.

use super::cesnet;

rows! { Ntp:
    leap "ntpLeap" Unsigned8 = cesnet(18);
    version "ntpVersion" Unsigned8 = cesnet(19);
    mode "ntpMode" Unsigned8 = cesnet(20);
    stratum "ntpStratum" Unsigned8 = cesnet(21);
    poll "ntpPoll" Unsigned8 = cesnet(22);
    precision "ntpPrecision" Unsigned8 = cesnet(23);
    root_delay "ntpDelay" Unsigned32 = cesnet(24);
    root_dispersion "ntpDispersion" Unsigned32 = cesnet(25);
    reference_id "ntpRefId" String = cesnet(26);
    reference_time "ntpRef" String = cesnet(27);
    origin_time "ntpOrig" String = cesnet(28);
    receive_time "ntpRecv" String = cesnet(29);
    transmit_time "ntpSent" String = cesnet(30);
}
