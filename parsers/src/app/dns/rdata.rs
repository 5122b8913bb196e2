// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records in presentation form: owner, time to live, type, data.

use weir_flow::app::dns::MAX_ANSWER;

use super::message::{HEADER, Record, end_of_name, escape_spaces, write_name_in_record, write_octet};
use crate::{Cursor, app::line};

/// Type of an IPv4 address record.
pub(super) const A: u16 = 1;
/// Type of an IPv6 address record.
pub(super) const AAAA: u16 = 28;
/// Type of a record that says which types there are.
pub(super) const NSEC: u16 = 47;

/// What data consist of, one part behind the other.
#[derive(Clone, Copy)]
enum Part {
    /// A domain name.
    Name,
    /// A number of so many octets.
    U8,
    U16,
    U32,
    /// A type, by its mnemonic.
    Type,
    /// A character string (RFC 1035 section 3.3).
    String,
    /// One character string or more, up to the end.
    Strings,
    /// A character string that is a word (RFC 8659 section 4.1), without quotes.
    Word,
    /// All up to the end, as a character string.
    Text,
    /// All up to the end, in hexadecimal digits.
    Hex,
    /// All up to the end, in base64.
    Base64,
    /// Service parameters (RFC 9460 section 2.2) up to the end.
    Parameters,
}

/// Mnemonic of a type (IANA, "Domain Name System Parameters"), and its form, if it is known.
fn form(kind: u16) -> Option<(&'static str, &'static [Part])> {
    use Part::{Base64, Hex, Name, Parameters, String, Strings, Text, Type, U8, U16, U32, Word};
    Some(match kind {
        // RFC 1035 section 3.3.
        2 => ("NS", &[Name]),
        5 => ("CNAME", &[Name]),
        6 => ("SOA", &[Name, Name, U32, U32, U32, U32, U32]),
        12 => ("PTR", &[Name]),
        13 => ("HINFO", &[String, String]),
        15 => ("MX", &[U16, Name]),
        16 => ("TXT", &[Strings]),
        // RFC 1183.
        17 => ("RP", &[Name, Name]),
        18 => ("AFSDB", &[U16, Name]),
        // RFC 2535 section 4.1, whose form RRSIG has kept.
        24 => ("SIG", &[Type, U8, U8, U32, U32, U32, U16, Name, Base64]),
        25 => ("KEY", &[U16, U8, U8, Base64]),
        29 => ("LOC", &[]),
        // RFC 2782.
        33 => ("SRV", &[U16, U16, U16, Name]),
        // RFC 3403 section 4.1.
        35 => ("NAPTR", &[U16, U16, String, String, String, Name]),
        // RFC 6672 section 2.1.
        39 => ("DNAME", &[Name]),
        // RFC 4034 section 5.1.
        43 => ("DS", &[U16, U8, U8, Hex]),
        // RFC 4255 section 3.1.
        44 => ("SSHFP", &[U8, U8, Hex]),
        // RFC 4034 section 3.1.
        46 => ("RRSIG", &[Type, U8, U8, U32, U32, U32, U16, Name, Base64]),
        47 => ("NSEC", &[]),
        // RFC 4034 section 2.1.
        48 => ("DNSKEY", &[U16, U8, U8, Base64]),
        50 => ("NSEC3", &[]),
        51 => ("NSEC3PARAM", &[]),
        // RFC 6698 section 2.1.
        52 => ("TLSA", &[U8, U8, U8, Hex]),
        // RFC 7344 section 3.
        59 => ("CDS", &[U16, U8, U8, Hex]),
        60 => ("CDNSKEY", &[U16, U8, U8, Base64]),
        // RFC 9460 section 2.2.
        64 => ("SVCB", &[U16, Name, Parameters]),
        65 => ("HTTPS", &[U16, Name, Parameters]),
        // RFC 7208 section 3.1.
        99 => ("SPF", &[Strings]),
        250 => ("TSIG", &[]),
        // RFC 7553 section 4.5.
        256 => ("URI", &[U16, U16, Text]),
        // RFC 8659 section 4.1.
        257 => ("CAA", &[U8, Word, Text]),
        _ => return None,
    })
}

