// SPDX-License-Identifier: MIT OR Apache-2.0
//! Datagrams that the kernel dropped, from /proc/net/udp and /proc/net/udp6 (Linux).
//!
//! A socket is found by its inode, which /proc/self/fd names. The last column counts what did not fit into the receive
//! buffer, and datagrams with a wrong checksum.

use std::{fs, os::fd::AsRawFd};

/// Inode of an open socket; `None` where /proc does not say.
pub(crate) fn inode(socket: &impl AsRawFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Datagrams dropped by the sockets with these inodes, as long as they are open. `None` where /proc does not say.
pub(crate) fn drops(inodes: &[u64]) -> Option<u64> {
    let mut found = None;
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        let Ok(table) = fs::read_to_string(table) else { continue };
        for (inode, drops) in table.lines().filter_map(line) {
            if inodes.contains(&inode) {
                *found.get_or_insert(0) += drops;
            }
        }
    }
    found
}

/// Inode and drops of a line of the table.
fn line(line: &str) -> Option<(u64, u64)> {
    let mut columns = line.split_ascii_whitespace();
    let inode = columns.nth(9)?.parse().ok()?;
    Some((inode, columns.last()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inode_and_drops_are_columns_of_the_table() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref \
                    pointer drops";
        let socket = " 9201: 00000000:1283 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 47114 2 \
                      0000000000000000 23";
        assert_eq!(line(head), None);
        assert_eq!(line(socket), Some((47_114, 23)));
    }
}
