// SPDX-License-Identifier: MIT OR Apache-2.0
//! Least privilege, from when everything is open until the end: another user, no capabilities, and for every thread
//!
//! - **Landlock**: files that names are resolved with can be read, if there are names; counters of interfaces; the
//!   configuration; certificates, if there is TLS. Folders of file destinations and of the spool can be written to. TCP connections go to ports of destinations only.
//! - **seccomp**: system calls that are not on the list fail with EPERM: there is no execve, no ptrace, no mount, and
//!   sockets are of the families that destinations need; none, if there are only files.
//!
//! What cannot be enforced: by Landlock, where TCP goes behind an allowed port, and where datagrams go; by seccomp, anything
//! on architectures that `seccompiler` does not know (it knows x86_64, aarch64 and riscv64). Older kernels know less of Landlock: files since
//! 5.13, TCP since 6.7.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use weir_export::{Destination, ExporterConfig, TlsOptions, Transport};

use crate::system;

/// A user of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The name.
    pub name: String,
    id: u32,
    group: u32,
}

impl User {
    /// Whom to become: nobody else, unless started as root.
    ///
    /// # Errors
    ///
    /// If there is no user of the name that is asked for.
    pub fn to_become(asked: Option<&str>) -> anyhow::Result<Option<Self>> {
        if !system::is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        match asked {
            Some(name) => match Self::find(&users, name) {
                Some(user) => Ok(Some(user)),
                None => bail!("user: there is no '{name}'"),
            },
            None => {
                // The kernel's own number of nobody (DEFAULT_OVERFLOWUID).
                let nobody = || Self { name: "nobody".to_owned(), id: 65_534, group: 65_534 };
                let found = Self::find(&users, "weir").or_else(|| Self::find(&users, "nobody"));
                Ok(Some(found.unwrap_or_else(nobody)))
            }
        }
    }

    /// Finds a user in the text of passwd(5).
    fn find(users: &str, name: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next() == Some(name);
            let id = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            is_it.then(|| Self { name: name.to_owned(), id, group })
        })
    }

    /// Gives a file to the user.
    pub fn own(&self, path: &Path) {
        // If it is refused, the file stays when the meter ends.
        let _ = chown(path, Some(self.id), Some(self.group));
    }
}

/// What the meter needs once everything is open.
#[derive(Debug, Default)]
pub struct Needs {
    /// Whom to become.
    pub user: Option<User>,
    /// Files that are read again.
    read: Vec<PathBuf>,
    /// Files and folders that are written to.
    write: Vec<PathBuf>,
    /// Folders that files are removed from.
    remove: Vec<PathBuf>,
    /// Folders in which files are made, renamed, read and removed.
    manage: Vec<PathBuf>,
    /// Whether certificates of this system are read.
    certificates: bool,
    /// TCP ports.
    ports: Vec<u16>,
    /// Whether there are destinations behind a network.
    network: bool,
    /// Whether their names are resolved.
    names: bool,
    /// Whether AF_XDP is used, whose program is attached anew to an interface that comes back.
    pub xdp: bool,
}

/// Port of DNS, which uses TCP for long answers.
const DNS: u16 = 53;

impl Needs {
    /// What this exporter needs.
    pub fn new(user: Option<User>, exporter: &ExporterConfig) -> Self {
        let mut needs = Self { user, ..Self::default() };
        for destination in &exporter.destinations {
            match &destination.transport {
                Transport::File(path) if exporter.rotation.is_on() && !is_special(path) => {
                    needs.manage.push(folder(path));
                }
                Transport::File(path) => needs.writes(path),
                Transport::Stdout => {}
                Transport::Tcp(authority) => needs.connects(authority),
                Transport::Tls(authority, options) => {
                    needs.connects(authority);
                    // They are read already; a reload reads them again.
                    let TlsOptions { authorities, certificate, key, .. } = &**options;
                    needs.read.extend([authorities, certificate, key].into_iter().flatten().cloned());
                    needs.certificates |= authorities.is_none();
                }
                Transport::Udp(authority) => needs.reaches(authority),
            }
        }
        if exporter.destinations.iter().any(Destination::is_connection) {
            needs.manage.extend(exporter.spool.folder.clone());
        }
        needs
    }

    fn connects(&mut self, authority: &str) {
        self.ports.extend(authority.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()));
        self.reaches(authority);
    }

    fn reaches(&mut self, authority: &str) {
        self.network = true;
        if authority.parse::<std::net::SocketAddr>().is_err() {
            self.names = true;
            self.ports.push(DNS);
        }
    }

    fn writes(&mut self, path: &Path) {
        // A device is the file itself; a file may be moved away and made anew.
        self.write.push(if is_special(path) { path.to_owned() } else { folder(path) });
    }

    /// Reads this file again.
    pub fn reads(&mut self, path: &Path) {
        self.read.push(path.to_owned());
    }

    /// Removes this file at the end.
    pub fn removes(&mut self, path: &Path) {
        self.remove.push(folder(path));
    }
}

