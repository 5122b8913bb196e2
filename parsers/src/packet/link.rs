// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! The headers before IP.
//!
//! [`Network::find`] walks from the first octet of a packet to its outermost IP header:
//!
//! | first header | link types |
//! |---|---|
//! | Ethernet II, IEEE 802.3 with LLC and SNAP | 1 |
//! | Linux cooked capture | 113, 276 |
//! | IP | 12, 14, 101, 228, 229 |
//! | BSD loopback, address family in either byte order | 0, 108 |
//! | PPP (RFC 1661), bare or in HDLC-like framing (RFC 1662); Cisco HDLC | 9, 50, 104 |
//! | PPPoE session (RFC 2516) | 51 |
//! | IEEE 802.11, bare or behind radiotap, Prism, AVS (`wlan`) | 105, 119, 127, 163 |
//! | FDDI, Token Ring | 10, 6 |
//! | ARCNET, Frame Relay, ATM, IP over InfiniBand, Fibre Channel, IEEE 1394 (`networks`) | 7, 129, 107, 206, 100, 106, 123, 242, 122, 138 |
//! | PPP with a direction; SLIP of BSD (`captures`) | 166, 204, 205, 8 |
//! | Logs of packet filters: Linux netfilter, BSD; IPsec of OpenBSD | 239, 117, 109 |
//! | PKTAP, PPI and IPNET, of which the first two say what they hold | 258, 149, 192, 226 |
//!
//! Behind them, in any order: VLAN tags (IEEE 802.1Q and 802.1ad, and the numbers used before it), provider backbone
//! bridging (IEEE 802.1Q clause 25, "MAC-in-MAC"), VN-Tag, HSR, Cisco FabricPath, MACsec without encryption, MPLS label
//! stacks (RFC 3032), Ethernet pseudowires with and without control word (RFC 4448), PPPoE sessions.
//!
//! MPLS does not say what it carries. The first nibble behind the stack tells IPv4 from IPv6 from a pseudowire control
//! word (RFC 4928); an Ethernet pseudowire is believed if an `EtherType` that is decoded stands where it should.
//!
//! Not followed: TRILL, NSH, what is encrypted (MACsec, 802.11), multilink or compressed PPP, multilink Frame Relay, ATM cells,
//! 802.15.4, Q-in-Q without tags.

mod captures;
mod networks;
mod wlan;

use weir_flow::{IpVersion, LinkType};

use super::Ignore;

/// Most headers before IP that are followed, each tag and label counted as one. Networks nest a dozen; captures made to
/// test decoders nest fifty.
pub const MAX_LINK_HEADERS: usize = 64;

/// `EtherType` numbers that are followed.
mod ethertype {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const ETHERNET: u16 = 0x6558;
    pub(super) const VLAN: u16 = 0x8100;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const MPLS: u16 = 0x8847;
    pub(super) const MPLS_UPSTREAM: u16 = 0x8848;
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
    pub(super) const PROVIDER_VLAN: u16 = 0x88a8;
    pub(super) const MACSEC: u16 = 0x88e5;
    pub(super) const BACKBONE: u16 = 0x88e7;
    pub(super) const FABRIC_PATH: u16 = 0x8903;
    pub(super) const VN_TAG: u16 = 0x8926;
    pub(super) const HSR: u16 = 0x892f;
    pub(super) const OLD_VLAN: [u16; 2] = [0x9100, 0x9200];

    pub(super) const ARP: u16 = 0x0806;
    /// Greatest value that is a length (IEEE 802.3) and not a type.
    pub(super) const MAX_LENGTH: u16 = 1500;
}

/// Where the outermost IP header begins.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// What the header before it says it is; the header itself is not yet looked at.
    pub version: IpVersion,
    /// The captured octets from the IP header on, trailers of the link layer included.
    pub bytes: &'a [u8],
    /// Identifier of the outermost VLAN tag, zero where there is none.
    pub vlan: u16,
    /// The packet from its outermost MPLS label on (RFC 3032 section 2.1); empty where there is none.
    pub labels: &'a [u8],
}

