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
//!         '- 't' TCP, 'd' DTLS, 'q' QUIC
//! ```
//!
//! Values reserved by RFC 8701 are left out everywhere. JA4 is the part of the JA4+ suite under the BSD 3-Clause licence:
//! the TLS client fingerprint only.

use md5::{Digest, Md5};
use sha2::Sha256;
use weir_flow::{ShortOctets, ShortText, app::Tls};

use super::hello::is_grease;
use crate::app::line;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What carries a hello: the first character of its JA4.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::app) enum Carrier {
    /// Datagrams: DTLS.
    Dtls,
    /// CRYPTO frames.
    #[allow(dead_code, reason = "for hellos that another parser has put together")]
    Quic,
    /// Records in a stream.
    #[default]
    Tcp,
}

impl Carrier {
    const fn character(self) -> u8 {
        match self {
            Self::Dtls => b'd',
            Self::Quic => b'q',
            Self::Tcp => b't',
        }
    }
}

/// What a hello says that matters for what comes after it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// A hash of the session's identifier; 0 without one.
    pub(super) session: u32,
    /// It has a ticket for a session (RFC 5077).
    pub(super) ticket: bool,
    /// It has early_data (RFC 8446 section 4.2.10).
    pub(super) early_data: bool,
    /// It has use_srtp (RFC 5764 section 4.1).
    pub(super) srtp: bool,
    /// It has pre_shared_key (RFC 8446 section 4.2.11).
    pub(super) pre_shared_key: bool,
    /// Nothing of it lies about a length.
    pub(super) is_whole: bool,
}

/// What fingerprints are made of; kept for its memory.
#[derive(Debug, Default)]
pub(in crate::app) struct Scratch {
    pub(super) carrier: Carrier,
    pub(super) seen: Seen,
    pub(super) version: u16,
    pub(super) cipher_suites: Vec<u16>,
    /// Types, the reserved ones too.
    pub(super) extensions: Vec<u16>,
    /// Lengths of the extensions.
    pub(super) lengths: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signatures: Vec<u16>,
    pub(super) versions: Vec<u16>,
    /// First application protocol offered.
    pub(super) alpn: Vec<u8>,
    /// Memory to write in.
    pub(super) text: Vec<u8>,
    ja4: Vec<u8>,
    lists: Vec<u16>,
    clients: Known<Client>,
    servers: Known<Server>,
}

/// Fingerprints of peers seen before. Few programs make most hellos, and hashing is most of what a hello costs.
///
/// Exact: a fingerprint is that of the same lists. Each list of numbers has one place, where the latest one stays.
#[derive(Debug, Default)]
struct Known<T> {
    places: Vec<Peer<T>>,
    /// Whether none is kept.
    is_forgetful: bool,
}

#[derive(Clone, Debug, Default)]
struct Peer<T> {
    /// What the fingerprints are made of; nothing: the place is free.
    lists: Vec<u16>,
    fingerprints: T,
}

/// Fingerprints of a client.
type Client = (ShortOctets<16>, ShortText<40>);
/// Fingerprint of a server.
type Server = ShortOctets<16>;

impl<T: Clone + Default> Known<T> {
    /// A power of two.
    const PLACES: usize = 256;
    /// Longer lists are not kept: with all places taken, both tables are 305 KiB, which the budget's reserve has room for.
    const MAX_LISTS: usize = 256;

    /// The place of these lists; `None` if they are too long.
    fn place(&mut self, lists: &[u16]) -> Option<&mut Peer<T>> {
        if self.is_forgetful {
            return None;
        }
        if self.places.is_empty() {
            self.places.resize(Self::PLACES, Peer::default());
        }
        // Who makes lists meet in one place makes hashing necessary again, nothing else.
        let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (fours, rest) = lists.as_chunks::<4>();
        let word = |four: &[u16; 4]| four.iter().fold(0, |word, &number| word << 16 | u64::from(number));
        let hash = fours.iter().fold(0, |hash, four| mix(hash, word(four)));
        let hash = rest.iter().fold(hash, |hash, &number| mix(hash, number.into()));
        let place = usize::try_from(hash >> 32).unwrap_or(0) & (Self::PLACES - 1);
        self.places.get_mut(place).filter(|_| lists.len() <= Self::MAX_LISTS)
    }

    /// The fingerprints of these lists, if they are known.
    fn find(&mut self, lists: &[u16]) -> Option<&T> {
        self.place(lists).filter(|peer| peer.lists == lists).map(|peer| &peer.fingerprints)
    }

    fn keep(&mut self, lists: &[u16], fingerprints: T) {
        if let Some(peer) = self.place(lists) {
            // No more than they need: a vector that grows would take up to twice that.
            peer.lists.clear();
            peer.lists.reserve_exact(lists.len());
            peer.lists.extend_from_slice(lists);
            peer.fingerprints = fingerprints;
        }
    }
}

