# SPDX-License-Identifier: MIT OR Apache-2.0
"""A small network laboratory: hosts are network namespaces on one bridge, tcpdump listens.

A lab lives inside namespaces of its own (network, mount, process ids), which `enter` makes. Nothing in it can
reach the machine's network, and when its first process ends, for whatever reason, the kernel ends every program
and removes every interface, mount and temporary file that belonged to it. There is nothing to clean up by hand.
"""
import contextlib
import ctypes
import ipaddress
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path("/run/lab")  # on a tmpfs that only this lab sees

# program -> Debian package that holds it
PACKAGES = {
    "avahi-daemon": "avahi-daemon", "llmnr-query": "llmnrd", "llmnrd": "llmnrd",
    "baresip": "baresip-core", "chronyd": "chrony", "curl": "curl", "dig": "bind9-dnsutils", "ethtool": "ethtool",
    "gtlsclient": "ngtcp2-client", "gtlsserver": "ngtcp2-server", "ip": "iproute2",
    "ncat": "ncat", "nginx": "nginx-light", "nmap": "nmap", "nsd": "nsd", "ntpdig": "ntpsec-ntpdig",
    "openssl": "openssl", "ping": "iputils-ping", "pppoe": "pppoe", "pppoe-server": "pppoe", "sipp": "sip-tester",
    "ss": "iproute2", "sysctl": "procps", "swaks": "swaks", "tcpdump": "tcpdump", "turnserver": "coturn", "unbound": "unbound", "unshare": "util-linux",
    "/usr/lib/dovecot/imap": "dovecot-imapd", "/usr/lib/dovecot/pop3": "dovecot-pop3d",
    "/usr/lib/usrsctp/client": "libusrsctp-examples", "/usr/lib/usrsctp/discard_server": "libusrsctp-examples",
}
BASE = ["ethtool", "ip", "ss", "sysctl", "tcpdump", "unshare"]