/// The header that comes next, and the octets from it on.
type Behind<'a> = Result<(Next, &'a [u8]), Ignore>;

/// The kind of the header that comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// One that few captures have, read by this function.
    By(for<'a> fn(&'a [u8]) -> Behind<'a>),
    /// Flags and service instance, then an Ethernet frame.
    Backbone,
    Ethernet,
    FabricPath,
    Fddi,
    Ip,
    Ipv4,
    Ipv6,
    Llc,
    Loopback,
    MacSec,
    Mpls,
    NetfilterLog,
    Ppp,
    Pppoe,
    Sll,
    Sll2,
    /// Six octets, of which the last two are an `EtherType`.
    Tag,
    Vlan,
}

impl<'a> Network<'a> {
    /// Walks from the first octet of a packet to its outermost IP header.
    ///
    /// # Errors
    ///
    /// Where there is none, or the walk cannot go on.
    pub fn find(link: LinkType, data: &'a [u8]) -> Result<Self, Ignore> {
        let mut next = first(link)?;
        let mut rest = data;
        let (mut vlan, mut labels) = (None, None);
        for _ in 0..MAX_LINK_HEADERS {
            (next, rest) = match next {
                Next::Ipv4 => return Ok(Self::at(IpVersion::V4, rest, vlan, labels)),
                Next::Ipv6 => return Ok(Self::at(IpVersion::V6, rest, vlan, labels)),
                Next::Ip => match rest.first().ok_or(Ignore::TruncatedIpHeader)? >> 4 {
                    4 => (Next::Ipv4, rest),
                    6 => (Next::Ipv6, rest),
                    _ => return Err(Ignore::MalformedIpHeader),
                },
                Next::Ethernet => behind_type::<14>(rest)?,
                Next::Vlan => {
                    let ([priority, id, ..], _) = split::<4>(rest)?;
                    vlan = vlan.or(Some(u16::from_be_bytes([*priority, *id]) & 0x0fff));
                    behind_type::<4>(rest)?
                }
                Next::Tag => behind_type::<6>(rest)?,
                Next::By(reader) => reader(rest)?,
                Next::Backbone => behind_type::<18>(rest)?,
                Next::FabricPath => behind_type::<16>(rest)?,
                Next::Fddi => (Next::Llc, split::<13>(rest)?.1),
                Next::Llc => behind_llc(rest)?,
                Next::Loopback => behind_loopback(rest)?,
                Next::MacSec => behind_macsec(rest)?,
                Next::Mpls => {
                    let ([_, _, bottom, _], behind) = split(rest)?;
                    labels = labels.or(Some(rest));
                    if bottom & 1 == 1 { behind_labels(behind)? } else { (Next::Mpls, behind) }
                }
                Next::NetfilterLog => behind_netfilter_log(rest)?,
                Next::Ppp => behind_ppp_framing(rest)?,
                Next::Pppoe => {
                    let ([version_and_type, code, ..], behind) = split::<6>(rest)?;
                    match (version_and_type, code) {
                        (0x11, 0) => behind_ppp_address(behind)?,
                        (0x11, _) => return Err(Ignore::NotIp),
                        _ => return Err(Ignore::MalformedLinkHeader),
                    }
                }
                Next::Sll => {
                    let ([_, _, hardware_high, hardware_low, .., high, low], behind) = split::<16>(rest)?;
                    let hardware = u16::from_be_bytes([*hardware_high, *hardware_low]);
                    (behind_cooked(hardware, u16::from_be_bytes([*high, *low]))?, behind)
                }
                Next::Sll2 => {
                    let ([high, low, _, _, _, _, _, _, hardware_high, hardware_low, ..], behind) = split::<20>(rest)?;
                    let hardware = u16::from_be_bytes([*hardware_high, *hardware_low]);
                    (behind_cooked(hardware, u16::from_be_bytes([*high, *low]))?, behind)
                }
            };
        }
        Err(Ignore::TooManyLinkHeaders)
    }

