// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a certificate says (RFC 5280 section 4.1), read where it lies.
//!
//! ```text
//!   Certificate: SEQUENCE { TBSCertificate, signature algorithm, signature }
//!   TBSCertificate: SEQUENCE { [0] version, serial, signature algorithm, issuer, validity, subject, public key,
//!                              [1], [2] unique identifiers, [3] extensions }
//! ```
//!
//! Only lengths decide how the walk goes on; a value that is odd leaves its own field empty, and a certificate that ends early gives
//! what came before. `x509-parser`, which wants all to be right and makes a tree of it, is what tests compare with.

use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use sha2::{Digest, Sha256};
use weir_flow::{Memory, OnceText, app::Tls};

use crate::{Cursor, app::line};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Context-specific and constructed: fields of a certificate that need not be there.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// X25519, X448, Ed25519 and Ed448 begin so (RFC 8410 section 3).
const EDWARDS: &[u8] = &[0x2b, 0x65];

/// Short names of types in distinguished names: RFC 4514 section 3, and what others write for types that are common in
/// certificates.
const TYPES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (ORGANIZATION, "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 15], "businessCategory"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// Most relative names of a distinguished name that are written; the others are the least specific ones.
const MAX_NAMES: usize = 32;

/// Reads the client's certificate into the fields; `text` is memory to write in.
pub(super) fn read_client(der: &[u8], fields: &mut Tls, text: &mut Vec<u8>) {
    let Some((signed, _)) = parts(der) else { return };
    fields.client_certificate_sha256.set(&Sha256::digest(der), &mut fields.memory);
    let _ = read_client_signed(&mut Cursor::new(signed), fields, text);
}

/// `None` if it ends early.
fn read_client_signed(c: &mut Cursor<'_>, fields: &mut Tls, text: &mut Vec<u8>) -> Option<()> {
    let (serial, issuer) = serial_and_issuer(c)?;
    fields.client_certificate_serial.set(serial, &mut fields.memory);
    write_name(issuer?, text);
    fields.client_certificate_issuer.set(text, &mut fields.memory);
    element(c, SEQUENCE)?;
    let subject = element(c, SEQUENCE)?;
    write_name(subject, text);
    fields.client_certificate_subject.set(text, &mut fields.memory);
    Some(())
}

/// What is signed, and the algorithm. `None` if it is no certificate.
fn parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut whole = Cursor::new(element(&mut Cursor::new(der), SEQUENCE)?);
    let signed = element(&mut whole, SEQUENCE)?;
    // A public key alone (RFC 7250) has a string of bits here.
    Some((signed, element(&mut whole, SEQUENCE)?))
}

/// What is signed begins so: serial number, and the issuer, if that much is there.
fn serial_and_issuer<'a>(c: &mut Cursor<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    if c.rest().first() == Some(&VERSION) {
        any(c)?;
    }
    let serial = magnitude(element(c, INTEGER)?);
    Some((serial, element(c, SEQUENCE).and_then(|_| element(c, SEQUENCE))))
}

/// Reads the server's certificate into the fields; `text` is memory to write in.
pub(super) fn read(der: &[u8], fields: &mut Tls, text: &mut Vec<u8>) {
    let Some((signed, algorithm)) = parts(der) else { return };
    fields.certificate_sha256.set(&Sha256::digest(der), &mut fields.memory);
    set_algorithm(algorithm, &mut fields.certificate_signature_algorithm, &mut fields.memory, text);
    let _ = read_signed(&mut Cursor::new(signed), fields, text);
}

/// `None` if it ends early.
fn read_signed(c: &mut Cursor<'_>, fields: &mut Tls, text: &mut Vec<u8>) -> Option<()> {
    let (serial, issuer) = serial_and_issuer(c)?;
    fields.certificate_serial.set(serial, &mut fields.memory);
    let issuer = issuer?;
    write_name(issuer, text);
    fields.certificate_issuer.set(text, &mut fields.memory);
    attribute(issuer, COMMON_NAME, text);
    fields.certificate_issuer_name.set(text, &mut fields.memory);
    let mut validity = Cursor::new(element(c, SEQUENCE)?);
    for time in [&mut fields.certificate_not_before, &mut fields.certificate_not_after] {
        any(&mut validity)
            .and_then(|(tag, value)| seconds(tag, value))
            .into_iter()
            .for_each(|seconds| time.set(seconds));
    }
    let subject = element(c, SEQUENCE)?;
    write_name(subject, text);
    fields.certificate_subject.set(text, &mut fields.memory);
    attribute(subject, COMMON_NAME, text);
    fields.certificate_subject_name.set(text, &mut fields.memory);
    attribute(subject, ORGANIZATION, text);
    fields.certificate_organization.set(text, &mut fields.memory);
    let mut key = Cursor::new(element(c, SEQUENCE)?);
    if let Some(algorithm) = element(&mut key, SEQUENCE) {
        set_algorithm(algorithm, &mut fields.certificate_key_algorithm, &mut fields.memory, text);
        let kind = element(&mut Cursor::new(algorithm), OBJECT_IDENTIFIER);
        let bits = element(&mut key, BIT_STRING);
        fields.certificate_key_bits = kind.zip(bits).and_then(|(kind, bits)| key_bits(kind, bits));
    }
    while let Some((tag, value)) = any(c) {
        if tag == EXTENSIONS {
            let _ = read_extensions(value, fields, text);
        }
    }
    Some(())
}

