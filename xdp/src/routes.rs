// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routes that go out at an interface, of all routing tables: asked of the kernel by rtnetlink (RFC 3549 sections 2.3 and 3.1.1;
//! linux/netlink.h, linux/rtnetlink.h). Numbers are in the machine's byte order.

use std::{
    io::{self, Read},
    net::Ipv6Addr,
};

use socket2::{Domain, Protocol, Socket, Type};

/// Octets of one answer at most: what the kernel gives to those who can take so much.
const ANSWER: usize = 32 * 1024;
/// Octets of the header of a message, and of a route behind it.
const HEADER: usize = 16;
const ROUTE: usize = 12;
/// Octets of an attribute's header, and of one way of several.
const ATTRIBUTE: usize = 4;
const NEXT_HOP: usize = 8;

/// The IP version of a route that goes out at the interface of this index, if there is one.
///
/// Those of IPv6 to addresses of the link or of a group are no routes here: every interface that is up has them.
///
/// # Errors
///
/// If the kernel cannot be asked.
pub fn version_of_any(interface: u32) -> io::Result<Option<u8>> {
    for (family, version) in [(libc::AF_INET, 4), (libc::AF_INET6, 6)] {
        if any(family as u8, interface)? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

fn any(family: u8, interface: u32) -> io::Result<bool> {
    let kernel = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    kernel.send(&request(family))?;
    let mut answer = vec![0; ANSWER];
    loop {
        let octets = (&kernel).read(&mut answer)?;
        let told = look(answer.get(..octets).unwrap_or_default(), family, interface)?;
        match told {
            Told::Found => return Ok(true),
            Told::End => return Ok(false),
            Told::More => {}
        }
    }
}

/// Asks for all routes of a family.
fn request(family: u8) -> Vec<u8> {
    let [all, kind] =
        [libc::NLM_F_REQUEST | libc::NLM_F_DUMP, libc::RTM_GETROUTE.into()].map(|n| (n as u16).to_ne_bytes());
    let len = ((HEADER + ROUTE) as u32).to_ne_bytes();
    [&len[..], &kind, &all, &[0; 8], &[family], &[0; ROUTE - 1]].concat()
}

#[derive(Debug, Eq, PartialEq)]
enum Told {
    Found,
    More,
    End,
}

/// Looks through an answer, which holds whole messages.
fn look(mut answer: &[u8], family: u8, interface: u32) -> io::Result<Told> {
    while let Some((message, rest)) = split(answer, HEADER, |head| u32_at(head, 0)) {
        let kind = u16_at(message, 4).unwrap_or_default();
        let body = message.get(HEADER..).unwrap_or_default();
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(Told::End),
            libc::NLMSG_ERROR => return refusal(body).map_or(Ok(Told::End), Err),
            _ if kind == libc::RTM_NEWROUTE && goes_out(body, family, interface) => return Ok(Told::Found),
            _ => {}
        }
        answer = rest;
    }
    Ok(Told::More)
}

/// Why the kernel does not answer; `None` if only because it has no such family.
fn refusal(body: &[u8]) -> Option<io::Error> {
    let error = io::Error::from_raw_os_error(-(u32_at(body, 0)?.cast_signed()));
    let is_none = matches!(error.raw_os_error(), Some(0 | libc::EOPNOTSUPP | libc::EAFNOSUPPORT));
    (!is_none).then_some(error)
}

/// Whether a route is one that counts, and goes out at this interface.
fn goes_out(route: &[u8], family: u8, interface: u32) -> bool {
    if route.first() != Some(&family) {
        return false;
    }
    let mut attributes = route.get(ROUTE..).unwrap_or_default();
    let mut is_there = false;
    while let Some((attribute, rest)) = split(attributes, ATTRIBUTE, |head| u16_at(head, 0).map(u32::from)) {
        let value = attribute.get(ATTRIBUTE..).unwrap_or_default();
        match u16_at(attribute, 2) {
            Some(libc::RTA_DST) if is_of_link_or_group(value) => return false,
            Some(libc::RTA_OIF) => is_there |= u32_at(value, 0) == Some(interface),
            Some(libc::RTA_MULTIPATH) => is_there |= has_hop(value, interface),
            _ => {}
        }
        attributes = rest;
    }
    is_there
}

/// Whether one of several ways goes out at this interface.
fn has_hop(mut hops: &[u8], interface: u32) -> bool {
    while let Some((hop, rest)) = split(hops, NEXT_HOP, |head| u16_at(head, 0).map(u32::from)) {
        if u32_at(hop, 4) == Some(interface) {
            return true;
        }
        hops = rest;
    }
    false
}

fn is_of_link_or_group(destination: &[u8]) -> bool {
    let address = <[u8; 16]>::try_from(destination).map(Ipv6Addr::from);
    address.is_ok_and(|to| to.is_unicast_link_local() || to.is_multicast())
}

/// The first of several things that begin with their length, and the others, which begin at a multiple of four octets.
fn split(bytes: &[u8], least: usize, len: impl Fn(&[u8]) -> Option<u32>) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len(bytes)?).ok().filter(|len| *len >= least)?;
    Some((bytes.get(..len)?, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|octets| u16::from_ne_bytes(*octets))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INET: u8 = libc::AF_INET as u8;
    const INET6: u8 = libc::AF_INET6 as u8;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = (HEADER + body.len()) as u32;
        let mut message = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn route(family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&[family][..], &[0; ROUTE - 1]].concat();
        for (kind, value) in attributes {
            let len = (ATTRIBUTE + value.len()) as u16;
            body.extend([&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat());
            body.resize(body.len().next_multiple_of(4), 0);
        }
        message(libc::RTM_NEWROUTE, &body)
    }

    fn told(answer: &[u8], family: u8) -> Told {
        look(answer, family, 7).unwrap()
    }

    #[test]
    fn routes_go_out_at_one_interface_or_at_several() {
        let seven = 7_u32.to_ne_bytes();
        let eight = 8_u32.to_ne_bytes();
        let hop = |index: u32| [&8_u16.to_ne_bytes()[..], &[0; 2], &index.to_ne_bytes()].concat();
        let hops = [hop(8), hop(7)].concat();
        let out = route(INET, &[(libc::RTA_DST, &[192, 0, 2, 0]), (libc::RTA_OIF, &seven)]);
        let elsewhere = route(INET, &[(libc::RTA_OIF, &eight)]);
        assert_eq!(told(&out, INET), Told::Found);
        assert_eq!(told(&out, INET6), Told::More, "a route of another family");
        assert_eq!(told(&elsewhere, INET), Told::More);
        assert_eq!(told(&[elsewhere.clone(), out].concat(), INET), Told::Found);
        assert_eq!(told(&route(INET, &[(libc::RTA_MULTIPATH, &hops)]), INET), Told::Found);
        assert_eq!(told(&route(INET, &[(libc::RTA_MULTIPATH, &hop(8))]), INET), Told::More);
        assert_eq!(told(&[elsewhere, message(libc::NLMSG_DONE as u16, &[0; 4])].concat(), INET), Told::End);
    }

    #[test]
    fn what_every_interface_has_is_no_route() {
        let seven = 7_u32.to_ne_bytes();
        for (to, expected) in [("fe80::", Told::More), ("ff00::", Told::More), ("2001:db8::", Told::Found)] {
            let octets = to.parse::<Ipv6Addr>().unwrap().octets();
            let answer = route(INET6, &[(libc::RTA_DST, &octets), (libc::RTA_OIF, &seven)]);
            assert_eq!(told(&answer, INET6), expected, "{to}");
        }
        assert_eq!(told(&route(INET6, &[(libc::RTA_OIF, &seven)]), INET6), Told::Found, "the default route");
    }

    #[test]
    fn refusals_and_nonsense() {
        let refused = |error: i32| look(&message(libc::NLMSG_ERROR as u16, &(-error).to_ne_bytes()), INET, 7);
        assert_eq!(refused(libc::EPERM).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(refused(libc::EOPNOTSUPP).unwrap(), Told::End);
        let out = route(INET, &[(libc::RTA_OIF, &7_u32.to_ne_bytes())]);
        for cut in 0..out.len() {
            assert_eq!(told(&out[..cut], INET), Told::More);
            let mut lies = out.clone();
            lies[cut] ^= 0xff;
            let _: io::Result<Told> = look(&lies, INET, 7);
        }
    }
}
