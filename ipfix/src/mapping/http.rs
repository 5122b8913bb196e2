// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of HTTP.

use super::{cesnet, flowmon, iana, weir};

rows! { Http:
    request_method "httpRequestMethod" String = cesnet(200), iana(459);
    request_host "httpRequestHost" String = flowmon(1), iana(460);
    request_target "httpRequestTarget" String = flowmon(2), iana(461);
    message_version "httpMessageVersion" [String] = iana(462);
    user_agent "httpUserAgent" String = flowmon(20), iana(468);
    referer "httpReferer" String = flowmon(3);
    status_code "httpStatusCode" Unsigned16 = flowmon(12), iana(457);
    reason_phrase "httpReasonPhrase" String = iana(470);
    content_type "httpContentType" String = flowmon(10), iana(469);
    server "httpServer" String = cesnet(201);
    request_content_type "httpRequestContentType" String = weir(190);
    request_content_length "httpRequestContentLength" Unsigned64 = weir(191);
    content_length "httpContentLength" Unsigned64 = weir(192);
    set_cookie_names "httpSetCookieNames" [String] = cesnet(202);
    cookie_names "httpCookieNames" [String] = weir(193);
    authorization_scheme "httpAuthorizationScheme" String = weir(194);
    challenge_scheme "httpChallengeScheme" String = weir(195);
    forwarded_for "httpXForwardedFor" String = weir(196);
    via "httpVia" String = weir(197);
    location "httpLocation" String = weir(198);
    upgrade "httpUpgrade" String = weir(199);
    interim_responses "httpInterimResponses" [Unsigned16] = weir(200);
    request_scheme "httpRequestScheme" String = weir(201);
    stream_id "httpStreamId" Unsigned32 = weir(202);
}
