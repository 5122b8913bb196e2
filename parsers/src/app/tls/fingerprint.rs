// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fingerprints of hellos.
//!
//! ```text
//!   JA3:  MD5 of  version,cipher suites,extensions,groups,point formats     decimal, joined by '-', as they stand there
//!   JA3S: MD5 of  version,cipher suite,extensions
//!   JA4:  t13d1516h2_8daaf6152771_e5627efa2ab1
//!         |||| | |  |            '- SHA-256 of the sorted extensions but 0 and 16, '_', signature algorithms: 12 digits
//!         |||| | |  '- SHA-256 of the sorted cipher suites: 12 digits
//!         |||| | '- first and last character of the first application protocol, "00" without
//!         |||| '- extensions, in two digits
//!         ||'+- cipher suites, in two digits
//!         ||  (before them: 'd' with a server name, 'i' without)
//!         |'- highest version offered
//!         '- TCP
//! ```
//!
//! Values reserved by RFC 8701 are left out everywhere. JA4 is the part of the JA4+ suite under the BSD 3-Clause licence:
//! the TLS client fingerprint only.

use std::io::Write;

use md5::{Digest, Md5};
use sha2::Sha256;
use weir_flow::app::Tls;

use super::hello::is_grease;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// Characters of a JA4.
const LEN: usize = 36;

/// What fingerprints are made of; kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) version: u16,
    pub(super) cipher_suites: Vec<u16>,
    /// Types, the reserved ones too.
    pub(super) extensions: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signatures: Vec<u16>,
    pub(super) versions: Vec<u16>,
    /// First application protocol offered.
    pub(super) alpn: Vec<u8>,
    text: Vec<u8>,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.version = 0;
        self.cipher_suites.clear();
        self.extensions.clear();
        self.groups.clear();
        self.point_formats.clear();
        self.signatures.clear();
        self.versions.clear();
        self.alpn.clear();
    }

    /// Sets the fingerprints of the client.
    pub(super) fn write_client(&mut self, fields: &mut Tls) {
        self.extensions.retain(|&e| !is_grease(e));
        self.text.clear();
        decimal(&[self.version], &mut self.text);
        for list in [&self.cipher_suites, &self.extensions, &self.groups] {
            self.text.push(b',');
            decimal(list, &mut self.text);
        }
        self.text.push(b',');
        decimal(&self.point_formats, &mut self.text);
        fields.ja3.set(&Md5::digest(&self.text));
        self.write_ja4(fields);
    }

    /// Sets the fingerprint of the server.
    pub(super) fn write_server(&mut self, fields: &mut Tls) {
        self.extensions.retain(|&e| !is_grease(e));
        self.text.clear();
        decimal(&[self.version], &mut self.text);
        for list in [&self.cipher_suites, &self.extensions] {
            self.text.push(b',');
            decimal(list, &mut self.text);
        }
        fields.ja3s.set(&Md5::digest(&self.text));
    }

    fn write_ja4(&mut self, fields: &mut Tls) {
        let highest = self.versions.iter().max().copied().unwrap_or(self.version);
        let version = match highest {
            0x0002 | 0x0200 => "s2",
            0x0300 => "s3",
            0x0301 => "10",
            0x0302 => "11",
            0x0303 => "12",
            0x0304 => "13",
            _ => "00",
        };
        let name = if self.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let (suites, extensions) = (self.cipher_suites.len().min(99), self.extensions.len().min(99));
        let [first, last] = ends(&self.alpn);
        // Ten characters and two times thirteen; writing so many cannot fail.
        let mut ja4 = [0; LEN];
        let mut out = &mut ja4[..];
        let _ = write!(out, "t{version}{name}{suites:02}{extensions:02}{first}{last}_");
        self.cipher_suites.sort_unstable();
        let any = !self.extensions.is_empty();
        self.text.clear();
        hexadecimal(&self.cipher_suites, &mut self.text);
        write_hash(&self.text, !self.cipher_suites.is_empty(), &mut out);
        let _ = out.write_all(b"_");
        self.extensions.retain(|&e| e != SERVER_NAME && e != ALPN);
        self.extensions.sort_unstable();
        self.text.clear();
        hexadecimal(&self.extensions, &mut self.text);
        if !self.signatures.is_empty() {
            self.text.push(b'_');
            hexadecimal(&self.signatures, &mut self.text);
        }
        write_hash(&self.text, any, &mut out);
        let left = out.len();
        fields.ja4.set(ja4.get(..LEN - left).unwrap_or_default());
    }
}

/// First and last character of a protocol name; of its hexadecimal form, if one of the two is neither letter nor digit.
fn ends(protocol: &[u8]) -> [char; 2] {
    let (Some(&first), Some(&last)) = (protocol.first(), protocol.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)];
    }
    let digit = |v: u8| char::from_digit(u32::from(v), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 0x0f)]
}

/// Writes the first twelve digits of a SHA-256, or twelve zeros for nothing.
fn write_hash(text: &[u8], any: bool, out: &mut &mut [u8]) {
    let hash = Sha256::digest(text);
    for &octet in hash.iter().take(6) {
        let _ = write!(out, "{:02x}", if any { octet } else { 0 });
    }
}

fn decimal<T: Copy + Into<u16>>(list: &[T], out: &mut Vec<u8>) {
    for (i, &number) in list.iter().enumerate() {
        let number: u16 = number.into();
        // Writing to a vector cannot fail.
        let _ = if i == 0 { write!(out, "{number}") } else { write!(out, "-{number}") };
    }
}

fn hexadecimal(list: &[u16], out: &mut Vec<u8>) {
    for (i, number) in list.iter().enumerate() {
        let _ = if i == 0 { write!(out, "{number:04x}") } else { write!(out, ",{number:04x}") };
    }
}