/// Appends a record; `?` stands for an owner name that cannot be read. The name behind the header is `asked`, unless that is
/// empty. Gives the length up to the data.
pub(super) fn write_record(message: &[u8], record: &Record<'_>, asked: &[u8], out: &mut Vec<u8>) -> usize {
    let points_to_question = message.get(record.owner_at..record.owner_at + 2) == Some(&[0xc0, HEADER as u8]);
    if points_to_question && !asked.is_empty() {
        let start = out.len();
        out.extend_from_slice(asked);
        escape_spaces(start, out);
    } else {
        let start = out.len();
        if !write_name_in_record(message, record.owner_at, out) {
            out.truncate(start);
            out.push(b'?');
        }
    }
    out.push(b' ');
    line::decimal(record.ttl, out);
    out.push(b' ');
    match record.kind {
        A => out.extend_from_slice(b"A "),
        AAAA => out.extend_from_slice(b"AAAA "),
        kind => {
            write_type(kind, out);
            out.push(b' ');
        }
    }
    let start = out.len();
    if write_data(message, record, out).is_none() {
        out.truncate(start);
        write_generic(record.data, out);
    }
    start
}

/// Appends the mnemonic of a type, or the form of RFC 3597 section 5.
fn write_type(kind: u16, out: &mut Vec<u8>) {
    match (kind, form(kind)) {
        (A, _) => out.push(b'A'),
        (AAAA, _) => out.extend_from_slice(b"AAAA"),
        (_, Some((name, _))) => out.extend_from_slice(name.as_bytes()),
        (_, None) => {
            out.extend_from_slice(b"TYPE");
            line::decimal(kind.into(), out);
        }
    }
}

/// Appends data whose form is known; `None` if it is not, or if it does not fill the record.
fn write_data(message: &[u8], record: &Record<'_>, out: &mut Vec<u8>) -> Option<()> {
    match record.kind {
        A => write_ipv4(record.data.try_into().ok()?, out),
        AAAA => write_ipv6(record.data.try_into().ok()?, out),
        kind => {
            let parts = form(kind)?.1;
            let mut c = Cursor::new(record.data);
            for (i, part) in parts.iter().enumerate() {
                if i > 0 && !matches!(part, Part::Parameters) {
                    out.push(b' ');
                }
                write_part(*part, message, record, &mut c, out)?;
            }
            return (c.is_at_end() && !parts.is_empty()).then_some(());
        }
    }
    Some(())
}

fn write_part(part: Part, message: &[u8], record: &Record<'_>, c: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
    match part {
        Part::Name => {
            let at = record.data_at + c.offset();
            let end = end_of_name(message, at)?;
            c.take(end - at)?;
            return write_name_in_record(message, at, out).then_some(());
        }
        Part::U8 => line::decimal(c.u8()?.into(), out),
        Part::U16 => line::decimal(c.u16()?.into(), out),
        Part::U32 => line::decimal(c.u32()?, out),
        Part::Type => write_type(c.u16()?, out),
        Part::String => write_quoted(string(c)?, out),
        Part::Strings => {
            write_quoted(string(c)?, out);
            while !c.is_at_end() {
                out.push(b' ');
                write_quoted(string(c)?, out);
            }
        }
        Part::Word => {
            let word = string(c)?;
            if word.is_empty() || !word.iter().all(u8::is_ascii_alphanumeric) {
                return None;
            }
            out.extend_from_slice(word);
        }
        Part::Text => write_quoted(rest(c), out),
        Part::Hex => write_hex(rest(c), out),
        Part::Base64 => write_base64(rest(c), out),
        Part::Parameters => return write_parameters(c, out),
    }
    Some(())
}

fn string<'m>(c: &mut Cursor<'m>) -> Option<&'m [u8]> {
    let len = c.u8()?;
    c.take(len.into())
}

fn rest<'m>(c: &mut Cursor<'m>) -> &'m [u8] {
    c.take(c.remaining()).unwrap_or_default()
}

/// Appends service parameters, each behind a space: key, and value if there is one (RFC 9460 section 2.1).
fn write_parameters(c: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
    while !c.is_at_end() {
        let (key, len) = (c.u16()?, c.u16()?);
        let mut value = c.sub(len.into())?;
        out.push(b' ');
        write_key(key, out);
        if value.is_at_end() {
            continue;
        }
        out.push(b'=');
        write_value(key, &mut value, out)?;
    }
    Some(())
}

/// Appends the name of a service parameter's key (RFC 9460 section 14.3.2).
fn write_key(key: u16, out: &mut Vec<u8>) {
    const NAMES: [&str; 9] =
        ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];
    match NAMES.get(usize::from(key)) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(b"key");
            line::decimal(key.into(), out);
        }
    }
}

