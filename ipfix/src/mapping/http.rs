// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of HTTP.

use super::{cesnet, flowmon, iana};

rows! { Http:
    request_method "httpRequestMethod" String = cesnet(200), iana(459);
    request_host "httpRequestHost" String = flowmon(1), iana(460);
    request_target "httpRequestTarget" String = flowmon(2), iana(461);
    message_version "httpMessageVersion" String = iana(462);
    user_agent "httpUserAgent" String = flowmon(20), iana(468);
    referer "httpReferer" String = flowmon(3);
    status_code "httpStatusCode" Unsigned16 = flowmon(12), iana(457);
    reason_phrase "httpReasonPhrase" String = iana(470);
    content_type "httpContentType" String = flowmon(10), iana(469);
    server "httpServer" String = cesnet(201);
}
