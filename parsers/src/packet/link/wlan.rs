// SPDX-License-Identifier: MIT OR Apache-2.0
//! IEEE 802.11, and the headers that captures put before it: radiotap, Prism, AVS.
//!
//! Data frames alone carry IP. A frame that was encrypted stays so, and of one that was divided only the first part has an
//! IP header. An aggregate (A-MSDU) holds several packets, of which the first is decoded. The frame check sequence at the
//! end, if it was captured, is where IP's length ends. Not followed: mesh headers, and frames of protocol version 1 (802.11ah).

use super::{Behind, Ignore, Next, split};

/// Addresses, duration, frame and sequence control: what every data frame has (IEEE 802.11-2020 section 9.3.2.1).
const HEADER: usize = 24;

/// A bare frame (LINKTYPE 105).
pub(super) fn behind_frame(bytes: &[u8]) -> Behind<'_> {
    behind_header(bytes, false)
}

/// Radiotap (LINKTYPE 127): version, pad, length, then words that say which fields follow; all little-endian.
pub(super) fn behind_radiotap(bytes: &[u8]) -> Behind<'_> {
    /// The frame did not pass the check of its sequence, so any octet of it may be wrong.
    const BAD_CHECK: u8 = 0x40;
    /// The 802.11 header is filled up to a multiple of four octets.
    const PADDED: u8 = 0x20;
    let ([version, _, low, high], _) = split::<4>(bytes)?;
    let len = usize::from(u16::from_le_bytes([*low, *high]));
    if *version != 0 || len < 8 {
        return Err(Ignore::MalformedLinkHeader);
    }
    let (header, frame) = bytes.split_at_checked(len).ok_or(Ignore::TruncatedLinkHeader)?;
    let flags = radiotap_flags(header).unwrap_or_default();
    if flags & BAD_CHECK != 0 {
        return Err(Ignore::MalformedLinkHeader);
    }
    behind_header(frame, flags & PADDED != 0)
}

/// The field "flags" of a radiotap header, which is behind the time if there is one, aligned to it.
fn radiotap_flags(header: &[u8]) -> Option<u8> {
    const TIME: u8 = 0x01;
    const FLAGS: u8 = 0x02;
    /// In the last octet of a word: another word follows.
    const MORE_WORDS: u8 = 0x80;
    let (words, _) = header.get(4..)?.as_chunks::<4>();
    let present = words.first()?[0];
    if present & FLAGS == 0 {
        return None;
    }
    let mut at = 4 + 4 * (1 + words.iter().position(|word| word[3] & MORE_WORDS == 0)?);
    if present & TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    header.get(at).copied()
}

/// Prism (LINKTYPE 119), in whose place some drivers put AVS, which has a mark of its own.
pub(super) fn behind_prism(bytes: &[u8]) -> Behind<'_> {
    const PRISM: usize = 144;
    match bytes {
        [0x80, 0x21, 0x10, 1 | 2, ..] => behind_avs(bytes),
        _ => Ok((Next::By(behind_frame), split::<PRISM>(bytes)?.1)),
    }
}

/// AVS (LINKTYPE 163): a mark with the version, then the length of the header.
pub(super) fn behind_avs(bytes: &[u8]) -> Behind<'_> {
    let ([_, _, _, _, len @ ..], _) = split::<8>(bytes)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
    if len < 8 {
        return Err(Ignore::MalformedLinkHeader);
    }
    Ok((Next::By(behind_frame), bytes.get(len..).ok_or(Ignore::TruncatedLinkHeader)?))
}

/// The header of 802.11.
fn behind_header(bytes: &[u8], is_padded: bool) -> Behind<'_> {
    const VERSION: u8 = 0x03;
    const TYPE: u8 = 0x0c;
    const DATA: u8 = 0x08;
    /// Subtypes of data frames are made of bits: null frames, which have no data, and quality of service.
    const NO_DATA: u8 = 0x40;
    const QUALITY: u8 = 0x80;
    const BETWEEN_ACCESS_POINTS: u8 = 0x03;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;
    const FRAGMENT: u8 = 0x0f;
    const AGGREGATE: u8 = 0x80;
    let ([control, flags], _) = split::<2>(bytes)?;
    if control & VERSION != 0 {
        return Err(Ignore::MalformedLinkHeader);
    }
    if control & (TYPE | NO_DATA) != DATA {
        return Err(Ignore::NotIp);
    }
    let ([.., sequence, _], mut behind) = split::<HEADER>(bytes)?;
    if flags & PROTECTED != 0 {
        return Err(Ignore::Encrypted);
    }
    if sequence & FRAGMENT != 0 {
        return Err(Ignore::LinkFragment);
    }
    if flags & BETWEEN_ACCESS_POINTS == BETWEEN_ACCESS_POINTS {
        // The fourth address.
        behind = split::<6>(behind)?.1;
    }
    let mut is_aggregate = false;
    if control & QUALITY != 0 {
        let ([quality, _], rest) = split::<2>(behind)?;
        is_aggregate = quality & AGGREGATE != 0;
        // With quality of service, "order" says that the HT control field follows.
        behind = if flags & ORDER == 0 { rest } else { split::<4>(rest)?.1 };
    }
    if is_padded {
        let header = bytes.len() - behind.len();
        behind = bytes.get(header.next_multiple_of(4)..).ok_or(Ignore::TruncatedLinkHeader)?;
    }
    if is_aggregate { behind_subframe(behind) } else { Ok((Next::Llc, behind)) }
}

/// The first frame of an aggregate (IEEE 802.11-2020 section 9.3.2.2): both addresses, and the length of what follows.
fn behind_subframe(bytes: &[u8]) -> Behind<'_> {
    let ([.., high, low], behind) = split::<14>(bytes)?;
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    Ok((Next::Llc, behind.get(..len).unwrap_or(behind)))
}