    fn at(version: IpVersion, bytes: &'a [u8], vlan: Option<u16>, labels: Option<&'a [u8]>) -> Self {
        Self { version, bytes, vlan: vlan.unwrap_or_default(), labels: labels.unwrap_or_default() }
    }
}

/// The first header of a packet of link type `link`.
fn first(link: LinkType) -> Result<Next, Ignore> {
    const FDDI: LinkType = LinkType(10);
    const CISCO_HDLC: LinkType = LinkType(104);
    const NETFILTER_LOG: LinkType = LinkType(239);
    Ok(match link {
        LinkType(6) => Next::By(networks::behind_token_ring),
        LinkType(7) => Next::By(networks::behind_arcnet),
        LinkType(8) => Next::By(captures::behind_slip),
        LinkType(100) => Next::By(networks::behind_atm),
        LinkType(105) => Next::By(wlan::behind_frame),
        LinkType(106) => Next::By(networks::behind_classical_ip),
        LinkType(107) => Next::By(networks::behind_frame_relay),
        LinkType(109) => Next::By(captures::behind_enc),
        LinkType(117) => Next::By(captures::behind_filter_log),
        LinkType(119) => Next::By(wlan::behind_prism),
        LinkType(122) => Next::By(networks::behind_fibre_channel),
        LinkType(123) => Next::By(networks::behind_sun_atm),
        LinkType(127) => Next::By(wlan::behind_radiotap),
        LinkType(129) => Next::By(networks::behind_linux_arcnet),
        LinkType(138) => Next::By(networks::behind_firewire),
        LinkType(149) => Next::By(captures::behind_user_2),
        LinkType(163) => Next::By(wlan::behind_avs),
        LinkType(166) => Next::By(captures::behind_pppd),
        LinkType(192) => Next::By(captures::behind_ppi),
        LinkType(204 | 205) => Next::By(captures::behind_directed_ppp),
        LinkType(206) => Next::By(captures::behind_directed_frame_relay),
        LinkType(226) => Next::By(captures::behind_ipnet),
        LinkType(242) => Next::By(networks::behind_infiniband),
        LinkType(258) => Next::By(captures::behind_pktap),
        LinkType::ETHERNET => Next::Ethernet,
        LinkType::LINUX_SLL => Next::Sll,
        LinkType::LINUX_SLL2 => Next::Sll2,
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => Next::Ip,
        LinkType::IPV4 => Next::Ipv4,
        LinkType::IPV6 => Next::Ipv6,
        LinkType::NULL | LinkType::LOOP => Next::Loopback,
        LinkType::PPP | LinkType::PPP_HDLC | CISCO_HDLC => Next::Ppp,
        LinkType::PPP_ETHER => Next::Pppoe,
        FDDI => Next::Fddi,
        NETFILTER_LOG => Next::NetfilterLog,
        _ => return Err(Ignore::UnsupportedLinkType),
    })
}

/// The next `N` octets of a header before IP, and what is behind them.
fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Ignore> {
    bytes.split_first_chunk().ok_or(Ignore::TruncatedLinkHeader)
}

/// Behind a header of `N` octets whose last two are a type, or the length of an LLC frame.
fn behind_type<const N: usize>(bytes: &[u8]) -> Behind<'_> {
    let (header, behind) = split::<N>(bytes)?;
    let number = header.last_chunk().map_or(0, |octets| u16::from_be_bytes(*octets));
    Ok((if number <= ethertype::MAX_LENGTH { Next::Llc } else { behind_ethertype(number)? }, behind))
}

/// The header that an `EtherType` announces.
fn behind_ethertype(number: u16) -> Result<Next, Ignore> {
    Ok(match number {
        ethertype::IPV4 => Next::Ipv4,
        ethertype::IPV6 => Next::Ipv6,
        ethertype::VLAN | ethertype::PROVIDER_VLAN => Next::Vlan,
        ethertype::MPLS | ethertype::MPLS_UPSTREAM => Next::Mpls,
        ethertype::PPPOE_SESSION => Next::Pppoe,
        ethertype::ETHERNET => Next::Ethernet,
        ethertype::MACSEC => Next::MacSec,
        ethertype::BACKBONE => Next::Backbone,
        ethertype::FABRIC_PATH => Next::FabricPath,
        // Four octets of tag, then the type.
        ethertype::VN_TAG | ethertype::HSR => Next::Tag,
        _ if ethertype::OLD_VLAN.contains(&number) => Next::Vlan,
        _ => return Err(Ignore::NotIp),
    })
}

