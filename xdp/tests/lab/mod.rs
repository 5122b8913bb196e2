// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two network namespaces with a veth pair between them, and a sender at the far end.
//!
//! A test runs itself again inside of the near namespace; who started it removes the namespaces, also when it fails. What the
//! system does not permit is said, and the test passes.
#![expect(
    unsafe_code,
    reason = "to enter a namespace and to send a frame there is no safe way in the standard library"
)]

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

const INSIDE: &str = "WEIR_XDP_LAB";

/// The near namespace, which the test is in, and the far one, with an interface in each.
pub struct Lab {
    pub near: String,
    pub far: String,
    pub interface: String,
    pub peer: String,
    pub queues: u32,
}

impl Lab {
    fn named(name: &str, queues: u32) -> Self {
        // An interface has at most 15 characters.
        Self {
            near: format!("{name}n"),
            far: format!("{name}f"),
            interface: format!("{name}i"),
            peer: format!("{name}p"),
            queues,
        }
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) -> Output {
        Command::new("ip").args(words.split_whitespace()).output().expect("ip runs")
    }

    /// Makes the two interfaces.
    pub fn make_pair(&self) {
        let queues = format!("numrxqueues {0} numtxqueues {0}", self.queues);
        let Self { near, far, interface, peer, .. } = self;
        self.must(&format!("-n {near} link add {interface} {queues} type veth peer name {peer} {queues} netns {far}"));
        self.must(&format!("-n {near} link set {interface} up"));
        self.must(&format!("-n {far} link set {peer} up"));
    }

    pub fn must(&self, words: &str) -> String {
        let output = self.ip(words);
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The state of the near interface, with the program that is attached.
    pub fn state(&self) -> String {
        self.must(&format!("-n {} -d link show dev {}", self.near, self.interface))
    }

    /// A counter of the far interface.
    pub fn far_counter(&self, name: &str) -> u64 {
        let file = format!("/sys/class/net/{}/statistics/{name}", self.peer);
        self.must(&format!("netns exec {} cat {file}", self.far)).trim().parse().expect("a counter is a number")
    }

    /// Runs one test of this program in the near namespace, as another process, after the words of another command.
    pub fn again(&self, test: &str, before: &str) -> Command {
        let words = format!("netns exec {} {before}", self.near);
        let mut command = Command::new("ip");
        command.args(words.split_whitespace()).arg(std::env::current_exe().expect("this program has a file"));
        command.args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"]);
        let name = self.near.strip_suffix('n').expect("the name that this has made");
        command.env(INSIDE, format!("{name} {}", self.queues));
        command
    }
}

struct Removed<'a>(&'a Lab);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        self.0.ip(&format!("netns del {}", self.0.near));
        self.0.ip(&format!("netns del {}", self.0.far));
    }
}

/// Runs `body`, the test of that name, in a namespace with an interface of so many queues.
pub fn lab(test: &str, queues: u32, body: impl FnOnce(&Lab)) {
    static LABS: AtomicU32 = AtomicU32::new(0);
    if let Ok(inside) = std::env::var(INSIDE) {
        let (name, queues) = inside.split_once(' ').expect("written below");
        return body(&Lab::named(name, queues.parse().expect("written below")));
    }
    let name = format!("wx{}{}", std::process::id(), char::from(b'a' + LABS.fetch_add(1, Ordering::Relaxed) as u8));
    let lab = Lab::named(&name, queues);
    let support = weir_xdp::probe();
    if !matches!(support, weir_xdp::Support::Available) {
        return println!("skipped: AF_XDP is {support}");
    }
    let _removed = Removed(&lab);
    for namespace in [&lab.near, &lab.far] {
        let added = Command::new("ip").args(["netns", "add", namespace]).output();
        match added {
            Ok(output) if output.status.success() => {}
            Ok(output) => return println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => return println!("skipped: cannot run ip: {error}"),
        }
        // So that nothing but the test sends anything; an interface gets an address of its link by itself otherwise.
        let quiet = "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done; true";
        let exec = Command::new("ip").args(["netns", "exec", namespace, "sh", "-c", quiet]).output();
        if !exec.is_ok_and(|output| output.status.success()) {
            return println!("skipped: cannot run programs in a namespace");
        }
    }
    lab.make_pair();
    let status = lab.again(test, "").status().expect("this program runs again");
    assert!(status.success(), "{test} failed in its namespace");
}

/// Sends frames out of the far interface.
pub struct Sender {
    socket: OwnedFd,
    index: i32,
}

impl Sender {
    pub fn new(lab: &Lab) -> Self {
        let (namespace, peer) = (format!("/run/netns/{}", lab.far), lab.peer.clone());
        // A socket belongs to the namespace that its maker was in.
        thread::spawn(move || Self::in_namespace(&namespace, &peer)).join().expect("a thread without panic")
    }

    fn in_namespace(namespace: &str, peer: &str) -> Self {
        let namespace = File::open(namespace).expect("a namespace has a file");
        // SAFETY: no memory is passed, and only this thread changes its namespace.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        let name = std::ffi::CString::new(peer).expect("a name has no zero");
        // SAFETY: the descriptor is new; the name lives through the call.
        let (socket, index) = unsafe { (OwnedFd::from_raw_fd(fd), libc::if_nametoindex(name.as_ptr())) };
        assert!(index != 0, "no interface {peer}");
        Self { socket, index: index as i32 }
    }

    /// Sends a frame; again while the interface is busy.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: made of numbers.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = self.index;
        let len = size_of_val(&to) as libc::socklen_t;
        let (fd, frame, octets) = (self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len());
        // SAFETY: frame and address live through the call, with the lengths told.
        while unsafe { libc::sendto(fd, frame, octets, 0, (&raw const to).cast(), len) } < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{error}");
            thread::yield_now();
        }
    }
}

impl Sender {
    /// Sends a frame so many times, as fast as it can. How many were taken?
    pub fn flood(&self, frame: &[u8], times: usize) -> usize {
        const AT_ONCE: usize = 64;
        let on: libc::c_int = 1;
        let (fd, len) = (self.socket.as_raw_fd(), size_of_val(&on) as libc::socklen_t);
        // SAFETY: the number lives through the call, with the length told.
        unsafe { libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, (&raw const on).cast(), len) };
        // SAFETY: made of numbers.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = self.index;
        let mut part = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        // SAFETY: made of numbers and pointers, which may be zero.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_name = (&raw mut to).cast();
        message.msg_hdr.msg_namelen = size_of_val(&to) as libc::socklen_t;
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
        let mut messages = [message; AT_ONCE];
        let mut taken = 0;
        for _ in 0..times / AT_ONCE {
            // SAFETY: the messages, the address and the frame live through the call; the frame is only read.
            let sent = unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), AT_ONCE as u32, 0) };
            taken += usize::try_from(sent).unwrap_or(0);
        }
        taken
    }
}

/// Gives up all capabilities of this thread, and so that they cannot come back by a call of this process.
pub fn give_up_capabilities() {
    // Version 3 of linux/capability.h, this thread; three sets of 64 bits, in two parts.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0_u32; 6];
    // SAFETY: header and sets are as the kernel's structs, and live through the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
