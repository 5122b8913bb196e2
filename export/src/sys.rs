// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the standard library does not ask the kernel about a socket: what the other side has acknowledged, what fits through the
//! path, when there is room.
#![expect(unsafe_code, reason = "system calls")]

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

/// Octets that were written to a connection and that the system of the other side has not acknowledged (tcp(7), SIOCOUTQ). After
/// a connection has broken, as many as it had not acknowledged then.
///
/// # Errors
///
/// If it is no connection.
pub fn unacknowledged(socket: &impl AsRawFd) -> io::Result<u64> {
    let mut octets: libc::c_int = 0;
    // SAFETY: the kernel writes an int to a local variable of that type.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) })?;
    Ok(u64::try_from(octets).unwrap_or(0))
}

/// How long ago the other side last acknowledged anything (`tcpi_last_ack_recv` of TCP_INFO).
///
/// # Errors
///
/// If it is no TCP connection.
pub fn since_last_answer(socket: &impl AsRawFd) -> io::Result<Duration> {
    /// `struct tcp_info` of linux/tcp.h up to the member that is read, whose place has been the same since Linux 2.4.
    #[repr(C)]
    #[derive(Default)]
    struct TcpInfo {
        octets: [u8; 8],
        before: [u32; 12],
        last_ack_recv: u32,
    }
    let mut info = TcpInfo::default();
    option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    Ok(Duration::from_millis(info.last_ack_recv.into()))
}

/// Has datagrams refused that are larger than the path takes, in place of having them fragmented.
///
/// # Errors
///
/// If the system does not know that.
pub fn forbid_fragments(socket: &UdpSocket, to: &SocketAddr) -> io::Result<()> {
    let (level, name, value) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
    };
    let octets = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads an int from a local variable of that type.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), octets) })
}

/// Most octets of a packet, its headers included, that the path of a connected socket takes, as far as that is known.
///
/// # Errors
///
/// If the socket is not connected.
pub fn path_mtu(socket: &UdpSocket, to: &SocketAddr) -> io::Result<usize> {
    let mut mtu: libc::c_int = 0;
    match to {
        SocketAddr::V4(_) => option(socket, libc::IPPROTO_IP, libc::IP_MTU, &mut mtu)?,
        SocketAddr::V6(_) => option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU, &mut mtu)?,
    }
    Ok(usize::try_from(mtu).unwrap_or(0))
}

/// Waits until a connection takes something, or breaks; that long at most.
pub fn wait_for_room(socket: &impl AsRawFd, patience: Duration) {
    wait(socket, libc::POLLOUT, patience);
}

/// Waits until something comes over a connection, or it ends; that long at most.
#[cfg(feature = "tls")]
pub fn wait_for_octets(socket: &impl AsRawFd, patience: Duration) {
    wait(socket, libc::POLLIN, patience);
}

fn wait(socket: &impl AsRawFd, events: libc::c_short, patience: Duration) {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    let millis = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one structure, which lives for the call. Whatever comes of it, the next call on the socket finds out.
    unsafe { libc::poll(&raw mut asked, 1, millis) };
}

/// Has the system find out by itself whether the other side of a connection on which nothing happens is still there.
///
/// # Errors
///
/// If it is no TCP connection.
pub fn keep_alive(socket: &impl AsRawFd) -> io::Result<()> {
    let set = |level, name, value: libc::c_int| {
        let octets = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the kernel reads an int from a local variable of that type.
        check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), octets) })
    };
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 30)?;
    set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 10)?;
    set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
}

/// Has a connection reset when it is closed, in place of delivering what was written to it (socket(7), SO_LINGER).
///
/// # Errors
///
/// If it is no socket.
pub fn discard_at_close(socket: &impl AsRawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let octets = size_of::<libc::linger>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: the kernel reads a structure from a local variable of that type.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const linger).cast(), octets) })
}

/// Reads an option of a socket. `T` must be of integers alone, so that any octets are a value.
fn option<T>(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut octets = size_of::<T>() as libc::socklen_t;
    let place: *mut T = value;
    // SAFETY: the kernel writes at most as many octets as the value has.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, place.cast(), &raw mut octets) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