/// LLC (IEEE 802.2), and SNAP in it.
fn behind_llc(bytes: &[u8]) -> Behind<'_> {
    const IP: u8 = 0x06;
    const SNAP: u8 = 0xaa;
    /// Unnumbered information: the one control octet that a datagram has.
    const UI: u8 = 0x03;
    let ([destination, source, control], behind) = split(bytes)?;
    match (*destination, *source & 0xfe, *control) {
        (SNAP, SNAP, UI) => behind_snap(behind),
        (IP, IP, UI) => Ok((Next::Ipv4, behind)),
        _ => Err(Ignore::NotIp),
    }
}

/// SNAP (IEEE 802): whose numbers, then the number.
fn behind_snap(bytes: &[u8]) -> Behind<'_> {
    let ([o0, o1, o2, high, low], behind) = split(bytes)?;
    match ([*o0, *o1, *o2], u16::from_be_bytes([*high, *low])) {
        // RFC 1042, and the "bridge tunnel" form for the few protocols that must stay apart.
        ([0, 0, 0] | [0, 0, 0xf8], number) => Ok((behind_ethertype(number)?, behind)),
        // Bridged Ethernet, with and without its frame check sequence (RFC 2427 section 4.2).
        ([0, 0x80, 0xc2], 1 | 7) => Ok((Next::Ethernet, behind)),
        _ => Err(Ignore::NotIp),
    }
}

/// Four octets of address family, in the byte order of whoever captured it.
fn behind_loopback(bytes: &[u8]) -> Behind<'_> {
    let (octets, behind) = split::<4>(bytes)?;
    if let [0xff, 0x03, ..] = octets {
        // PPP interfaces of some BSDs.
        return Ok((Next::Ppp, bytes));
    }
    let [big, little] = [u32::from_be_bytes(*octets), u32::from_le_bytes(*octets)];
    let next = match big.min(little) {
        2 => Next::Ipv4,
        // Linux; NetBSD and OpenBSD; FreeBSD; macOS.
        10 | 24 | 28 | 30 => Next::Ipv6,
        // Some write an EtherType, as a number of four octets or as the last two.
        family => match (u16::try_from(family), octets) {
            (Ok(number), _) => behind_ethertype(number)?,
            (Err(_), [_, _, high, low]) => behind_ethertype(u16::from_be_bytes([*high, *low]))?,
        },
    };
    Ok((next, behind))
}

/// MACsec (IEEE 802.1AE clause 9.3). The integrity check value is left behind the packet, where IP's length ends.
fn behind_macsec(bytes: &[u8]) -> Behind<'_> {
    const HAS_CHANNEL: u8 = 0x20;
    const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
    let ([control, ..], mut behind) = split::<6>(bytes)?;
    if control & HAS_CHANNEL != 0 {
        behind = split::<8>(behind)?.1;
    }
    if control & ENCRYPTED_OR_CHANGED != 0 {
        return Err(Ignore::Encrypted);
    }
    behind_type::<2>(behind)
}

/// What stands behind the bottom of a label stack.
fn behind_labels(bytes: &[u8]) -> Behind<'_> {
    let first = bytes.first().ok_or(Ignore::TruncatedLinkHeader)?;
    match first >> 4 {
        4 => Ok((Next::Ipv4, bytes)),
        6 => Ok((Next::Ipv6, bytes)),
        0 if let Some((_control_word, frame)) = bytes.split_first_chunk::<4>()
            && looks_like_ethernet(frame) =>
        {
            Ok((Next::Ethernet, frame))
        }
        _ if looks_like_ethernet(bytes) => Ok((Next::Ethernet, bytes)),
        _ => Err(Ignore::NotIp),
    }
}