/// Whether something is there that is no file.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Confines this process, which has one thread. Says what this kernel cannot do of it.
///
/// # Errors
///
/// If privileges cannot be given up.
pub fn confine(needs: &Needs) -> anyhow::Result<Vec<String>> {
    let mut lacking = Vec::new();
    // Paths are looked up while it is allowed.
    let rules = landlock_rules(needs).context("sandbox: Landlock")?;
    system::empty_bounding_set();
    if let Some(user) = &needs.user {
        system::become_user(user.id, user.group).with_context(|| format!("user: cannot become {}", user.name))?;
    }
    system::drop_capabilities().context("cannot give up capabilities")?;
    system::no_new_privileges().context("cannot give up new privileges")?;
    lacking.extend(rules.apply().context("sandbox: Landlock")?);
    lacking.extend(limit_system_calls(needs).context("sandbox: seccomp")?);
    Ok(lacking)
}

#[cfg(feature = "sandbox")]
use confined::{landlock_rules, limit_system_calls};

#[cfg(feature = "sandbox")]
mod confined {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
    };

    use super::Needs;

    /// Files that names are resolved with, and where what resolves them is loaded from.
    const FOR_NAMES: &[&str] = &[
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/host.conf",
        "/etc/nsswitch.conf",
        "/etc/gai.conf",
        "/etc/ld.so.cache",
        "/run/systemd/resolve",
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
    ];
    /// Certificate authorities of the system, wherever they may be.
    const FOR_CERTIFICATES: &[&str] =
        &["/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"];
    /// Counters of interfaces; the first has symbolic links into the second.
    const FOR_COUNTERS: &[&str] = &["/sys/class/net", "/sys/devices"];

    /// Rules that do not hold yet.
    pub struct Rules(RulesetCreated);

    /// What may be done to files and connections.
    pub fn landlock_rules(needs: &Needs) -> anyhow::Result<Rules> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let write = make_bitflags!(AccessFs::{WriteFile | ReadFile | MakeReg | Truncate});
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V5))?
            .scope(Scope::AbstractUnixSocket)?
            .scope(Scope::Signal)?
            .create()?;
        let mut paths = Vec::new();
        let mut allow = |path: &std::path::Path, access: BitFlags<AccessFs>| {
            // What is not there needs no permission.
            let Ok(descriptor) = PathFd::new(path) else { return };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V5) };
            paths.push(PathBeneath::new(descriptor, access));
        };
        for path in FOR_COUNTERS {
            allow(path.as_ref(), read);
        }
        for path in FOR_NAMES.iter().filter(|_| needs.names) {
            allow(path.as_ref(), read);
        }
        for path in FOR_CERTIFICATES.iter().filter(|_| needs.certificates) {
            allow(path.as_ref(), read);
        }
        for path in &needs.manage {
            allow(path, write | read | AccessFs::RemoveFile);
        }
        for path in &needs.read {
            allow(path, AccessFs::ReadFile.into());
        }
        for path in &needs.write {
            allow(path, write);
        }
        for path in &needs.remove {
            allow(path, AccessFs::RemoveFile.into());
        }
        for path in paths {
            rules = rules.add_rule(path)?;
        }
        for port in &needs.ports {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        Ok(Rules(rules))
    }

    impl Rules {
        /// From now on they hold, for this thread and those that it starts. What this kernel cannot do of it.
        pub fn apply(self) -> anyhow::Result<Option<String>> {
            Ok(match self.0.restrict_self()?.ruleset {
                RulesetStatus::FullyEnforced => None,
                RulesetStatus::PartiallyEnforced => Some("this kernel knows only a part of Landlock".to_owned()),
                RulesetStatus::NotEnforced => {
                    Some("this kernel has no Landlock: files and connections are limited by the user alone".to_owned())
                }
            })
        }
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    pub use calls::limit_system_calls;

    /// There is nothing that knows the numbers of system calls here.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    pub fn limit_system_calls(_needs: &Needs) -> anyhow::Result<Option<String>> {
        Ok(Some(format!("system calls are not limited on {}", std::env::consts::ARCH)))
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    mod calls {
        use std::collections::BTreeMap;

        use libc::c_long;
        use seccompiler::{
            BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        };

        use super::Needs;

        /// What threads, memory, time, and open descriptors need. There is nothing here that opens, executes or changes
        /// privileges but what Landlock limits.
        const CALLS: &[c_long] = &[
            // Memory.
            libc::SYS_brk,
            libc::SYS_madvise,
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_mremap,
            libc::SYS_munmap,
            // Threads: exporters come with a reload.
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_futex,
            libc::SYS_get_robust_list,
            libc::SYS_getpid,
            libc::SYS_gettid,
            libc::SYS_membarrier,
            libc::SYS_rseq,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_yield,
            libc::SYS_set_robust_list,
            libc::SYS_set_tid_address,
            libc::SYS_tgkill,
            // Signals.
            libc::SYS_restart_syscall,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            // Time and chance.
            libc::SYS_clock_getres,
            libc::SYS_clock_gettime,
            libc::SYS_clock_nanosleep,
            libc::SYS_getrandom,
            libc::SYS_gettimeofday,
            libc::SYS_nanosleep,
            // Descriptors.
            libc::SYS_accept4,
            libc::SYS_bind,
            libc::SYS_close,
            libc::SYS_connect,
            libc::SYS_dup,
            libc::SYS_fcntl,
            libc::SYS_fdatasync,
            libc::SYS_fstat,
            libc::SYS_fsync,
            libc::SYS_ftruncate,
            libc::SYS_getdents64,
            libc::SYS_getpeername,
            libc::SYS_getsockname,
            libc::SYS_getsockopt,
            libc::SYS_ioctl,
            libc::SYS_lseek,
            libc::SYS_newfstatat,
            libc::SYS_openat,
            libc::SYS_ppoll,
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_read,
            libc::SYS_readlinkat,
            libc::SYS_readv,
            libc::SYS_recvfrom,
            libc::SYS_recvmmsg,
            libc::SYS_recvmsg,
            libc::SYS_renameat2,
            libc::SYS_sendmmsg,
            libc::SYS_sendmsg,
            libc::SYS_sendto,
            libc::SYS_setsockopt,
            libc::SYS_shutdown,
            libc::SYS_statx,
            libc::SYS_uname,
            libc::SYS_unlinkat,
            libc::SYS_write,
            libc::SYS_writev,
            // Who it is; resolvers ask.
            libc::SYS_getegid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getuid,
        ];

        /// The same by older names.
        #[cfg(target_arch = "x86_64")]
        const OLDER: &[c_long] = &[
            libc::SYS_access,
            libc::SYS_dup2,
            libc::SYS_open,
            libc::SYS_poll,
            libc::SYS_readlink,
            libc::SYS_rename,
            libc::SYS_stat,
            libc::SYS_unlink,
        ];
        #[cfg(target_arch = "aarch64")]
        const OLDER: &[c_long] = &[libc::SYS_renameat];
        #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
        const OLDER: &[c_long] = &[];

        /// From now on system calls fail that are not needed, in this thread and those that it starts.
        pub fn limit_system_calls(needs: &Needs) -> anyhow::Result<Option<String>> {
            let mut rules: BTreeMap<_, _> = CALLS.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
            let mut families = Vec::new();
            if needs.network {
                families.extend([libc::AF_INET, libc::AF_INET6]);
            }
            if needs.names {
                // The cache of names, and which addresses this machine has.
                families.extend([libc::AF_UNIX, libc::AF_NETLINK]);
            }
            if needs.xdp {
                // The number of an interface is asked for through a socket, of whatever kind.
                families.push(libc::AF_UNIX);
                rules.insert(libc::SYS_bpf, only(vec![BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET_INFO_BY_FD, BPF_LINK_CREATE])?);
            }
            families.sort_unstable();
            families.dedup();
            if !families.is_empty() {
                rules.insert(libc::SYS_socket, only(families)?);
            }
            // Names of threads.
            rules.insert(libc::SYS_prctl, only(vec![libc::PR_SET_NAME, PR_SET_VMA])?);
            let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
            let architecture = std::env::consts::ARCH.try_into()?;
            let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?;
            let program: BpfProgram = filter.try_into()?;
            seccompiler::apply_filter(&program)?;
            Ok(None)
        }

        /// What bpf(2) is asked for then (`enum bpf_cmd` of linux/bpf.h): to enter a socket into a map that is there, to look
        /// at a link, to attach a program that is there. It fails where the kernel wants privileges for it.
        const BPF_MAP_UPDATE_ELEM: i32 = 2;
        const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
        const BPF_LINK_CREATE: i32 = 28;

        /// Names for parts of memory (linux/prctl.h), which newer C libraries give.
        const PR_SET_VMA: i32 = 0x5356_4d41;

        /// Rules that the first argument is one of these.
        fn only(values: Vec<i32>) -> anyhow::Result<Vec<SeccompRule>> {
            let rule = |value: i32| {
                let value = u64::from(value.unsigned_abs());
                let is = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
                Ok(SeccompRule::new(vec![is])?)
            };
            values.into_iter().map(rule).collect()
        }
    }
}

