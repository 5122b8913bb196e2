// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether anything else lives on an interface, from which AF_XDP would take the packets away.

use std::{fmt, fs, io, net::IpAddr, path::Path};

use crate::{routes, sys::interfaces};

/// What else an interface is used for.
#[derive(Debug)]
#[non_exhaustive]
pub enum InUse {
    /// It has an address.
    Address(IpAddr),
    /// A route of that IP version goes out there, of whichever table.
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
    let index = interfaces::interface_index(interface).ok_or(io::ErrorKind::NotFound)?;
    if let Some(version) = routes::version_of_any(index)? {
        return Ok(Some(InUse::Route(version)));
    }
    neighbours(&Path::new("/sys/class/net").join(interface))
}

fn is_of_the_link(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
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