fn looks_like_ethernet(frame: &[u8]) -> bool {
    let Some([.., high, low]) = frame.first_chunk::<14>() else { return false };
    match u16::from_be_bytes([*high, *low]) {
        ethertype::ARP => true,
        number => behind_ethertype(number).is_ok(),
    }
}

/// The payload attribute of a netfilter log message; address family first. Lengths are in the byte order of the host.
fn behind_netfilter_log(bytes: &[u8]) -> Behind<'_> {
    const PAYLOAD: u16 = 9;
    const MAX_ATTRIBUTES: usize = 64;
    let ([family, version, _, _], mut rest) = split(bytes)?;
    let next = match (family, version) {
        (2, 0) => Next::Ipv4,
        (10, 0) => Next::Ipv6,
        _ => return Err(Ignore::NotIp),
    };
    for _ in 0..MAX_ATTRIBUTES {
        let ([l0, l1, k0, k1], value) = split(rest)?;
        // An attribute number is small, so its zero octet shows the order.
        let [len, kind] = if *k1 == 0 {
            [u16::from_le_bytes([*l0, *l1]), u16::from_le_bytes([*k0, *k1])]
        } else {
            [u16::from_be_bytes([*l0, *l1]), u16::from_be_bytes([*k0, *k1])]
        };
        if kind == PAYLOAD {
            return Ok((next, value));
        }
        let len = usize::from(len);
        if len < 4 {
            return Err(Ignore::MalformedLinkHeader);
        }
        rest = rest.get(len.next_multiple_of(4)..).ok_or(Ignore::TruncatedLinkHeader)?;
    }
    Err(Ignore::TooManyLinkHeaders)
}

/// PPP as a whole link: bare, in HDLC-like framing, or Cisco HDLC in its place.
fn behind_ppp_framing(bytes: &[u8]) -> Behind<'_> {
    const CISCO_UNICAST: u8 = 0x0f;
    const CISCO_MULTICAST: u8 = 0x8f;
    match bytes {
        [CISCO_UNICAST | CISCO_MULTICAST, ..] => {
            let ([_, _, high, low], behind) = split(bytes)?;
            Ok((behind_ethertype(u16::from_be_bytes([*high, *low]))?, behind))
        }
        // Address "all stations"; the control octet is not looked at.
        [0xff, _, behind @ ..] => behind_ppp_address(behind),
        _ => behind_ppp_address(bytes),
    }
}

/// The protocol field of PPP, one octet where it is compressed (RFC 1661 section 6.5).
fn behind_ppp_address(bytes: &[u8]) -> Behind<'_> {
    match bytes {
        [number, behind @ ..] if number & 1 == 1 => Ok((behind_ppp_protocol(u16::from(*number))?, behind)),
        [high, low, behind @ ..] => Ok((behind_ppp_protocol(u16::from_be_bytes([*high, *low]))?, behind)),
        _ => Err(Ignore::TruncatedLinkHeader),
    }
}

fn behind_ppp_protocol(number: u16) -> Result<Next, Ignore> {
    match number {
        0x0021 => Ok(Next::Ipv4),
        0x0057 => Ok(Next::Ipv6),
        0x0281 | 0x0283 => Ok(Next::Mpls),
        _ => Err(Ignore::NotIp),
    }
}

/// What a Linux cooked header announces, by the kind of device and the protocol.
fn behind_cooked(hardware: u16, protocol: u16) -> Result<Next, Ignore> {
    /// Devices whose "protocol" is not an `EtherType`: CAN, netlink.
    const OTHER: [u16; 2] = [280, 824];
    /// Linux's own number for LLC in an 802.3 frame.
    const LLC: u16 = 4;
    match protocol {
        _ if OTHER.contains(&hardware) => Err(Ignore::NotIp),
        LLC => Ok(Next::Llc),
        ..=ethertype::MAX_LENGTH => Err(Ignore::NotIp),
        number => behind_ethertype(number),
    }
}