#[cfg(not(feature = "sandbox"))]
mod unconfined {
    use super::Needs;

    /// Nothing.
    pub struct Rules;

    impl Rules {
        /// Does nothing, and says so.
        pub fn apply(self) -> anyhow::Result<Option<String>> {
            Ok(Some("built without the sandbox: limited by the user alone".to_owned()))
        }
    }

    pub fn landlock_rules(_needs: &Needs) -> anyhow::Result<Rules> {
        Ok(Rules)
    }

    pub fn limit_system_calls(_needs: &Needs) -> anyhow::Result<Option<String>> {
        Ok(None)
    }
}

#[cfg(not(feature = "sandbox"))]
use unconfined::{landlock_rules, limit_system_calls};

/// What a test tries from inside: reads what is none of the meter's business, executes, connects elsewhere.
#[cfg(debug_assertions)]
pub fn probe() {
    use std::{net::TcpStream, process::Command};

    use weir_metering::capture::ring::{Ring, RingConfig};

    let Ok(elsewhere) = std::env::var("WEIR_METER_PROBE_SANDBOX") else { return };
    let said = |what: &str, refused: bool| {
        crate::say::say!("sandbox: {what}: {}", if refused { "refused" } else { "ALLOWED" })
    };
    said("open /etc/passwd", fs::File::open("/etc/passwd").is_err());
    said("list /", fs::read_dir("/").is_err());
    said("write /tmp", fs::write(format!("/tmp/weir-probe-{}", std::process::id()), "").is_err());
    said("execute", Command::new("/bin/true").status().is_err());
    said(
        "connect elsewhere",
        TcpStream::connect(&elsewhere).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied),
    );
    said("listen", std::net::TcpListener::bind("127.0.0.1:0").is_err());
    said("become root", system::become_user(0, 0).is_err());
    said("capture", Ring::open(RingConfig::new("lo")).is_err());
}

