// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of ClientHello and ServerHello (RFC 8446 sections 4.1.2 and 4.1.3, RFC 5246 section 7.4.1).
//!
//! ```text
//!   ClientHello: version 2, random 32, session <1>, cipher suites <2>, compression methods <1>, extensions <2>
//!                DTLS has a cookie <1> before the cipher suites (RFC 6347 section 4.2.1)
//!   ServerHello: version 2, random 32, session <1>, cipher suite 2, compression method 1, extensions <2>
//!   extension: type 2, data <2>                        <n>: preceded by its length in n octets
//! ```

use weir_flow::app::Tls;

use super::fingerprint::{Carrier, Scratch};
use crate::Cursor;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
/// RFC 5764 section 4.1.
const USE_SRTP: u16 = 14;
const ALPN: u16 = 16;
const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
/// RFC 9849; drafts from the tenth on have the same number.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// What came before it, until its sixth draft.
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// Type of a name that is a host name (RFC 6066 section 3).
const HOST_NAME: u8 = 0;

/// Random of a ServerHello that is a HelloRetryRequest: SHA-256 of that word (RFC 8446 section 4.1.3).
pub(in crate::app) const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Whether a hello may claim this version: SSL 3.0 to TLS 1.3, and drafts of the latter.
pub(super) fn is_version(version: u16) -> bool {
    matches!(version, 0x0300..=0x0304 | 0x7f00..=0x7fff | 0xfb00..=0xfbff)
}

/// Whether a hello of DTLS may claim this version: DTLS 1.0 to 1.3, and what OpenSSL had before RFC 4347.
pub(super) const fn is_dtls_version(version: u16) -> bool {
    matches!(version, 0xfefc | 0xfefd | 0xfeff | 0x0100)
}

/// Whether all after the ServerHello is encrypted with this version: TLS 1.3, its drafts, DTLS 1.3.
pub(super) const fn hides_certificates(version: u16) -> bool {
    matches!(version, 0x0304 | 0x7f00..=0x7fff | 0xfb00..=0xfbff | 0xfefc)
}

/// Whether a value is one of those that keep peers tolerant (RFC 8701).
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Reads a ClientHello of a stream; see [`read_client_of`].
#[allow(dead_code, reason = "for hellos that another parser has put together")]
pub(in crate::app) fn read_client(body: &[u8], fields: &mut Tls, scratch: &mut Scratch) {
    read_client_of(Carrier::Tcp, body, fields, scratch);
}

/// Reads a ClientHello: its body, that is, without type and length. If the fields are set already, by a first hello, nothing is
/// changed. What there is of one that lies about a length is set, without fingerprints.
pub(in crate::app) fn read_client_of(carrier: Carrier, body: &[u8], fields: &mut Tls, scratch: &mut Scratch) {
    scratch.clear();
    scratch.carrier = carrier;
    if fields.client_version.is_some() {
        return;
    }
    if client(body, fields, scratch).is_some() {
        scratch.write_client(fields);
    }
}

/// Whether a ClientHello of DTLS answers a HelloVerifyRequest: it has a cookie before its extensions.
pub(super) fn has_cookie(body: &[u8]) -> bool {
    let mut c = Cursor::new(body);
    let cookie = c.take(2 + 32).and_then(|_| vector8(&mut c)).and_then(|_| vector8(&mut c));
    cookie.is_some_and(|cookie| !cookie.is_empty())
}

/// `None` if the message ends early; what came before that is in the fields.
fn client(body: &[u8], fields: &mut Tls, scratch: &mut Scratch) -> Option<()> {
    let mut c = Cursor::new(body);
    let version = c.u16()?;
    fields.client_version = Some(version);
    scratch.version = version;
    c.take(32)?;
    scratch.seen.session = hash(vector8(&mut c)?);
    if scratch.carrier == Carrier::Dtls {
        vector8(&mut c)?;
    }
    let suites = vector16(&mut c)?;
    fields.cipher_suites.set(suites, &mut fields.memory);
    numbers(suites, &mut scratch.cipher_suites);
    vector8(&mut c)?;
    let all = extensions(&mut c, |kind, data| client_extension(kind, data, fields, scratch));
    scratch.write_extensions(fields);
    scratch.versions.iter().for_each(|&version| fields.client_versions.push(version, &mut fields.memory));
    all
}

