// SPDX-License-Identifier: MIT OR Apache-2.0
//! Networks other than Ethernet, PPP and 802.11 that carry IP.

use super::{Behind, Ignore, Next, behind_ethertype, behind_ppp_address, behind_snap, behind_type, split};

/// ARCNET as BSD captures it (LINKTYPE 7): source, destination, then the type.
pub(super) fn behind_arcnet(bytes: &[u8]) -> Behind<'_> {
    let ([_source, _destination, kind], behind) = split(bytes)?;
    behind_arcnet_type(*kind, behind)
}

/// ARCNET as Linux captures it (LINKTYPE 129), with two octets of the adapter before the type.
pub(super) fn behind_linux_arcnet(bytes: &[u8]) -> Behind<'_> {
    let ([_source, _destination, _, _, kind], behind) = split(bytes)?;
    behind_arcnet_type(*kind, behind)
}

/// Behind the type of an ARCNET packet (RFC 1051, RFC 1201, RFC 2497).
fn behind_arcnet_type(kind: u8, bytes: &[u8]) -> Behind<'_> {
    /// A packet that is longer by four octets than what it carries, since there are none of some lengths (RFC 1201 section 2).
    const EXCEPTION: u8 = 0xff;
    let next = match kind {
        // RFC 1051 has no header of its own.
        240 => return Ok((Next::Ipv4, bytes)),
        212 => Next::Ipv4,
        196 => Next::Ipv6,
        _ => return Err(Ignore::NotIp),
    };
    let (&[mut split_flag, _, _], mut behind) = split(bytes)?;
    if split_flag == EXCEPTION {
        let ([_kind, flag, _, _], rest) = split(behind)?;
        (split_flag, behind) = (*flag, rest);
    }
    // Zero: not divided. Odd: the first part. Even: one that follows.
    if split_flag != 0 && split_flag & 1 == 0 { Err(Ignore::LinkFragment) } else { Ok((next, behind)) }
}

/// Frame Relay (LINKTYPE 107): an address of two to four octets (Q.922), then RFC 2427, or what Cisco has in its place: an
/// `EtherType`.
pub(super) fn behind_frame_relay(bytes: &[u8]) -> Behind<'_> {
    /// The lowest bit is set in the last octet of an address, which has two to four.
    const LAST: u8 = 0x01;
    const UNNUMBERED: u8 = 0x03;
    let address = bytes.iter().position(|octet| octet & LAST != 0).ok_or(Ignore::TruncatedLinkHeader)?;
    if !matches!(address, 1..=3) {
        return Err(Ignore::MalformedLinkHeader);
    }
    match bytes.get(address + 1..).unwrap_or_default() {
        // An octet of zero may be put in to align what follows.
        [UNNUMBERED, 0, behind @ ..] | [UNNUMBERED, behind @ ..] => behind_protocol_id(behind),
        behind => {
            let (number, behind) = split(behind)?;
            Ok((behind_ethertype(u16::from_be_bytes(*number))?, behind))
        }
    }
}

/// The network layer protocol identifier (NLPID) of ISO/IEC TR 9577.
fn behind_protocol_id(bytes: &[u8]) -> Behind<'_> {
    let ([protocol], behind) = split(bytes)?;
    match protocol {
        0x80 => behind_snap(behind),
        0x8e => Ok((Next::Ipv6, behind)),
        0xcc => Ok((Next::Ipv4, behind)),
        // RFC 1973.
        0xcf => behind_ppp_address(behind),
        _ => Err(Ignore::NotIp),
    }
}

/// LLC over ATM (LINKTYPE 100), and before bridged Ethernet two octets of filling (RFC 2684 section 5.2).
pub(super) fn behind_atm(bytes: &[u8]) -> Behind<'_> {
    match bytes {
        [0xaa, 0xaa, 0x03, 0x00, 0x80, 0xc2, 0x00, 1 | 7, 0, 0, frame @ ..] => Ok((Next::Ethernet, frame)),
        _ => Ok((Next::Llc, bytes)),
    }
}

/// Classical IP over ATM (LINKTYPE 106): LLC, or IP alone where a connection carries nothing else.
pub(super) fn behind_classical_ip(bytes: &[u8]) -> Behind<'_> {
    Ok((if bytes.starts_with(&[0xaa, 0xaa, 0x03]) { Next::Llc } else { Next::Ip }, bytes))
}

/// ATM as Solaris captures it (LINKTYPE 123): direction and kind, path, channel.
pub(super) fn behind_sun_atm(bytes: &[u8]) -> Behind<'_> {
    const KIND: u8 = 0x0f;
    const LAN_EMULATION: u8 = 1;
    const LLC: u8 = 2;
    let ([flags, ..], behind) = split::<4>(bytes)?;
    match flags & KIND {
        // Number of the client, then the frame. Control messages have a number that no client has.
        LAN_EMULATION => match split(behind)? {
            ([0xff, 0], _) => Err(Ignore::NotIp),
            (_, frame) => Ok((Next::Ethernet, frame)),
        },
        LLC => Ok((Next::By(behind_atm), behind)),
        _ => Err(Ignore::NotIp),
    }
}

/// IP over InfiniBand (LINKTYPE 242): 40 octets of route, then the `EtherType` and two octets that are reserved (RFC 4391 section 6).
pub(super) fn behind_infiniband(bytes: &[u8]) -> Behind<'_> {
    let ([.., high, low, _, _], behind) = split::<44>(bytes)?;
    Ok((behind_ethertype(u16::from_be_bytes([*high, *low]))?, behind))
}

/// Token Ring (LINKTYPE 6; IEEE 802.5 section 3): access and frame control, addresses, a route if the source says so.
pub(super) fn behind_token_ring(bytes: &[u8]) -> Behind<'_> {
    const FRAME_TYPE: u8 = 0xc0;
    const LLC: u8 = 0x40;
    const ROUTED: u8 = 0x80;
    const ROUTE_LENGTH: u8 = 0x1f;
    let ([_, control, _, _, _, _, _, _, source, ..], behind) = split::<14>(bytes)?;
    if control & FRAME_TYPE != LLC {
        return Err(Ignore::NotIp);
    }
    if source & ROUTED == 0 {
        return Ok((Next::Llc, behind));
    }
    let ([route, _], _) = split(behind)?;
    let len = usize::from(route & ROUTE_LENGTH);
    if len < 2 {
        return Err(Ignore::MalformedLinkHeader);
    }
    Ok((Next::Llc, behind.get(len..).ok_or(Ignore::TruncatedLinkHeader)?))
}

/// IP over Fibre Channel (LINKTYPE 122): both addresses in eight octets each (RFC 4338 section 5), then LLC.
pub(super) fn behind_fibre_channel(bytes: &[u8]) -> Behind<'_> {
    Ok((Next::Llc, split::<16>(bytes)?.1))
}

/// IP over IEEE 1394 as macOS captures it (LINKTYPE 138): both addresses in eight octets each, then the `EtherType`.
pub(super) fn behind_firewire(bytes: &[u8]) -> Behind<'_> {
    behind_type::<18>(bytes)
}