#[cfg(test)]
mod tests {
    use weir_export::{Rotation, SpoolConfig};

    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnot a line\nweir:x:990:991::/:/usr/sbin/nologin\n";
        assert_eq!(User::find(users, "weir"), Some(User { name: "weir".to_owned(), id: 990, group: 991 }));
        assert_eq!(User::find(users, "we"), None);
        assert_eq!(User::find("weir:x:a:b", "weir"), None);
    }

    #[test]
    fn needs_are_those_of_the_destinations() {
        let needs = |texts: &[&str]| {
            let destinations = texts.iter().map(|text| text.parse().unwrap()).collect();
            Needs::new(None, &ExporterConfig { destinations, ..ExporterConfig::default() })
        };
        let files = needs(&["json:-", "file:/var/lib/x/flows.ipfix", "json:flows.json", "json:/dev/null"]);
        assert!(!files.network && !files.names && files.ports.is_empty());
        assert_eq!(files.write, ["/var/lib/x", ".", "/dev/null"].map(PathBuf::from));
        let addresses = needs(&["tcp://192.0.2.1:5000", "udp://[2001:db8::1]"]);
        assert!(addresses.network && !addresses.names);
        assert_eq!(addresses.ports, [5000]);
        let names = needs(&["tcp://station"]);
        assert!(names.names);
        assert_eq!(names.ports, [4739, 53]);
        let tls = needs(&["tls://192.0.2.1?ca=a&cert=b&key=c"]);
        assert_eq!((tls.ports, tls.certificates), (vec![4740], false));
        assert_eq!(tls.read, ["a", "b", "c"].map(PathBuf::from));
    }

    #[test]
    fn folders_are_managed_for_spools_and_for_files_that_are_finished() {
        let destinations = ["file:a/b", "tcp://192.0.2.1", "file:/dev/null"].map(|text| text.parse().unwrap()).to_vec();
        let rotation = Rotation { interval: None, octets: Some(1) };
        let spool = SpoolConfig { folder: Some("spool".into()), ..SpoolConfig::default() };
        let needs = Needs::new(None, &ExporterConfig { destinations, rotation, spool, ..ExporterConfig::default() });
        assert_eq!(needs.manage, ["a", "spool"].map(PathBuf::from));
        assert_eq!(needs.write, [PathBuf::from("/dev/null")]);
    }
}
