// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records in presentation form: owner, time to live, type, data.

use std::io::Write;
use std::net::Ipv6Addr;

use weir_flow::app::dns::MAX_ANSWER;

use super::message::{Record, end_of_name, write_name, write_octet};
use crate::{Cursor, app::line};

/// Type of an IPv4 address record.
pub(super) const A: u16 = 1;
/// Type of an IPv6 address record.
pub(super) const AAAA: u16 = 28;

const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const SRV: u16 = 33;
const DNAME: u16 = 39;
const SPF: u16 = 99;

/// Mnemonic of a type (IANA, "Domain Name System Parameters").
fn mnemonic(kind: u16) -> Option<&'static str> {
    Some(match kind {
        A => "A",
        NS => "NS",
        CNAME => "CNAME",
        SOA => "SOA",
        PTR => "PTR",
        13 => "HINFO",
        MX => "MX",
        TXT => "TXT",
        24 => "SIG",
        25 => "KEY",
        AAAA => "AAAA",
        29 => "LOC",
        SRV => "SRV",
        35 => "NAPTR",
        DNAME => "DNAME",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        59 => "CDS",
        60 => "CDNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        SPF => "SPF",
        250 => "TSIG",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

/// Appends a record. False if its owner name is bad; some of it may have been appended then.
pub(super) fn write_record(message: &[u8], record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    if !write_name(message, record.owner_at, out) {
        return false;
    }
    out.push(b' ');
    line::decimal(record.ttl, out);
    out.push(b' ');
    match mnemonic(record.kind) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(b"TYPE");
            line::decimal(record.kind.into(), out);
        }
    }
    out.push(b' ');
    let start = out.len();
    if write_data(message, record, out).is_none() {
        out.truncate(start);
        write_generic(record.data, out);
    }
    true
}

/// Appends data whose form is known; `None` if it is not, or if it does not fill the record.
fn write_data(message: &[u8], record: &Record<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut c = Cursor::new(record.data);
    match record.kind {
        A => {
            for (i, octet) in c.array::<4>()?.into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                line::decimal(octet.into(), out);
            }
        }
        // Writing to a vector cannot fail, here and below.
        AAAA => drop(write!(out, "{}", Ipv6Addr::from(c.array::<16>()?))),
        CNAME | DNAME | NS | PTR => name(message, record, &mut c, out)?,
        MX => {
            drop(write!(out, "{} ", c.u16()?));
            name(message, record, &mut c, out)?;
        }
        SRV => {
            drop(write!(out, "{} {} {} ", c.u16()?, c.u16()?, c.u16()?));
            name(message, record, &mut c, out)?;
        }
        SOA => {
            name(message, record, &mut c, out)?;
            out.push(b' ');
            name(message, record, &mut c, out)?;
            for _ in 0..5 {
                drop(write!(out, " {}", c.u32()?));
            }
        }
        SPF | TXT => strings(&mut c, out)?,
        _ => return None,
    }
    c.is_at_end().then_some(())
}

/// Appends the name at the cursor, which may point to elsewhere in the message.
fn name(message: &[u8], record: &Record<'_>, c: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
    let at = record.data_at + c.offset();
    let end = end_of_name(message, at)?;
    c.take(end - at)?;
    write_name(message, at, out).then_some(())
}

/// Appends character strings, each in quotes.
fn strings(c: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut first = true;
    while let Some(len) = c.u8() {
        if !first {
            out.push(b' ');
        }
        first = false;
        out.push(b'"');
        for &octet in c.take(usize::from(len))? {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            write_octet(octet, out);
        }
        out.push(b'"');
    }
    (!first).then_some(())
}

/// Appends data as RFC 3597 section 5 says: length and hexadecimal digits.
fn write_generic(data: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "\\# {}", data.len());
    for (i, octet) in data.iter().take(MAX_ANSWER / 2).enumerate() {
        if i == 0 {
            out.push(b' ');
        }
        let _ = write!(out, "{octet:02x}");
    }
}
