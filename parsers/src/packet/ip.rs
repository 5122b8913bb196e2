// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hot path.
//!
//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
//!
//! Options of IPv4 are skipped unread. The extension chain of IPv6 is followed over hop-by-hop options, destination
//! options, routing, fragment and authentication headers; any other number ends it and is the protocol. Of options only
//! the jumbo payload (RFC 2675) is read. Checksums are not verified: segmentation offload leaves them unset.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Fragment;

/// Numbers of IPv6 extension headers that are followed, and of authentication.
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// "No next header" (RFC 8200 section 4.7): a packet may end behind its header.
pub const NO_NEXT_HEADER: u8 = 59;

/// Most extension headers that are followed. RFC 8200 section 4.1 asks for each at most once (destination options
/// twice); what goes on beyond this bound is taken as the payload of the protocol that stands there.
const MAX_EXTENSION_HEADERS: usize = 32;

/// Why octets are not an IP header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpError {
    /// It contradicts itself.
    Malformed,
    /// The octets end inside its fixed part.
    Truncated,
}

/// An IPv4 header whose fixed part is there, whose version is 4, and whose header length is at least its own.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    fixed: &'a [u8; 20],
    /// What was captured behind the fixed part: options first.
    rest: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Octets of the fixed part.
    pub const MIN_OCTETS: usize = 20;

    /// Checks the header at the start of `bytes`. Options may be cut off.
    ///
    /// # Errors
    ///
    /// Fewer octets than the fixed part, another version, a header length below 20, or a total length that is neither
    /// zero nor holds the header.
    pub fn new(bytes: &'a [u8]) -> Result<Self, IpError> {
        let Some((fixed, rest)) = bytes.split_first_chunk() else {
            // A wrong version is wrong whatever was captured behind it.
            return Err(match bytes.first() {
                Some(first) if first >> 4 != 4 => IpError::Malformed,
                _ => IpError::Truncated,
            });
        };
        let header = Self { fixed, rest };
        let total = usize::from(header.total_octets());
        if fixed[0] >> 4 != 4
            || header.header_octets() < Self::MIN_OCTETS
            || (total != 0 && total < header.header_octets())
        {
            return Err(IpError::Malformed);
        }
        Ok(header)
    }

    /// Octets of the header with its options: 20 to 60.
    #[must_use]
    pub const fn header_octets(&self) -> usize {
        (self.fixed[0] & 0x0f) as usize * 4
    }

    /// Type of service octet.
    #[must_use]
    pub const fn class_of_service(&self) -> u8 {
        self.fixed[1]
    }

    /// Total length; zero with segmentation offload.
    #[must_use]
    pub const fn total_octets(&self) -> u16 {
        u16::from_be_bytes([self.fixed[2], self.fixed[3]])
    }

    /// Which fragment this is.
    #[must_use]
    pub fn fragment(&self) -> Fragment {
        let id = u32::from(u16::from_be_bytes([self.fixed[4], self.fixed[5]]));
        match u16::from_be_bytes([self.fixed[6], self.fixed[7]]) & 0x3fff {
            0 => Fragment::None,
            0x2000 => Fragment::First { id },
            _ => Fragment::Later { id },
        }
    }

    /// Reserved bit, "don't fragment" and "more fragments", in the upper three bits.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.fixed[6] & 0xe0
    }

    /// Time to live.
    #[must_use]
    pub const fn ttl(&self) -> u8 {
        self.fixed[8]
    }

    /// Protocol number of the payload.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.fixed[9]
    }

    /// Source address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        let [.., a, b, c, d, _, _, _, _] = *self.fixed;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }

    /// Destination address.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        let [.., a, b, c, d] = *self.fixed;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }

    /// What was captured behind header and options; `None` where the options are cut off.
    #[must_use]
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.rest.get(self.header_octets() - Self::MIN_OCTETS..)
    }
}

