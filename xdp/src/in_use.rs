// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether anything else lives on an interface, from which AF_XDP would take the packets away.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use crate::sys::interfaces;

/// What else an interface is used for.
#[derive(Debug)]
#[non_exhaustive]
pub enum InUse {
    /// It has an address.
    Address(IpAddr),
    /// A route of that IP version goes out there; of IPv4 only those of the main table are seen.
    Route(u8),
    /// It is part of that bridge or bond.
    Part(String),
    /// That interface, a VLAN for instance, is built upon it.
    Upper(String),
    /// That could not be found out.
    Unknown(io::Error),
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "it has the address {address}"),
            Self::Route(version) => write!(f, "an IPv{version} route goes out there"),
            Self::Part(master) => write!(f, "it is part of {master}"),
            Self::Upper(upper) => write!(f, "{upper} is built upon it"),
            Self::Unknown(error) => write!(f, "cannot see whether it is used: {error}"),
        }
    }
}

/// What else an interface is used for, from which AF_XDP would take the packets away; `None` if nothing.
///
/// An IPv6 address of the link, and the routes that come with it, are no use: every interface that is up gets them.
#[must_use]
pub fn in_use(interface: &str) -> Option<InUse> {
    find(interface).unwrap_or_else(|error| Some(InUse::Unknown(error)))
}

fn find(interface: &str) -> io::Result<Option<InUse>> {
    let addresses = interfaces::addresses(interface)?;
    if let Some(address) = addresses.into_iter().find(|address| !is_of_the_link(address)) {
        return Ok(Some(InUse::Address(address)));
    }
    if has_route(&table("/proc/net/route")?, interface) {
        return Ok(Some(InUse::Route(4)));
    }
    if has_ipv6_route(&table("/proc/net/ipv6_route")?, interface) {
        return Ok(Some(InUse::Route(6)));
    }
    neighbours(&Path::new("/sys/class/net").join(interface))
}

/// A table of the kernel; empty where it has no such protocol.
fn table(path: &str) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

fn is_of_the_link(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Lines of /proc/net/route begin with the name of the interface.
fn has_route(table: &str, interface: &str) -> bool {
    table.lines().skip(1).any(|line| line.split_ascii_whitespace().next() == Some(interface))
}

/// Lines of /proc/net/ipv6_route begin with the destination, 32 hexadecimal digits, and end with the name of the interface.
fn has_ipv6_route(table: &str, interface: &str) -> bool {
    let counts = |line: &str| {
        let destination = line.split_ascii_whitespace().next().and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let destination = destination.map(Ipv6Addr::from_bits);
        !destination.is_some_and(|to| to.is_unicast_link_local() || to.is_multicast())
    };
    table.lines().any(|line| line.split_ascii_whitespace().last() == Some(interface) && counts(line))
}

/// The interface that the one of this place in /sys is part of, or one that is built upon it: there are links to them.
fn neighbours(place: &Path) -> io::Result<Option<InUse>> {
    if let Ok(master) = fs::read_link(place.join("master")) {
        let name = master.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Some(InUse::Part(name)));
    }
    for entry in fs::read_dir(place)? {
        if let Some(upper) = entry?.file_name().to_string_lossy().strip_prefix("upper_") {
            return Ok(Some(InUse::Upper(upper.to_owned())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_those_of_the_interface_and_not_of_its_link() {
        let table = "Iface\tDestination\tGateway\neth10\t00000000\t0101A8C0\n";
        assert!(has_route(table, "eth10"));
        assert!(!has_route(table, "eth1") && !has_route(table, "Iface"));
        let to =
            |destination: &str| format!("{destination} 40 {} 00 {0:032} 00000100 00000001 0 1 eth1\n", "0".repeat(32));
        let link = to("fe800000000000000000000000000000") + &to("ff000000000000000000000000000000");
        assert!(!has_ipv6_route(&link, "eth1"));
        let all = link + &to("20010db8000000000000000000000000");
        assert!(has_ipv6_route(&all, "eth1") && !has_ipv6_route(&all, "eth"));
        assert!(has_ipv6_route(&to("00000000000000000000000000000000"), "eth1"));
        assert!(has_ipv6_route("nonsense eth1", "eth1"));
    }

    #[test]
    fn neighbours_are_links_in_sys() {
        let place = std::env::temp_dir().join(format!("weir-xdp-neighbours-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        let alone = neighbours(&place).unwrap();
        std::os::unix::fs::symlink("../eth1.7", place.join("upper_eth1.7")).unwrap();
        let upper = neighbours(&place).unwrap();
        std::os::unix::fs::symlink("../bond0", place.join("master")).unwrap();
        let part = neighbours(&place).unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert!(alone.is_none());
        assert!(matches!(upper, Some(InUse::Upper(name)) if name == "eth1.7"));
        assert!(matches!(part, Some(InUse::Part(name)) if name == "bond0"));
    }

    #[test]
    fn the_loopback_is_used_and_what_is_not_there_is_not_known() {
        assert!(matches!(in_use("lo"), Some(InUse::Address(_) | InUse::Unknown(_))) || in_use("lo").is_none());
        assert!(matches!(in_use("no such interface"), Some(InUse::Unknown(_))));
    }
}