impl Scratch {
    /// For hellos that hardly ever come again: without memory for those seen before.
    #[allow(dead_code, reason = "for hellos that another parser has put together")]
    pub(in crate::app) fn forgetful() -> Self {
        let mut scratch = Self::default();
        (scratch.clients.is_forgetful, scratch.servers.is_forgetful) = (true, true);
        scratch
    }

    pub(super) fn clear(&mut self) {
        self.carrier = Carrier::default();
        self.seen = Seen::default();
        self.version = 0;
        self.cipher_suites.clear();
        self.extensions.clear();
        self.lengths.clear();
        self.groups.clear();
        self.point_formats.clear();
        self.signatures.clear();
        self.versions.clear();
        self.alpn.clear();
    }

    /// Sets the types and lengths of extensions.
    pub(super) fn write_extensions(&mut self, fields: &mut Tls) {
        let lists = [(&self.extensions, &mut fields.extension_types), (&self.lengths, &mut fields.extension_lengths)];
        for (list, field) in lists {
            self.text.clear();
            list.iter().for_each(|number| self.text.extend_from_slice(&number.to_be_bytes()));
            if !list.is_empty() {
                field.set(&self.text, &mut fields.memory);
            }
        }
    }

    /// Sets the fingerprints of the client.
    pub(super) fn write_client(&mut self, fields: &mut Tls) {
        self.extensions.retain(|&e| !is_grease(e));
        self.write_lists();
        if let Some((ja3, ja4)) = self.clients.find(&self.lists) {
            fields.ja3.clone_from(ja3);
            fields.ja4.clone_from(ja4);
            return;
        }
        fields.ja3.set(&self.ja3());
        self.write_ja4();
        fields.ja4.set(&self.ja4);
        self.clients.keep(&self.lists, (fields.ja3.clone(), fields.ja4.clone()));
    }

    /// Writes down all that fingerprints are made of, as it stands.
    fn write_lists(&mut self) {
        let Self {
            carrier,
            version,
            cipher_suites,
            extensions,
            groups,
            point_formats,
            signatures,
            versions,
            alpn,
            lists,
            ..
        } = self;
        lists.clear();
        lists.extend([u16::from(carrier.character()), *version]);
        for list in [cipher_suites, extensions, groups, signatures, versions] {
            // So many are in no message.
            lists.push(u16::try_from(list.len()).unwrap_or(u16::MAX));
            lists.extend_from_slice(list);
        }
        lists.push(u16::from_be_bytes(ends(alpn)));
        lists.extend(point_formats.iter().map(|&format| u16::from(format)));
    }

    fn ja3(&mut self) -> [u8; 16] {
        self.text.clear();
        decimal(&[self.version], &mut self.text);
        for list in [&self.cipher_suites, &self.extensions, &self.groups] {
            self.text.push(b',');
            decimal(list, &mut self.text);
        }
        self.text.push(b',');
        decimal(&self.point_formats, &mut self.text);
        Md5::digest(&self.text).into()
    }

    /// Sets the fingerprint of the server.
    pub(super) fn write_server(&mut self, fields: &mut Tls) {
        self.extensions.retain(|&e| !is_grease(e));
        self.write_lists();
        if let Some(ja3s) = self.servers.find(&self.lists) {
            fields.ja3s.clone_from(ja3s);
            return;
        }
        self.text.clear();
        decimal(&[self.version], &mut self.text);
        for list in [&self.cipher_suites, &self.extensions] {
            self.text.push(b',');
            decimal(list, &mut self.text);
        }
        fields.ja3s.set(&Md5::digest(&self.text));
        self.servers.keep(&self.lists, fields.ja3s.clone());
    }

