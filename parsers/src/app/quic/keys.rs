// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys of Initial packets, and what is under them (RFC 9001 section 5, RFC 9369 section 3.3).
//!
//! ```text
//!   salt of the version, the client's destination ─HKDF─► secret of a side ─► key, iv, hp
//!   mask = AES(hp, 16 octets of the packet)        of the first octet and the packet number
//!   text = packet xor AES(key, iv xor packet number, 2..)        AES-128-GCM without its tag
//! ```
//!
//! The tag is not verified. Whoever sees the client's first packet has the keys, so that the tag proves nothing about who sent a
//! packet; of a packet cut by the capture it is missing; and whether the keys were right is seen by the frames
//! ([`super::frames`]). So neither GHASH nor a crate for it is needed.

use aes::{
    Aes128, Block,
    cipher::{BlockEncrypt, KeyInit},
};
use sha2::{Digest, Sha256};

use super::header::Rules;

/// Octets of an authentication tag.
const TAG: usize = 16;

/// Octets between the start of the packet number and what the mask is made of.
const SAMPLE_AT: usize = 4;

/// Octets of a block.
const BLOCK: usize = 16;

/// Blocks that are encrypted at once, which processors do side by side.
const BATCH: usize = 8;

/// Keys of the packets that one side sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    /// Header protection.
    hp: [u8; 16],
}

impl Keys {
    /// Keys of the client's packets, by the first destination that it chose.
    pub(super) fn of_client(rules: &Rules, cid: &[u8]) -> Self {
        Self::of_side(rules, cid, b"client in")
    }

    /// Keys of the server's packets.
    pub(super) fn of_server(rules: &Rules, cid: &[u8]) -> Self {
        Self::of_side(rules, cid, b"server in")
    }

    fn of_side(rules: &Rules, cid: &[u8], side: &[u8]) -> Self {
        let initial = Hmac::new(&Hmac::new(rules.salt).of(&[cid]));
        let secret = Hmac::new(&initial.label::<32>(&[side]));
        let prefix: &[u8] = if rules.is_second { b"quicv2 " } else { b"quic " };
        Self {
            key: secret.label(&[prefix, b"key"]),
            iv: secret.label(&[prefix, b"iv"]),
            hp: secret.label(&[prefix, b"hp"]),
        }
    }

