// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may ask: the pages that this server gave out, and programs of the user; no other site that the user has open.
//!
//! - A page of another site that lets its own name point to this machine (DNS rebinding) comes with that name in `Host`.
//!   Only `localhost` and literal addresses are answered.
//! - A page of another site that asks across sites is told apart by `Sec-Fetch-Site`, which every browser sends to
//!   a loopback address. It could not read the answer, but make the station work.
//! - Nothing is changed by a request: only GET and HEAD are answered.

use std::net::{IpAddr, Ipv6Addr};

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::api::Failure;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What every answer carries.
static HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (RESOURCE_POLICY, "same-origin"),
    // Flows belong in no cache, and pages change with the program.
    (CACHE_CONTROL, "no-store"),
];

/// Answers what may be asked.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refuse(&request) {
        Some(failure) => failure.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn refuse(request: &Request) -> Option<Failure> {
    let authority = request.uri().authority().map(|a| a.as_str());
    if !host(request.headers()).is_some_and(is_own) || authority.is_some_and(|a| !is_own(a)) {
        let message = "the Host header is neither an address nor localhost";
        return Some(Failure::new(StatusCode::MISDIRECTED_REQUEST, message));
    }
    let site = request.headers().get(SITE).map(HeaderValue::as_bytes);
    // Somebody may follow a link to the console, but only its own pages use the API.
    if request.uri().path().starts_with("/api/") && !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Some(Failure::new(StatusCode::FORBIDDEN, "another site asks"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered"));
    }
    None
}

/// The one Host header.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether no other site can have this name.
fn is_own(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((v6, port)) if v6.parse::<Ipv6Addr>().is_ok() => ("localhost", port),
        Some(_) => return false,
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let is_name = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    is_name && (port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_own() {
        for host in ["localhost", "LOCALHOST:9000", "127.0.0.1:8443", "192.0.2.1", "[::1]:8443", "[2001:db8::1]"] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8443",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8443",
            "127.0.0.1:8443.evil.example",
            "[::1].evil.example",
            "[evil.example]",
            "[::1",
            "localhost:",
            "user@localhost",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }
}
