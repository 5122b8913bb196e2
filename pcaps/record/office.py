# SPDX-License-Identifier: MIT OR Apache-2.0
"""A busy little office: eight clients, their resolver, and the servers of example.com, .net and .org."""
import random
import subprocess
import threading
import time

from lab import WORK
from targets import CALLS, SITES, curl, mail_server, nsd, sip_prepare, swaks, target, time_server, web_server

SECONDS = 60
# how busy each client is, so that a list of top talkers has an order
WEIGHTS = (9, 6, 5, 4, 3, 2, 2, 1)
ACTS = ("http",) * 5 + ("https",) * 7 + ("dns",) * 5 + ("mail",) * 2 + ("ping", "ntp", "nowhere")


class Client:
    """One person's afternoon: what it does and when is fixed by the seed, how long it takes is not."""

    def __init__(self, lab, number, ends):
        self.lab, self.host, self.ends = lab, f"desk{number}", ends
        self.address, self.dice, self.weight = f"192.0.2.{10 + number}", random.Random(number), WEIGHTS[number - 1]
        self.failures = []

    def run(self):
        time.sleep(self.dice.random() * 2)
        while time.monotonic() < self.ends:
            act = self.dice.choice(ACTS)
            try:
                getattr(self, act)()
            except (SystemExit, subprocess.TimeoutExpired) as e:
                self.failures.append(f"{self.host}: {act}: {e}")
            time.sleep(self.dice.expovariate(self.weight / 16))

    def site(self):
        return self.dice.choices(SITES, weights=[1 / (i + 1) for i in range(len(SITES))])[0]

    def page(self):
        return self.dice.choice(("", "page1.html", "page3.html", "page8.html", "logo.bin", "missing", "api/v1/status"))

    def family(self):
        return self.dice.choice(("-4", "-4", "-6"))

    def http(self):
        site = self.site()
        more = [x for _ in range(self.dice.randrange(3)) for x in ("-o", "/dev/null", f"http://{site}/{self.page()}")]
        curl(self.lab, self.host, self.family(), f"http://{site}/{self.page()}", *more, "-A", f"Example/1.{self.host[-1]}", "--compressed")

    def https(self):
        curl(self.lab, self.host, self.family(), f"https://{self.site()}/{self.page()}", *(["--http1.1"] if self.dice.random() < 0.3 else []))

    def dns(self):
        kind = self.dice.choice(("A", "AAAA", "MX", "TXT", "NS", "SRV", "PTR"))
        name = {"SRV": "_sip._udp.example.com", "PTR": "80.100.51.198.in-addr.arpa"}.get(kind, self.dice.choice(("example.com", "example.org", "alias.example.net", "nothere.example.com")))
        self.lab.run(self.host, "dig", "+tries=1", name, kind)

    def mail(self):
        to = ",".join(self.dice.sample(("alice@example.com", "bob@example.com", "carol@example.org", "dave@example.net"), self.dice.randrange(1, 4)))
        tls = ["--tls", "--tls-sni", "mail.example.com"] if self.dice.random() < 0.3 else []
        swaks(self.lab, self.host, "mail.example.com", "-f", f"{self.host}@example.com", "-t", to, "--header", f"Subject: Note {self.dice.randrange(100)} of {self.host}", *tls)

    def ping(self):
        self.lab.run(self.host, "ping", "-c", 2, "-i", 0.2, self.dice.choice(("198.51.100.80", "2001:db8:2::80")))

    def ntp(self):
        self.lab.run(self.host, "ntpdig", "-t", "2", "192.0.2.123", ok=None)

    def nowhere(self):
        curl(self.lab, self.host, f"http://www.example.com:{self.dice.choice((8080, 8443))}/", ok=(7,))


def resolver(lab):
    stubs = "".join(f'stub-zone:\n  name: "example.{tld}"\n  stub-addr: 198.51.100.53\n' for tld in ("com", "net", "org"))
    conf = lab.file("unbound.conf", f"""server:
  chroot: ""
  username: ""
  directory: "{WORK}"
  pidfile: ""
  use-syslog: no
  interface: 192.0.2.2
  access-control: 192.0.2.0/24 allow
  do-ip6: no
  do-daemonize: no
  module-config: "iterator"
  cache-max-ttl: 20
  num-threads: 1
  local-zone: "." static
  local-zone: "example.com." transparent
  local-zone: "example.net." transparent
  local-zone: "example.org." transparent
remote-control:
  control-enable: no
{stubs}""")
    lab.start("resolver", "unbound", "-d", "-c", conf, udp=[53])


def talk(lab, number, transport, server):
    """Phones: one registers and calls, then another."""
    lab.run(f"desk{number}", "sipp", server, "-sf", "call.xml", "-inf", f"calls{number}.csv", "-i", f"192.0.2.{10 + number}", "-m", 1, "-nostdin",
            "-p", 5060, "-mp", 20000 + 10 * number, "-t", transport, "-timeout", "30s", ok=None)


@target("office.pcap", "eight clients for 60 seconds: DNS through a resolver, HTTP, TLS, mail, calls, NTP, ping, refused connections; the demonstration's main course",
        ["chronyd", "curl", "dig", "nginx", "nsd", "ntpdig", "openssl", "ping", "sipp", "swaks", "unbound", "aiosmtpd"])
def office(lab, path):
    for n in range(1, 9):
        lab.host(f"desk{n}", f"192.0.2.{10 + n}/24", f"2001:db8:1::{10 + n}/64")
    lab.host("resolver", "192.0.2.2/24")
    lab.host("clock", "192.0.2.123/24")
    for name, last in (("dns", 53), ("web", 80), ("mail", 25), ("pbx", 60)):
        lab.host(name, f"198.51.100.{last}/24", f"2001:db8:2::{last}/64")
    nsd(lab, "dns")
    resolver(lab)
    web_server(lab, "web")
    mail_server(lab, "mail")
    time_server(lab, "clock")
    sip_prepare(lab)
    for n in range(1, 9):
        lab.file(f"calls{n}.csv", f"SEQUENTIAL\n{CALLS[n % len(CALLS)]}\n")
    for transport, kind in (("u1", "udp"), ("t1", "tcp")):
        lab.start("pbx", "sipp", "-sn", "uas", "-i", "198.51.100.60", "-p", 5060, "-t", transport, "-nostdin", "-mp", 16384 if kind == "udp" else 17384, **{kind: [5060]})
    lab.start("pbx", "sipp", "-sf", "registrar.xml", "-i", "198.51.100.60", "-p", 5064, "-nostdin", udp=[5064])
    lab.file("_etc_resolv.conf", "nameserver 192.0.2.2\noptions timeout:2 attempts:2\n")
    with lab.capture(path):
        ends = time.monotonic() + SECONDS
        clients = [Client(lab, n, ends) for n in range(1, 9)]
        threads = [threading.Thread(target=c.run) for c in clients]
        for t in threads:
            t.start()
        for n, transport in ((1, "u1"), (3, "t1"), (2, "u1"), (5, "u1")):
            time.sleep(SECONDS / 6)
            lab.run(f"desk{n}", "sipp", "198.51.100.60:5064", "-sf", "register.xml", "-inf", f"calls{n}.csv", "-i", f"192.0.2.{10 + n}", "-p", 5070, "-m", 1, "-nostdin", "-timeout", "20s", ok=None)
            talk(lab, n, transport, "198.51.100.60:5060")
        for t in threads:
            t.join()
    failures = [f for c in clients for f in c.failures]
    if failures:
        raise SystemExit("\n".join(failures[:5]))