    fn write_ja4(&mut self) {
        // Those of DTLS count down from 0xfeff.
        let highest =
            if self.carrier == Carrier::Dtls { self.versions.iter().min() } else { self.versions.iter().max() };
        let highest = highest.copied().unwrap_or(self.version);
        let version: &[u8; 2] = match highest {
            // What OpenSSL had for DTLS before RFC 4347 has this number.
            0x0100 => b"s1",
            0x0002 | 0x0200 => b"s2",
            0x0300 => b"s3",
            0x0301 => b"10",
            0x0302 => b"11",
            0x0303 => b"12",
            0x0304 => b"13",
            0xfeff => b"d1",
            0xfefd => b"d2",
            0xfefc => b"d3",
            _ => b"00",
        };
        let name = if self.extensions.contains(&SERVER_NAME) { b'd' } else { b'i' };
        let count = |list: &[u16]| u8::try_from(list.len()).unwrap_or(u8::MAX).min(99);
        let (suites, extensions) = (count(&self.cipher_suites), count(&self.extensions));
        let [first, last] = ends(&self.alpn);
        let ja4 = &mut self.ja4;
        ja4.clear();
        ja4.push(self.carrier.character());
        ja4.extend_from_slice(version);
        ja4.push(name);
        two_digits(suites, ja4);
        two_digits(extensions, ja4);
        ja4.extend_from_slice(&[first, last, b'_']);
        self.cipher_suites.sort_unstable();
        let any = !self.extensions.is_empty();
        self.text.clear();
        hexadecimal(&self.cipher_suites, &mut self.text);
        write_hash(&self.text, !self.cipher_suites.is_empty(), ja4);
        ja4.push(b'_');
        self.extensions.retain(|&e| e != SERVER_NAME && e != ALPN);
        self.extensions.sort_unstable();
        self.text.clear();
        hexadecimal(&self.extensions, &mut self.text);
        if !self.signatures.is_empty() {
            self.text.push(b'_');
            hexadecimal(&self.signatures, &mut self.text);
        }
        write_hash(&self.text, any, ja4);
    }
}

/// First and last character of a protocol name; of its hexadecimal form, if one of the two is neither letter nor digit.
fn ends(protocol: &[u8]) -> [u8; 2] {
    let (Some(&first), Some(&last)) = (protocol.first(), protocol.last()) else { return *b"00" };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first, last];
    }
    [digit(first >> 4), digit(last)]
}

/// Appends the first twelve digits of a SHA-256, or twelve zeros for nothing.
fn write_hash(text: &[u8], any: bool, out: &mut Vec<u8>) {
    if !any {
        out.extend_from_slice(&[b'0'; 12]);
        return;
    }
    for &octet in Sha256::digest(text).iter().take(6) {
        out.extend_from_slice(&[digit(octet >> 4), digit(octet)]);
    }
}

/// Appends a number below 100.
fn two_digits(number: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
}

/// The hexadecimal digit of the lower half of an octet.
const fn digit(octet: u8) -> u8 {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    DIGITS[(octet & 0x0f) as usize]
}

fn decimal<T: Copy + Into<u16>>(list: &[T], out: &mut Vec<u8>) {
    for (i, &number) in list.iter().enumerate() {
        if i > 0 {
            out.push(b'-');
        }
        line::decimal(u32::from(number.into()), out);
    }
}

fn hexadecimal(list: &[u16], out: &mut Vec<u8>) {
    for (i, number) in list.iter().enumerate() {
        let [high, low] = number.to_be_bytes();
        let digits = [b',', digit(high >> 4), digit(high), digit(low >> 4), digit(low)];
        out.extend_from_slice(digits.get(usize::from(i == 0)..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(scratch: &mut Scratch, number: u16) -> Tls {
        let mut fields = Tls::default();
        scratch.clear();
        scratch.version = 0x0303;
        scratch.cipher_suites.extend([0x1301 + number, 0x1302]);
        scratch.extensions.extend([0, 0x1a1a, 16, 43 + number % 3]);
        scratch.groups.push(29);
        scratch.signatures.extend([0x0403; 7].iter().take(usize::from(number % 7)));
        scratch.alpn.extend_from_slice(if number.is_multiple_of(2) { b"h2" } else { b"http/1.1" });
        scratch.write_client(&mut fields);
        fields
    }

    fn server(scratch: &mut Scratch, number: u16) -> Tls {
        let mut fields = Tls::default();
        scratch.clear();
        scratch.version = 0x0303;
        scratch.cipher_suites.push(0x1301 + number);
        scratch.extensions.extend([43, 51 + number % 3]);
        scratch.write_server(&mut fields);
        fields
    }

    #[test]
    fn what_is_known_is_what_would_be_hashed() {
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            for number in 0..600 {
                let fresh = client(&mut Scratch::default(), number);
                let known = client(&mut scratch, number);
                assert_eq!((known.ja3, known.ja4), (fresh.ja3, fresh.ja4), "{number}");
                assert_eq!(server(&mut scratch, number), server(&mut Scratch::default(), number), "{number}");
            }
        }
    }

    #[test]
    fn lists_too_long_to_be_known_are_hashed() {
        let mut scratch = Scratch::default();
        for version in [1, 2, 1] {
            let mut fields = Tls::default();
            scratch.clear();
            scratch.version = version;
            scratch.cipher_suites.extend(0..1000);
            scratch.write_client(&mut fields);
            assert!(!fields.ja4.is_empty() && scratch.clients.places.iter().all(|client| client.lists.is_empty()));
        }
    }
}
