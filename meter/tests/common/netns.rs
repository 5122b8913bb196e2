// SPDX-License-Identifier: MIT OR Apache-2.0
//! Network namespaces with a wire between them (veth), for tests of live capture. They are removed when their guard is dropped,
//! and nothing outside of them is touched.
//!
//! It takes root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW) and the program `ip`; a test that lacks one of them says so and
//! passes: `let Some(wire) = Wire::new() else { return };`
#![expect(unsafe_code, reason = "system calls")]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// Commands that switch offloads (linux/ethtool.h).
pub mod offload {
    /// Generic receive offload: merges what comes.
    pub const GRO: u32 = 0x2c;
    /// Generic segmentation offload: cuts what goes, late.
    pub const GSO: u32 = 0x24;
    /// TCP segmentation offload: leaves the cutting to the interface.
    pub const TSO: u32 = 0x1f;
}

/// A request of netdevice(7).
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// A network namespace of its own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// Two namespaces, and a wire between their interfaces [`Wire::LEFT`] and [`Wire::RIGHT`]. Both are up, and have no addresses;
/// nothing is on the wire but what the test sends.
#[derive(Debug)]
pub struct Wire {
    pub left: Namespace,
    pub right: Namespace,
}

impl Namespace {
    /// Makes a namespace; `None`, which is said, if that cannot be done here.
    pub fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("weir-test-{}-{number}", std::process::id()) };
        let made = Command::new("ip").args(["netns", "add", &namespace.name]).output();
        let why = match made {
            Err(error) => format!("no program ip: {error}"),
            Ok(made) if !made.status.success() => {
                format!("no namespace: {}", String::from_utf8_lossy(&made.stderr).trim())
            }
            Ok(_) => {
                // IPv6 would speak by itself.
                namespace.enter(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")).ok();
                match namespace.enter(PacketSocket::new) {
                    Ok(_) => return Some(namespace),
                    Err(error) => format!("no packet sockets: {error}"),
                }
            }
        };
        println!("skipped: {why}");
        None
    }

    /// Its name, as `ip netns` has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does something in the namespace, on a thread of its own.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
                // SAFETY: takes numbers only; it moves this thread alone.
                let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(result, 0, "setns: {}", io::Error::last_os_error());
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` on the namespace; `words` are its arguments, with spaces between them. Gives what it prints.
    pub fn ip(&self, words: &str) -> String {
        let mut command = Command::new("ip");
        output(command.args(["-n", &self.name]).args(words.split(' ')))
    }

    /// Switches an offload of an interface: `what` is one of [`offload`].
    pub fn set_offload(&self, interface: &str, what: u32, on: bool) {
        self.enter(|| {
            let socket = PacketSocket::new().unwrap();
            // As `struct ethtool_value` (linux/ethtool.h).
            let mut value = [what, u32::from(on)];
            let mut request = request_for(interface);
            request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
            // SAFETY: the request is as this call reads it, and the value in it as its command wants it.
            let result = unsafe { libc::ioctl(socket.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
            assert_eq!(result, 0, "offload {what:#x}: {}", io::Error::last_os_error());
        });
    }

    /// A program in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// A number that the kernel keeps of an interface, such as `rx_packets`.
    pub fn counter(&self, interface: &str, name: &str) -> u64 {
        let [direction, what] = name.split('_').collect::<Vec<_>>()[..] else { panic!("{name}") };
        let all: serde_json::Value = serde_json::from_str(&self.ip(&format!("-j -s link show {interface}"))).unwrap();
        let what = if what == "octets" { "bytes" } else { what };
        all[0]["stats64"][direction][what].as_u64().unwrap_or_else(|| panic!("{name}: {all}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

impl Wire {
    /// The interface of the namespace on the left.
    pub const LEFT: &'static str = "left0";
    /// The interface of the namespace on the right.
    pub const RIGHT: &'static str = "right0";

    /// Makes both namespaces and the wire; `None`, which is said, if that cannot be done here.
    pub fn new() -> Option<Self> {
        Self::with_queues(1)
    }

    /// The same with so many queues of each interface.
    pub fn with_queues(queues: u32) -> Option<Self> {
        let wire = Self { left: Namespace::new()?, right: Namespace::new()? };
        wire.connect(queues);
        Some(wire)
    }

    /// Makes the interfaces.
    pub fn connect(&self, queues: u32) {
        let (left, right) = (Self::LEFT, Self::RIGHT);
        let queues = format!("numtxqueues {queues} numrxqueues {queues}");
        let peer = format!("peer name {right} netns {} {queues}", self.right.name);
        self.left.ip(&format!("link add {left} {queues} type veth {peer}"));
        self.right.ip(&format!("link set {right} up"));
        self.left.ip(&format!("link set {left} up"));
    }

    /// Removes the interfaces, both with one.
    pub fn disconnect(&self) {
        self.left.ip(&format!("link del {}", Self::LEFT));
    }

    /// Sends frames from the left, each whole, from the link header on; gives how many the kernel took.
    pub fn send(&self, frames: &[Vec<u8>]) -> u64 {
        self.left.enter(|| PacketSocket::bound_to(Self::LEFT).unwrap().send(frames))
    }

    /// Gives both interfaces an address, 10.7.0.1 on the left and 10.7.0.2 on the right.
    pub fn give_addresses(&self) {
        self.left.ip(&format!("addr add 10.7.0.1/24 dev {}", Self::LEFT));
        self.right.ip(&format!("addr add 10.7.0.2/24 dev {}", Self::RIGHT));
    }
}

/// Makes a tunnel device in the namespace that this thread is in, which lives as long as the file: an IP packet that is written
/// comes in on it.
pub fn tunnel(name: &str) -> io::Result<File> {
    /// `TUNSETIFF` (linux/if_tun.h).
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request_for(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request is as this call reads it.
    match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

fn request_for(interface: &str) -> libc::ifreq {
    // SAFETY: numbers and a union of such and of a pointer, of all of which zero is one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

/// Takes all capabilities from this thread.
pub fn drop_capabilities() {
    /// `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h).
    const VERSION: u32 = 0x2008_0522;
    // As `struct __user_cap_header_struct` (this thread), and two of `struct __user_cap_data_struct`.
    let (header, none) = ([VERSION, 0], [0_u32; 6]);
    // SAFETY: both pointers are to local variables, as the call reads them.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "capset: {}", io::Error::last_os_error());
}

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A packet socket to send with.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// One that is bound to nothing.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was made just now, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// One that sends through an interface of the namespace that this thread is in.
    pub fn bound_to(interface: &str) -> io::Result<Self> {
        let socket = Self::new()?;
        let name = std::ffi::CString::new(interface)?;
        // SAFETY: the pointer is to a text that ends with a zero.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // SAFETY: numbers only, of which zero is one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index.cast_signed();
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer is to a local address of the length that is given.
        if index == 0 || unsafe { libc::bind(socket.0.as_raw_fd(), (&raw const address).cast(), length) } < 0 {
            return Err(io::Error::last_os_error());
        }
        socket.bypass_queues()?;
        Ok(socket)
    }

    /// What is sent goes out at once or is refused: no queue drops it behind our back, or holds it while the link comes up.
    fn bypass_queues(&self) -> io::Result<()> {
        let (fd, on) = (self.0.as_raw_fd(), 1_u32);
        let length = size_of::<u32>() as libc::socklen_t;
        // SAFETY: the pointer is to a local number of the length that is given.
        match unsafe {
            libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, (&raw const on).cast(), length)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sends frames one by one, waiting where the way is full; gives how many the kernel took.
    pub fn send(&self, frames: &[Vec<u8>]) -> u64 {
        let mut sent = 0;
        for frame in frames {
            // SAFETY: the pointer is to the frame, of the length that is given.
            let result = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
            sent += u64::from(usize::try_from(result) == Ok(frame.len()));
        }
        sent
    }
}