/// Appends the value of a service parameter, the items of a list with commas between them (RFC 9460 sections 7 and 8, RFC 9461
/// section 5, RFC 9848 section 3).
fn write_value(key: u16, value: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
    loop {
        match key {
            0 => write_key(value.u16()?, out),
            1 => write_word(string(value)?, out),
            3 if value.remaining() == 2 => line::decimal(value.u16()?.into(), out),
            3 => return None,
            4 => write_ipv4(value.array()?, out),
            5 => write_base64(rest(value), out),
            6 => write_ipv6(value.array()?, out),
            _ => write_word(rest(value), out),
        }
        if value.is_at_end() {
            return Some(());
        }
        out.push(b',');
    }
}

/// Appends a text without quotes: what would end it, or an item of a list, in digits.
fn write_word(word: &[u8], out: &mut Vec<u8>) {
    for &octet in word.iter().take(MAX_ANSWER) {
        match octet {
            b'"' | b',' | b'\\' => write_escaped(octet, out),
            b'!'..=b'~' => out.push(octet),
            _ => write_escaped(octet, out),
        }
    }
}

fn write_escaped(octet: u8, out: &mut Vec<u8>) {
    out.extend([b'\\', b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10]);
}

/// Appends a character string in quotes.
fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &octet in text.iter().take(MAX_ANSWER) {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        write_octet(octet, out);
    }
    out.push(b'"');
}

/// Appends an address in dotted form.
pub(super) fn write_ipv4(address: [u8; 4], out: &mut Vec<u8>) {
    for (i, octet) in address.into_iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        line::decimal(octet.into(), out);
    }
}

/// Appends an address in the form of RFC 5952: the longest run of zeros, the first of several, as two colons.
pub(super) fn write_ipv6(address: [u8; 16], out: &mut Vec<u8>) {
    if let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = address {
        out.extend_from_slice(b"::ffff:");
        return write_ipv4([a, b, c, d], out);
    }
    let (pairs, _) = address.as_chunks::<2>();
    let (mut longest, mut run) = (0..1, 0..0);
    for (i, pair) in pairs.iter().enumerate() {
        run = if *pair == [0, 0] { run.start..i + 1 } else { i + 1..i + 1 };
        if run.len() > longest.len() {
            longest = run.clone();
        }
    }
    let has_run = longest.len() > 1;
    for (i, pair) in pairs.iter().enumerate() {
        if has_run && longest.contains(&i) {
            if i == longest.start {
                out.extend_from_slice(b"::");
            }
            continue;
        }
        if i > 0 && !(has_run && i == longest.end) {
            out.push(b':');
        }
        write_hex_number(u16::from_be_bytes(*pair), out);
    }
}

fn digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

/// Appends a number in hexadecimal digits, without zeros in front.
fn write_hex_number(number: u16, out: &mut Vec<u8>) {
    let [a, b] = number.to_be_bytes();
    let nibbles = [a >> 4, a & 0xf, b >> 4, b & 0xf];
    let first = (number.leading_zeros() / 4).min(3) as usize;
    out.extend(nibbles.iter().skip(first).map(|&nibble| digit(nibble)));
}

/// Appends octets in hexadecimal digits, as many as fit.
fn write_hex(octets: &[u8], out: &mut Vec<u8>) {
    out.extend(octets.iter().take(MAX_ANSWER).flat_map(|octet| [digit(octet >> 4), digit(octet & 0xf)]));
}

/// Appends octets in base64 (RFC 4648 section 4), as many as fit.
fn write_base64(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in octets.chunks(3).take(MAX_ANSWER) {
        let mut padded = [0; 4];
        padded.iter_mut().skip(1).zip(chunk).for_each(|(to, from)| *to = *from);
        let bits = u32::from_be_bytes(padded);
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i) & 0x3f) as usize).copied().unwrap_or(b'=');
            out.push(if i as usize <= chunk.len() { digit } else { b'=' });
        }
    }
}

/// Appends data as RFC 3597 section 5 says: length and hexadecimal digits.
fn write_generic(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\# ");
    line::decimal(u32::try_from(data.len()).unwrap_or(u32::MAX), out);
    if !data.is_empty() {
        out.push(b' ');
        write_hex(data, out);
    }
}
