// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers that no network carries: systems put them before packets as they capture them.
//!
//! Formats: the descriptions of link types at tcpdump.org.

use weir_flow::LinkType;

use super::{Behind, Ignore, Next, first, split};

/// Least length of PKTAP's header.
const PKTAP: usize = 108;

/// PKTAP of macOS (LINKTYPE 258): length of the header, what follows it, and its link type, in the byte order of the host.
pub(super) fn behind_pktap(bytes: &[u8]) -> Behind<'_> {
    /// What follows is a packet.
    const PACKET: u32 = 1;
    let (header, _) = split::<PKTAP>(bytes)?;
    let [len, kind, link] = pktap_numbers(header);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len < PKTAP {
        return Err(Ignore::MalformedLinkHeader);
    }
    if kind != PACKET {
        return Err(Ignore::NotIp);
    }
    Ok((inner(link)?, bytes.get(len..).ok_or(Ignore::TruncatedLinkHeader)?))
}

/// The second of the link types that anyone may use (LINKTYPE 149): older versions of macOS wrote PKTAP under this number.
pub(super) fn behind_user_2(bytes: &[u8]) -> Behind<'_> {
    /// More than a header of any version has, so that others who use the number are not taken for it.
    const MAX_PKTAP: u32 = 1024;
    let header = bytes.first_chunk::<PKTAP>().ok_or(Ignore::UnsupportedLinkType)?;
    match pktap_numbers(header) {
        [108..=MAX_PKTAP, 0 | 1, _] => behind_pktap(bytes),
        _ => Err(Ignore::UnsupportedLinkType),
    }
}

/// The first three numbers of PKTAP, in the byte order in which the length of the header is less.
fn pktap_numbers(header: &[u8; PKTAP]) -> [u32; 3] {
    let (words, _) = header.as_chunks::<4>();
    let read = |from: fn([u8; 4]) -> u32| [0, 1, 2].map(|at| words.get(at).map_or(0, |word| from(*word)));
    let [little, big] = [read(u32::from_le_bytes), read(u32::from_be_bytes)];
    if little[0] <= big[0] { little } else { big }
}

/// PPI (LINKTYPE 192): version, flags, length and link type, all little-endian.
pub(super) fn behind_ppi(bytes: &[u8]) -> Behind<'_> {
    let ([version, _, low, high, link @ ..], _) = split::<8>(bytes)?;
    let len = usize::from(u16::from_le_bytes([*low, *high]));
    if *version != 0 || len < 8 {
        return Err(Ignore::MalformedLinkHeader);
    }
    Ok((inner(u32::from_le_bytes(*link))?, bytes.get(len..).ok_or(Ignore::TruncatedLinkHeader)?))
}

fn inner(link: u32) -> Result<Next, Ignore> {
    u16::try_from(link).map_err(|_| Ignore::UnsupportedLinkType).and_then(|link| first(LinkType(link)))
}

/// IPNET of Solaris (LINKTYPE 226): version, address family as Solaris numbers it, 22 octets more.
pub(super) fn behind_ipnet(bytes: &[u8]) -> Behind<'_> {
    let ([version, family, ..], behind) = split::<24>(bytes)?;
    match (version, family) {
        (1, 2) => Ok((Next::Ipv4, behind)),
        (1, 26) => Ok((Next::Ipv6, behind)),
        (1, _) => Err(Ignore::NotIp),
        _ => Err(Ignore::MalformedLinkHeader),
    }
}

/// SLIP of BSD (LINKTYPE 8): direction, kind, and 14 octets of what the header was compressed to.
pub(super) fn behind_slip(bytes: &[u8]) -> Behind<'_> {
    Ok((Next::Ip, split::<16>(bytes)?.1))
}

/// Log of OpenBSD's and FreeBSD's packet filter (LINKTYPE 117): the first octet is the length, without filling octets.
pub(super) fn behind_filter_log(bytes: &[u8]) -> Behind<'_> {
    let len = usize::from(*bytes.first().ok_or(Ignore::TruncatedLinkHeader)?);
    if len < 4 {
        return Err(Ignore::MalformedLinkHeader);
    }
    Ok((Next::Ip, bytes.get(len.next_multiple_of(4)..).ok_or(Ignore::TruncatedLinkHeader)?))
}

/// IPsec of OpenBSD, behind decryption (LINKTYPE 109): address family, security parameter index, flags.
pub(super) fn behind_enc(bytes: &[u8]) -> Behind<'_> {
    Ok((Next::Ip, split::<12>(bytes)?.1))
}

/// PPP of pppd (LINKTYPE 166), with the direction in place of the address; of other systems (204), with it before the frame.
pub(super) fn behind_pppd(bytes: &[u8]) -> Behind<'_> {
    let ([_direction, _control], behind) = split(bytes)?;
    super::behind_ppp_address(behind)
}

/// One octet of direction, then PPP or Cisco HDLC (LINKTYPE 204, 205).
pub(super) fn behind_directed_ppp(bytes: &[u8]) -> Behind<'_> {
    let ([_direction], behind) = split(bytes)?;
    Ok((Next::Ppp, behind))
}

/// One octet of direction, then Frame Relay (LINKTYPE 206).
pub(super) fn behind_directed_frame_relay(bytes: &[u8]) -> Behind<'_> {
    let ([_direction], behind) = split(bytes)?;
    super::networks::behind_frame_relay(behind)
}