def find(program):
    """Path of a program, the administrator's folders included, or None."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing(programs):
    """Debian packages to install before `programs` can run."""
    lack = {PACKAGES[p] for p in [*BASE, *programs] if p in PACKAGES and not find(p)}
    for module, package in (("aiosmtpd", "python3-aiosmtpd"), ("pyftpdlib", "python3-pyftpdlib python3-openssl")):
        if module in programs and subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
            lack.add(package)
    return sorted(lack)


def enter(argv):
    """Command line that runs `argv` as first process of a fresh lab."""
    return [find("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", *argv]


def die_with_parent():
    """For the process that `enter` starts: the lab goes when the program that asked for it goes, killed or not."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Lab:
    """Hosts, programs and captures. Make one only in a process started by `enter`."""

    def __init__(self):
        if os.getpid() != 1:
            raise SystemExit("a lab must be the first process of its own namespaces")
        sh("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", "/run")
        for folder in (WORK, pathlib.Path("/run/netns"), pathlib.Path("/run/nginx"), pathlib.Path("/run/pppoe")):
            folder.mkdir()
        os.chdir(WORK)
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        os.environ.update(LC_ALL="C.UTF-8", HOME=str(WORK), PYTHONDONTWRITEBYTECODE="1")
        self.hosts, self.programs, self.log = {}, [], open(WORK / "log", "ab")
        self.overlay("/etc/hosts", "127.0.0.1 localhost\n")
        self.overlay("/etc/resolv.conf", "# nobody to ask\n")
        sh("ip", "link", "set", "lo", "up")
        self.bridge("lan")

    def overlay(self, path, text):
        """Puts `text` in place of a system file, inside the lab only."""
        own = WORK / path.replace("/", "_")
        own.write_text(text)
        sh("mount", "--bind", str(own), os.path.realpath(path))

    def bridge(self, name):
        sh("ip", "link", "add", name, "type", "bridge", "mcast_snooping", "0")
        quiet(name)
        sh("ip", "link", "set", name, "up")

    def host(self, name, *addresses, bridge="lan", routes=(), mtu=1500):
        """A host on a bridge. Documentation prefixes are on the link, unless `routes` says how to get there."""
        number = len(self.hosts) + 16
        port = "p_" + name
        sh("ip", "netns", "add", name)
        sh("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        quiet(port)
        sh("ip", "link", "set", port, "mtu", str(mtu), "up", *(["master", bridge] if bridge else []))
        self.hosts[name] = [a.split("/")[0] for a in addresses]
        self.run(name, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv4.ping_group_range=0 2147483647",
                 "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.eth0.accept_ra=0", "net.ipv4.conf.all.rp_filter=0")
        ip = lambda *a: sh("ip", "-n", name, *a)
        ip("link", "set", "lo", "up")
        ip("link", "set", "eth0", "address", f"02:00:00:00:00:{number:02x}", "mtu", str(mtu))
        # what is recorded is what would be on a wire: whole checksums, no packets above the MTU
        self.run(name, "ethtool", "-K", "eth0", "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")
        for a in addresses:
            ip("address", "add", a, *(["nodad"] if ":" in a else []), "dev", "eth0")
        ip("link", "set", "eth0", "up")
        own = {ipaddress.ip_interface(a).network for a in addresses}
        if routes:
            for r in routes:
                ip("route", "add", *r.split())
        else:
            for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"):
                if ipaddress.ip_network(net) not in own and any((":" in net) == (":" in a) for a in addresses):
                    ip("route", "add", net, "dev", "eth0")
        return name

    def run(self, host, *argv, ok=(0,), stdin=None, timeout=120):
        """Runs a program on a host to its end; `ok` are the exit codes that count as success (None: any)."""
        p = subprocess.run(on(host, argv), input=stdin, capture_output=True, timeout=timeout)
        self.log.write(b"$ %s: %s\n%s%s" % (str(host).encode(), " ".join(map(str, argv)).encode(), p.stdout, p.stderr))
        self.log.flush()
        if ok is not None and p.returncode not in ok:
            raise SystemExit(f"{host}: {' '.join(map(str, argv))}: exit code {p.returncode}\n{(p.stdout + p.stderr).decode(errors='replace')[-2000:]}")
        return p

    def start(self, host, *argv, tcp=(), udp=(), raw=False):
        """Starts a server on a host and waits until it listens on the ports named."""
        p = subprocess.Popen(on(host, argv), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.programs.append(p)
        for _ in range(150):
            if p.poll() is not None:
                raise SystemExit(f"{host}: {' '.join(map(str, argv))}: ended at once\n{self.tail()}")
            open_ = subprocess.run(on(host, ["ss", "-Hlntu"]), capture_output=True, text=True).stdout.split("\n")
            have = {(l.split()[0], l.split()[4].rsplit(":", 1)[1]) for l in open_ if l}
            if {("tcp", str(x)) for x in tcp} | {("udp", str(x)) for x in udp} <= have:
                if raw:
                    time.sleep(0.5)  # a raw socket does not show a port
                return p
            time.sleep(0.1)
        raise SystemExit(f"{host}: {argv[0]} does not listen on tcp {tcp} udp {udp}\n{self.tail()}")

    def tail(self):
        self.log.flush()
        return (WORK / "log").read_text(errors="replace")[-3000:]

    @contextlib.contextmanager
    def capture(self, path, dev="lan", snap=2048, filter="", settle=0.7):
        """Records what passes `dev` while the block runs. Refuses a capture from which the kernel dropped packets."""
        tmp = WORK / "out.pcap"
        p = subprocess.Popen(["tcpdump", "-Z", "root", "-i", dev, "-n", "-s", str(snap), "-B", "32768",
                              "-U", "--immediate-mode", "-w", str(tmp), *filter.split()], stderr=subprocess.PIPE, text=True)
        for line in p.stderr:
            if "listening on" in line:
                break
        else:
            raise SystemExit("tcpdump did not start")
        try:
            yield
            time.sleep(settle)
        finally:
            p.send_signal(signal.SIGINT)
            said = p.communicate(timeout=10)[1]
        if "\n0 packets dropped by kernel" not in "\n" + said:
            raise SystemExit("capture is not whole: " + said)
        shutil.copyfile(tmp, path)
        os.chmod(path, 0o644)

    def certificate(self, *names):
        """Self-made key and certificate, valid for ten years, as (certificate, key)."""
        cert, key = WORK / f"{names[0]}.crt", WORK / f"{names[0]}.key"
        if not cert.exists():
            sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
               f"/O=Example/CN={names[0]}", "-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names), "-keyout", str(key), "-out", str(cert))
        return cert, key

    def file(self, name, content):
        path = WORK / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def on(host, argv):
    return [*(["ip", "netns", "exec", host] if host else []), *map(str, argv)]


def sh(*argv):
    p = subprocess.run(argv, capture_output=True, text=True)
    if p.returncode:
        raise SystemExit(f"{' '.join(argv)}: exit code {p.returncode}\n{p.stderr}")
    return p.stdout


def quiet(dev):
    """No IPv6 chatter from the laboratory's own side of a link."""
    path = f"/proc/sys/net/ipv6/conf/{dev}/disable_ipv6"
    if os.path.exists(path):
        pathlib.Path(path).write_text("1")
