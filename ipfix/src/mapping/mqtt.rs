// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of MQTT.

use super::{cesnet, weir};

rows! { Mqtt:
    packet_types "mqttTypeCumulative" Unsigned16 = cesnet(1033);
    version "mqttVersion" Unsigned8 = cesnet(1034);
    connect_flags "mqttConnectionFlags" Unsigned8 = cesnet(1035);
    keep_alive "mqttKeepAlive" Unsigned16 = cesnet(1036);
    return_code "mqttConnectionReturnCode" Unsigned8 = cesnet(1037);
    publish_flags "mqttPublishFlags" Unsigned8 = cesnet(1038);
    topics "mqttTopics" [String] = cesnet(1039);
    client_id "mqttClientId" String = weir(425);
    user_name "mqttUserName" String = weir(426);
    will_topic "mqttWillTopic" String = weir(427);
    filters "mqttFilters" [String] = weir(428);
}