fn read_extensions(extensions: &[u8], fields: &mut Tls, text: &mut Vec<u8>) -> Option<()> {
    let mut list = Cursor::new(element(&mut Cursor::new(extensions), SEQUENCE)?);
    while let Some(extension) = element(&mut list, SEQUENCE) {
        let mut c = Cursor::new(extension);
        if element(&mut c, OBJECT_IDENTIFIER)? == SUBJECT_ALT_NAME {
            if c.rest().first() == Some(&BOOLEAN) {
                any(&mut c)?;
            }
            let names = element(&mut c, OCTET_STRING)?;
            read_alternative_names(element(&mut Cursor::new(names), SEQUENCE)?, fields, text);
        }
    }
    Some(())
}

/// GeneralNames (RFC 5280 section 4.2.1.6). Names of other kinds are left out.
fn read_alternative_names(names: &[u8], fields: &mut Tls, text: &mut Vec<u8>) {
    const MAIL: u8 = 0x81;
    const DNS: u8 = 0x82;
    const URI: u8 = 0x86;
    const ADDRESS: u8 = 0x87;
    let mut list = Cursor::new(names);
    while let Some((tag, name)) = any(&mut list) {
        text.clear();
        match tag {
            MAIL | DNS | URI => text.extend_from_slice(name),
            ADDRESS => {
                // Writing to memory does not fail.
                if let Ok(address) = <[u8; 4]>::try_from(name) {
                    let _ = write!(text, "{}", Ipv4Addr::from(address));
                } else if let Ok(address) = <[u8; 16]>::try_from(name) {
                    let _ = write!(text, "{}", Ipv6Addr::from(address));
                }
            }
            _ => {}
        }
        if !text.is_empty() {
            fields.certificate_alternative_names.push(text, &mut fields.memory);
        }
    }
}

fn set_algorithm<const MAX: usize>(
    algorithm: &[u8],
    field: &mut OnceText<MAX>,
    memory: &mut Memory,
    text: &mut Vec<u8>,
) {
    if let Some(identifier) = element(&mut Cursor::new(algorithm), OBJECT_IDENTIFIER) {
        text.clear();
        write_identifier(identifier, text);
        field.set(text, memory);
    }
}

/// Length of a public key in bits, of algorithms that are known.
fn key_bits(algorithm: &[u8], key: &[u8]) -> Option<i16> {
    // The first octet says how many bits of the last one are of no meaning: none.
    let (_, key) = key.split_first()?;
    let bits = match algorithm {
        RSA | RSA_PSS => {
            let modulus = magnitude(element(&mut Cursor::new(element(&mut Cursor::new(key), SEQUENCE)?), INTEGER)?);
            8 * modulus.len() - modulus.first()?.leading_zeros() as usize
        }
        EC => {
            // 4 and both coordinates, or 2 or 3 and the first of them (RFC 5480 section 2.2).
            let octets = if key.first() == Some(&4) { key.len() / 2 } else { key.len().checked_sub(1)? };
            // The one curve that is no multiple of eight bits: P-521.
            if octets == 66 { 521 } else { 8 * octets }
        }
        _ if algorithm.starts_with(EDWARDS) => 8 * key.len(),
        _ => return None,
    };
    i16::try_from(bits).ok().filter(|&bits| bits > 0)
}

/// Writes a distinguished name in the order of RFC 4514: the most specific part first.
fn write_name(name: &[u8], text: &mut Vec<u8>) {
    text.clear();
    let mut parts = [&[][..]; MAX_NAMES];
    let mut count = 0_usize;
    let mut c = Cursor::new(name);
    while let Some(part) = element(&mut c, SET) {
        if let Some(place) = parts.get_mut(count % MAX_NAMES) {
            *place = part;
        }
        count += 1;
    }
    for back in 1..=count.min(MAX_NAMES) {
        let mut separator = b',';
        let mut attributes = Cursor::new(parts.get((count - back) % MAX_NAMES).copied().unwrap_or_default());
        while let Some(attribute) = element(&mut attributes, SEQUENCE) {
            if !text.is_empty() {
                text.push(separator);
            }
            separator = b'+';
            write_attribute(attribute, text);
        }
    }
}