    /// Takes the protection off a packet: its first octet, and what begins with its packet number. `None` if that is too short
    /// or cannot be right. If the packet is not whole, what there is of it is taken as text.
    pub(super) fn open<'a>(&self, first: u8, body: &[u8], is_whole: bool, text: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let mut mask = Block::from(*body.get(SAMPLE_AT..)?.first_chunk::<BLOCK>()?);
        Aes128::new(&self.hp.into()).encrypt_block(&mut mask);
        let [of_first, of_number @ ..] = <[u8; BLOCK]>::from(mask);
        let first = first ^ of_first & 0x0f;
        if first & RESERVED != 0 {
            return None;
        }
        let (number, rest) = body.split_at_checked(usize::from(first & 3) + 1)?;
        // Of larger numbers only the last octets are there. Those of Initial packets begin with zero and never get that far.
        let number = number.iter().zip(of_number).fold(0, |all, (octet, mask)| all << 8 | u32::from(octet ^ mask));
        let end = if is_whole { rest.len().checked_sub(TAG)? } else { rest.len() };
        text.clear();
        text.extend_from_slice(rest.get(..end)?);
        self.decrypt(number, text);
        Some(text)
    }

    /// AES-CTR as AES-GCM uses it (NIST SP 800-38D): counters from 2 on.
    fn decrypt(&self, number: u32, text: &mut [u8]) {
        let cipher = Aes128::new(&self.key.into());
        let mut nonce = self.iv;
        for (octet, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *octet ^= number;
        }
        let mut counter = 2_u32;
        for batch in text.chunks_mut(BATCH * BLOCK) {
            let mut pad = [Block::default(); BATCH];
            for block in &mut pad {
                let (front, back) = block.split_at_mut(nonce.len());
                front.copy_from_slice(&nonce);
                back.copy_from_slice(&counter.to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            cipher.encrypt_blocks(&mut pad);
            batch.iter_mut().zip(pad.iter().flatten()).for_each(|(octet, pad)| *octet ^= pad);
        }
    }
}

#[cfg(test)]
impl Keys {
    /// Puts the protection on a packet with this header, up to its length, number and frames; the tag is zeros.
    pub(super) fn protect(&self, header: &[u8], number: u32, text: &[u8]) -> Vec<u8> {
        let number_len = usize::from(header[0] & 3) + 1;
        let mut body = text.to_vec();
        self.decrypt(number, &mut body);
        body.splice(..0, number.to_be_bytes()[4 - number_len..].iter().copied());
        body.extend([0; TAG]);
        let mut mask = Block::from(*body[SAMPLE_AT..].first_chunk::<BLOCK>().unwrap());
        Aes128::new(&self.hp.into()).encrypt_block(&mut mask);
        body.iter_mut().take(number_len).zip(&mask[1..]).for_each(|(octet, mask)| *octet ^= mask);
        let mut packet = [header, &body].concat();
        packet[0] ^= mask[0] & 0x0f;
        packet
    }
}

/// Bits of the first octet that are zero under the protection (RFC 9000 section 17.2).
const RESERVED: u8 = 0x0c;

/// HMAC-SHA-256 (RFC 2104) with its key taken in.
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    /// With a key of at most 64 octets.
    fn new(key: &[u8]) -> Self {
        let padded = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
            Sha256::new_with_prefix(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }

    /// HKDF-Expand-Label without context (RFC 8446 section 7.1), of at most 32 octets.
    fn label<const N: usize>(&self, label: &[&[u8]]) -> [u8; N] {
        const { assert!(N <= 32) };
        let len: usize = label.iter().map(|part| part.len()).sum();
        // The labels are a few characters long.
        let head = [0, N as u8, PREFIX.len() as u8 + len as u8];
        let of_label = |nth: usize| label.get(nth).copied().unwrap_or_default();
        // An empty context, and the number of the first block (RFC 5869 section 2.3).
        let expanded = self.of(&[&head, PREFIX, of_label(0), of_label(1), &[0, 1]]);
        let mut out = [0; N];
        out.iter_mut().zip(expanded).for_each(|(to, from)| *to = from);
        out
    }
}

/// What labels of TLS 1.3 begin with.
const PREFIX: &[u8] = b"tls13 ";

#[cfg(test)]
mod tests {
    use super::{super::header::rules, *};

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn shown(keys: &Keys) -> [String; 3] {
        [hex(&keys.key), hex(&keys.iv), hex(&keys.hp)]
    }

    /// Destination of the samples in RFC 9001 and RFC 9369.
    const CID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

    #[test]
    fn keys_of_rfc_9001_appendix_a_1() {
        let rules = rules(1).unwrap();
        assert_eq!(
            shown(&Keys::of_client(&rules, &CID)),
            ["1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"]
        );
        assert_eq!(
            shown(&Keys::of_server(&rules, &CID)),
            ["cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e", "c206b8d9b9f0f37644430b490eeaa314"]
        );
    }

    #[test]
    fn keys_of_rfc_9369_appendix_a_1() {
        let rules = rules(0x6b33_43cf).unwrap();
        assert_eq!(
            shown(&Keys::of_client(&rules, &CID)),
            ["8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"]
        );
        assert_eq!(
            shown(&Keys::of_server(&rules, &CID)),
            ["82db637861d55e1d011f19ea71d5d2a7", "dd13c276499c0249d3310652", "edf6d05c83121201b436e16877593c3a"]
        );
    }

    #[test]
    fn what_is_too_short_is_not_opened() {
        let keys = Keys::of_client(&rules(1).unwrap(), &CID);
        for len in 0..BLOCK + SAMPLE_AT {
            assert_eq!(keys.open(0xc0, &[0x55; 64][..len], true, &mut Vec::new()), None);
        }
    }
}