/// A complete fixed header of IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    fixed: &'a [u8; 40],
    rest: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Octets of the fixed header.
    pub const OCTETS: usize = 40;

    /// Checks the header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// Fewer than 40 octets, or another version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, IpError> {
        match bytes.split_first_chunk() {
            Some((fixed, rest)) if fixed[0] >> 4 == 6 => Ok(Self { fixed, rest }),
            Some(_) => Err(IpError::Malformed),
            None => match bytes.first() {
                Some(first) if first >> 4 != 6 => Err(IpError::Malformed),
                _ => Err(IpError::Truncated),
            },
        }
    }

    /// Traffic class.
    #[must_use]
    pub const fn class_of_service(&self) -> u8 {
        self.fixed[0] << 4 | self.fixed[1] >> 4
    }

    /// Octets behind the fixed header; zero in a jumbogram.
    #[must_use]
    pub const fn payload_octets(&self) -> u16 {
        u16::from_be_bytes([self.fixed[4], self.fixed[5]])
    }

    /// Hop limit.
    #[must_use]
    pub const fn hop_limit(&self) -> u8 {
        self.fixed[7]
    }

    /// Number of the first extension header, or of the protocol.
    #[must_use]
    pub const fn next_header(&self) -> u8 {
        self.fixed[6]
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        let [_, _, _, _, _, _, _, _, source @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *self.fixed;
        IpAddr::V6(Ipv6Addr::from(source))
    }

    /// Destination address, as the fixed header has it: a routing header is not applied.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        let (_, destination) = self.fixed.split_last_chunk::<16>().unwrap_or((&[], &[0; 16]));
        IpAddr::V6(Ipv6Addr::from(*destination))
    }

    /// What was captured behind the fixed header.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.rest
    }

    /// The jumbo payload length (RFC 2675), where the first extension header is hop-by-hop options that carry it.
    #[must_use]
    pub fn jumbo_octets(&self) -> Option<u32> {
        const PAD1: u8 = 0;
        const JUMBO: u8 = 0xc2;
        if self.next_header() != extension::HOP_BY_HOP {
            return None;
        }
        let len = extension_octets(*self.rest.get(1)?);
        let mut options = self.rest.get(2..len)?;
        loop {
            let (&kind, behind) = options.split_first()?;
            if kind == PAD1 {
                options = behind;
                continue;
            }
            let (&len, behind) = behind.split_first()?;
            if kind == JUMBO && len == 4 {
                return behind.first_chunk().map(|octets| u32::from_be_bytes(*octets));
            }
            options = behind.get(usize::from(len)..)?;
        }
    }
}

/// Octets of an extension header whose length field says `units` of eight beyond the first.
const fn extension_octets(units: u8) -> usize {
    (units as usize + 1) * 8
}

/// What the extension chain of an IPv6 packet leads to.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The number that ended the chain: the protocol.
    pub protocol: u8,
    /// Which fragment this is.
    pub fragment: Fragment,
    /// What was captured behind the last extension header; `None` where the chain is cut off, or runs over the end of the
    /// payload.
    pub payload: Option<&'a [u8]>,
    /// Octets of the extension headers.
    pub octets: usize,
}

impl<'a> Chain<'a> {
    /// Follows the chain that begins with a header of number `next` at the start of `bytes`, the captured IPv6 payload.
    #[must_use]
    pub fn follow(next: u8, bytes: &'a [u8]) -> Self {
        let mut chain = Self { protocol: next, fragment: Fragment::None, payload: Some(bytes), octets: 0 };
        let mut rest = bytes;
        for _ in 0..MAX_EXTENSION_HEADERS {
            let len = match (chain.protocol, rest) {
                (extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION_OPTIONS, [_, units, ..]) => {
                    extension_octets(*units)
                }
                (extension::FRAGMENT, _) => 8,
                // RFC 4302 section 2.2: in units of four octets, less two.
                (extension::AUTHENTICATION, [_, units, ..]) => (usize::from(*units) + 2) * 4,
                (
                    extension::HOP_BY_HOP
                    | extension::ROUTING
                    | extension::DESTINATION_OPTIONS
                    | extension::AUTHENTICATION,
                    _,
                ) => {
                    chain.payload = None;
                    break;
                }
                _ => break,
            };
            let Some((header, behind)) = rest.split_at_checked(len) else {
                // What is captured of the header names its successor; but without its offset, a fragment may be a later one.
                if let Some(&next) = rest.first()
                    && chain.protocol != extension::FRAGMENT
                {
                    chain.protocol = next;
                }
                chain.payload = None;
                break;
            };
            let is_fragment = chain.protocol == extension::FRAGMENT;
            chain.protocol = header.first().copied().unwrap_or_default();
            chain.octets += len;
            chain.payload = Some(behind);
            rest = behind;
            if is_fragment && let [_, _, high, low, id @ ..] = header {
                let id = id.first_chunk().map_or(0, |id| u32::from_be_bytes(*id));
                match u16::from_be_bytes([*high, *low]) & 0xfff9 {
                    0 => {}
                    1 => chain.fragment = Fragment::First { id },
                    _ => {
                        // What follows belongs to the middle of the packet.
                        chain.fragment = Fragment::Later { id };
                        break;
                    }
                }
            }
        }
        chain
    }
}