/// What is wrong within one extension is no reason to give up the others.
fn client_extension(kind: u16, data: &[u8], fields: &mut Tls, scratch: &mut Scratch) {
    scratch.extensions.push(kind);
    // Its length has two octets.
    scratch.lengths.push(data.len() as u16);
    match kind {
        SERVER_NAME => _ = server_name(data, fields),
        SUPPORTED_GROUPS => {
            let groups = vector16(&mut Cursor::new(data)).unwrap_or_default();
            numbers(groups, &mut scratch.groups);
            fields.groups.set(groups, &mut fields.memory);
        }
        EC_POINT_FORMATS => {
            let formats = vector8(&mut Cursor::new(data)).unwrap_or_default();
            scratch.point_formats.extend_from_slice(formats);
            fields.point_formats.set(formats, &mut fields.memory);
        }
        SIGNATURE_ALGORITHMS => {
            numbers(vector16(&mut Cursor::new(data)).unwrap_or_default(), &mut scratch.signatures);
        }
        ALPN => _ = alpn(data, fields, scratch),
        SESSION_TICKET => scratch.seen.ticket = !data.is_empty(),
        EARLY_DATA => scratch.seen.early_data = true,
        USE_SRTP => scratch.seen.srtp = true,
        SUPPORTED_VERSIONS => numbers(vector8(&mut Cursor::new(data)).unwrap_or_default(), &mut scratch.versions),
        ENCRYPTED_CLIENT_HELLO => fields.ech = Some(1),
        ENCRYPTED_SERVER_NAME if fields.ech.is_none() => fields.ech = Some(2),
        _ => {}
    }
}

/// A number that differs for different octets; 0 for none.
fn hash(octets: &[u8]) -> u32 {
    // FNV-1a: who makes two identifiers meet only lies about a session of his own.
    let mix = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
    if octets.is_empty() { 0 } else { octets.iter().fold(0x811c_9dc5, mix).max(1) }
}

/// Reads a ServerHello and says whether it is a HelloRetryRequest.
pub(in crate::app) fn read_server(body: &[u8], fields: &mut Tls, scratch: &mut Scratch) -> bool {
    scratch.clear();
    let mut c = Cursor::new(body);
    let is_retry = body.get(2..34) == Some(&RETRY_RANDOM);
    if server(&mut c, fields, scratch).is_some() {
        scratch.seen.is_whole = true;
        scratch.write_server(fields);
    }
    if is_retry {
        fields.hello_retry = Some(1);
    }
    is_retry
}

/// `None` if the message ends early; what came before that is in the fields.
fn server(c: &mut Cursor<'_>, fields: &mut Tls, scratch: &mut Scratch) -> Option<()> {
    let version = c.u16()?;
    scratch.version = version;
    fields.version = Some(version);
    c.take(32)?;
    // Drafts of TLS 1.3 before the twenty-second have neither session nor compression method.
    let short = matches!(version, 0x7f00..=0x7f15);
    if !short {
        scratch.seen.session = hash(vector8(c)?);
    }
    let suite = c.u16()?;
    scratch.cipher_suites.push(suite);
    fields.cipher_suite = Some(suite);
    if !short {
        c.u8()?;
    }
    extensions(c, |kind, data| {
        scratch.extensions.push(kind);
        match kind {
            SUPPORTED_VERSIONS => fields.version = Cursor::new(data).u16().or(fields.version),
            PRE_SHARED_KEY => scratch.seen.pre_shared_key = true,
            ALPN => {
                let mut list = Cursor::new(data);
                let chosen = list.u16().and_then(|_| vector8(&mut list)).unwrap_or_default();
                fields.alpn_chosen.set(chosen, &mut fields.memory);
            }
            _ => {}
        }
    })
}

/// Hands over each extension; there may be none at all. `None` if a length goes beyond the end.
fn extensions<'a>(c: &mut Cursor<'a>, mut each: impl FnMut(u16, &'a [u8])) -> Option<()> {
    if c.is_at_end() {
        return Some(());
    }
    let len = usize::from(c.u16()?);
    let lies = len > c.remaining();
    let mut list = Cursor::new(c.take(len.min(c.remaining()))?);
    while !list.is_at_end() {
        let kind = list.u16()?;
        each(kind, vector16(&mut list)?);
    }
    (!lies).then_some(())
}

fn server_name(data: &[u8], fields: &mut Tls) -> Option<()> {
    let mut list = Cursor::new(vector16(&mut Cursor::new(data))?);
    while !list.is_at_end() {
        let kind = list.u8()?;
        let name = vector16(&mut list)?;
        if kind == HOST_NAME && fields.server_name.is_empty() {
            fields.server_name.set(name, &mut fields.memory);
        }
    }
    Some(())
}

fn alpn(data: &[u8], fields: &mut Tls, scratch: &mut Scratch) -> Option<()> {
    let mut list = Cursor::new(vector16(&mut Cursor::new(data))?);
    while !list.is_at_end() {
        let protocol = vector8(&mut list)?;
        if fields.alpn.is_empty() {
            scratch.alpn.extend_from_slice(protocol);
        }
        fields.alpn.push(protocol, &mut fields.memory);
    }
    Some(())
}

/// Octets after their length in one octet.
fn vector8<'a>(c: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let len = c.u8()?;
    c.take(usize::from(len))
}

/// Octets after their length in two octets.
fn vector16<'a>(c: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let len = c.u16()?;
    c.take(usize::from(len))
}

/// Numbers of two octets; an octet left over is no number. Values reserved by RFC 8701 are left out.
fn numbers(list: &[u8], out: &mut Vec<u16>) {
    let (numbers, _) = list.as_chunks();
    out.extend(numbers.iter().map(|number| u16::from_be_bytes(*number)).filter(|&number| !is_grease(number)));
}
