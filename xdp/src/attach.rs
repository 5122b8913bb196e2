// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program at an interface, and what all of its sockets share.
//!
//! The program is attached by a link (BPF_LINK_CREATE, Linux 5.9): a descriptor, and when that is closed, the program is gone.
//! The kernel closes it when the process ends, however it ends. Whoever attaches by netlink, as `ip link` and libxdp do, leaves
//! the program behind when he is killed.
//!
//! An interface that has gone away and come back gets a new link to the same program and the same map. That takes no
//! capability as long as their descriptors are open; nor does binding a socket. Only making one does, and pinning its memory, so
//! a few are made in advance (`SPARES` in `source.rs`).

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    config::{Mode, ModeWish, Strategy, XdpConfig},
    error::OpenError,
    sys::{
        bpf, interfaces,
        socket::{self, Queue},
    },
};

/// What the sockets of one interface share.
#[derive(Debug)]
pub(crate) struct Attachment {
    interface: String,
    wish: ModeWish,
    map: OwnedFd,
    program: OwnedFd,
    /// Locked while a socket is made and bound: two at once are refused as busy by some kernels.
    attached: Mutex<Attached>,
    /// Keeps the interface promiscuous, if it shall be.
    listener: Option<OwnedFd>,
}

/// The program at the interface.
#[derive(Debug)]
pub(crate) struct Attached {
    link: OwnedFd,
    /// The system's number of the interface.
    pub(crate) index: u32,
    pub(crate) mode: Mode,
    /// Why it is not in the driver, if that was tried.
    pub(crate) not_native: Option<String>,
}

impl Attachment {
    /// Attaches the program to the interface, for so many queues.
    pub(crate) fn new(interface: &str, config: &XdpConfig, queues: u32) -> Result<Self, OpenError> {
        let wish = config.mode;
        let map = bpf::socket_map(queues).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => OpenError::NotInKernel("maps of AF_XDP sockets (XDP_SOCKETS)"),
            Some(libc::ENOSYS) => OpenError::NotInKernel("bpf system call (BPF_SYSCALL)"),
            _ => OpenError::of("make a map of sockets", "CAP_BPF and CAP_NET_ADMIN", error),
        })?;
        let program = bpf::program(&map).map_err(|(error, log)| match error.kind() {
            io::ErrorKind::PermissionDenied if log.is_empty() => {
                OpenError::NotPermitted { what: "load an XDP program", needs: "CAP_BPF and CAP_NET_ADMIN" }
            }
            _ => OpenError::Program { error, log },
        })?;
        let listener = if config.promiscuous { Some(socket::packet_socket().map_err(not_promiscuous)?) } else { None };
        let attached = attach(&program, interface, wish)?;
        listen(listener.as_ref(), attached.index)?;
        let attached = Mutex::new(attached);
        Ok(Self { interface: interface.to_owned(), wish, map, program, attached, listener })
    }

    /// Name of the interface.
    pub(crate) fn interface(&self) -> &str {
        &self.interface
    }

    /// The program at the interface, attached anew if the interface had gone away. Nobody else binds a socket meanwhile.
    pub(crate) fn attached(&self) -> Result<MutexGuard<'_, Attached>, OpenError> {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let index = interfaces::interface_index(&self.interface);
        let index = index.ok_or_else(|| OpenError::NoSuchInterface(self.interface.clone()))?;
        let linked = bpf::linked_interface(&attached.link);
        if linked.map_err(|error| OpenError::of("ask for the link of the program", "CAP_BPF", error))? != index {
            let anew = attach(&self.program, &self.interface, self.wish)?;
            listen(self.listener.as_ref(), anew.index)?;
            *attached = anew;
        }
        Ok(attached)
    }

    /// Has the program give the packets of a queue to a socket.
    pub(crate) fn enter(&self, socket: &Queue, queue: u32) -> Result<(), OpenError> {
        socket.enter(&self.map, queue).map_err(|error| OpenError::of("enter a socket into the map", "CAP_BPF", error))
    }
}

/// Makes a socket that is not bound, with all that takes a capability but the right to pin memory.
pub(crate) fn make_socket(strategy: Strategy) -> Result<OwnedFd, OpenError> {
    let socket = socket::socket().map_err(|error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => OpenError::NotInKernel("AF_XDP sockets (XDP_SOCKETS)"),
        _ => OpenError::of("make an AF_XDP socket", "CAP_NET_RAW", error),
    })?;
    if let Strategy::BusyPoll { budget } = strategy {
        let preferred = socket::prefer_busy_poll(&socket, budget);
        preferred.map_err(|error| OpenError::of("ask for busy polling (Linux 5.11)", "CAP_NET_ADMIN", error))?;
    }
    Ok(socket)
}

/// Makes an interface promiscuous, if there is a socket for that. An XDP program sees what the interface lets in, and of a mirror
/// port nothing is addressed to it.
fn listen(listener: Option<&OwnedFd>, index: u32) -> Result<(), OpenError> {
    listener.map_or(Ok(()), |listener| socket::make_promiscuous(listener, index).map_err(not_promiscuous))
}

fn not_promiscuous(error: io::Error) -> OpenError {
    OpenError::of("make the interface promiscuous", "CAP_NET_RAW", error)
}

fn attach(program: &OwnedFd, interface: &str, wish: ModeWish) -> Result<Attached, OpenError> {
    let index =
        interfaces::interface_index(interface).ok_or_else(|| OpenError::NoSuchInterface(interface.to_owned()))?;
    let mut not_native = None;
    if wish != ModeWish::Generic {
        match bpf::link(program, index, true) {
            Ok(link) => return Ok(Attached { link, index, mode: Mode::Native, not_native }),
            Err(error) if is_of_the_driver(&error) => match wish {
                ModeWish::Native => return Err(OpenError::NotNative(error)),
                _ => not_native = Some(error.to_string()),
            },
            Err(error) => return Err(refused(interface, error)),
        }
    }
    let link = bpf::link(program, index, false).map_err(|error| refused(interface, error))?;
    Ok(Attached { link, index, mode: Mode::Generic, not_native })
}

/// Whether generic mode may be had where native mode was refused so.
fn is_of_the_driver(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV))
}

fn refused(interface: &str, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            OpenError::Busy { what: "another XDP program", interface: interface.to_owned() }
        }
        Some(libc::ENODEV) => OpenError::NoSuchInterface(interface.to_owned()),
        Some(libc::EINVAL) => OpenError::NotInKernel("links of XDP programs (Linux 5.9)"),
        _ => OpenError::of("attach the XDP program", "CAP_NET_ADMIN", error),
    }
}