/// Writes an attribute: its type, '=', its value.
fn write_attribute(attribute: &[u8], text: &mut Vec<u8>) {
    let mut c = Cursor::new(attribute);
    let Some(kind) = element(&mut c, OBJECT_IDENTIFIER) else { return };
    match TYPES.iter().find(|(known, _)| *known == kind) {
        Some((_, name)) => text.extend_from_slice(name.as_bytes()),
        None => write_identifier(kind, text),
    }
    text.push(b'=');
    let start = text.len();
    if let Some((tag, value)) = any(&mut c) {
        write_string(tag, value, text);
    }
    escape(start, text);
}

/// Writes the value of the last attribute of a type into `text`; nothing if there is none.
fn attribute(name: &[u8], kind: &[u8], text: &mut Vec<u8>) {
    text.clear();
    let mut parts = Cursor::new(name);
    while let Some(part) = element(&mut parts, SET) {
        let mut attributes = Cursor::new(part);
        while let Some(attribute) = element(&mut attributes, SEQUENCE) {
            let mut c = Cursor::new(attribute);
            if element(&mut c, OBJECT_IDENTIFIER) == Some(kind)
                && let Some((tag, value)) = any(&mut c)
            {
                text.clear();
                write_string(tag, value, text);
            }
        }
    }
}

/// Writes a string as UTF-8, if it is in one of the encodings of Unicode; the others are nearly always ASCII.
fn write_string(tag: u8, value: &[u8], text: &mut Vec<u8>) {
    let mut write = |c: char| text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    match tag {
        BMP_STRING => {
            let units = value.as_chunks().0.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).for_each(|c| write(c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
        UNIVERSAL_STRING => {
            let numbers = value.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number));
            numbers.for_each(|number| write(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
        _ => text.extend_from_slice(value),
    }
}

/// Escapes what stands in `text` from `start` on, as RFC 4514 section 2.4 wants it.
fn escape(start: usize, text: &mut Vec<u8>) {
    let value = text.get(start..).unwrap_or_default();
    let is_special = |octet: &u8| matches!(octet, b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | 0);
    let is_plain = !value.iter().any(is_special)
        && !matches!(value.first(), Some(b' ' | b'#'))
        && !matches!(value.last(), Some(b' '));
    if is_plain {
        return;
    }
    let value = text.split_off(start);
    for (i, octet) in value.iter().enumerate() {
        let at_edge = (i == 0 && matches!(octet, b' ' | b'#')) || (i + 1 == value.len() && *octet == b' ');
        match octet {
            0 => text.extend_from_slice(b"\\00"),
            _ if at_edge || is_special(octet) => text.extend_from_slice(&[b'\\', *octet]),
            _ => text.push(*octet),
        }
    }
}

/// Writes an object identifier in decimals (X.690 section 8.19). One with a number that is too large ends before it.
fn write_identifier(identifier: &[u8], text: &mut Vec<u8>) {
    let mut number = 0_u32;
    let mut is_first = true;
    for octet in identifier {
        let Some(more) = number.checked_mul(128) else { return };
        number = more + u32::from(octet & 0x7f);
        if octet & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut is_first) {
            // The first two numbers are in one; only after 2 may the second be larger than 39.
            let root = (number / 40).min(2);
            line::decimal(root, text);
            number -= 40 * root;
        }
        text.push(b'.');
        line::decimal(number, text);
        number = 0;
    }
}

/// Seconds since 1970 of a UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5), which may lack its seconds. `None` if it is not in
/// UTC, or no time at all.
fn seconds(tag: u8, value: &[u8]) -> Option<i64> {
    let digits = value.strip_suffix(b"Z")?;
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    let (year, rest) = digits.split_at_checked(year_digits)?;
    let year = match (number(year)?, tag) {
        (year, UTC_TIME) if year < 50 => 2000 + year,
        (year, UTC_TIME) => 1900 + year,
        (year, _) => year,
    };
    if !matches!(rest.len(), 8 | 10) {
        return None;
    }
    let mut parts = rest.as_chunks::<2>().0.iter().map(|two| number(two));
    let mut part = |least: i64, most: i64| parts.next().unwrap_or(Some(0)).filter(|v| (least..=most).contains(v));
    let (month, day) = (part(1, 12)?, part(1, 31)?);
    let (hour, minute, second) = (part(0, 23)?, part(0, 59)?, part(0, 60)?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970-01-01 in the Gregorian calendar, for the years 0 to 9999.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A number of few decimal digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// An integer without the octet that only says that it is positive.
fn magnitude(integer: &[u8]) -> &[u8] {
    match integer {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => integer,
    }
}

/// The value of the next element, which must be of this tag.
fn element<'a>(c: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    any(c).filter(|(found, _)| *found == tag).map(|(_, value)| value)
}

/// Tag and value of the next element (X.690 section 8.1), if it is of definite length and there to its end.
fn any<'a>(c: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let tag = c.u8()?;
    let length = match c.u8()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(c.u8()?),
        0x82 => usize::from(c.u16()?),
        0x83 => c.u24()? as usize,
        // Longer than any message; tags of several octets are in no certificate.
        _ => return None,
    };
    Some((tag, c.take(length)?))
}
