# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is recorded, one function per capture. Fixed choices everywhere; where programs roll dice, they roll dice."""
import pathlib
import random
import sys
import time

from lab import HERE, quiet, sh

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


@target("amplification/dns.pcap", "DNS amplification: 3100 spoofed ANY and TXT queries to NSD, answers of 1.3 kB to the victim; snapped at 96 octets",
        ["nsd", "ping"], ["--no-l7"])
def dns_amplification(lab, path):
    amplification(lab, path, 3100, 200, [("big.example.com", 255), ("big.example.com", 16)], 96)


@target("amplification/dns-fragments.pcap", "near miss: 100 spoofed queries, answers of 3.8 kB in three fragments (300 packets, 0.4 MB); snapped at 96 octets",
        ["nsd", "ping"], ["--no-l7"])
def dns_fragments(lab, path):
    amplification(lab, path, 100, 50, [("huge.example.com", 16)], 96)


# ---------------------------------------------------------------- mail

MAIL_NAMES = ("mail.example.com", "mail.example.org")


def mail_server(lab, host):
    cert, key = lab.certificate(*MAIL_NAMES)
    for port, more in ((25, ()), (587, ("auth",))):
        lab.start(host, sys.executable, HERE / "smtpd.py", port, cert, key, *more, tcp=[port])


TWO_MAILS = """
import smtplib, sys
from email.message import EmailMessage
with smtplib.SMTP(sys.argv[1], 25, "desk.example.net") as s:
    for subject, text in (("Minutes of the meeting", "Short.\\n"), ("Grüße aus dem Büro", "Line.\\n.\\n.. a line that starts with a dot\\nMAIL FROM:<trap@example.org>\\n" * 8)):
        m = EmailMessage()
        m["Subject"], m["From"], m["To"], m["Cc"] = subject, "Erin Example <erin@example.net>", "alice@example.com", "bob@example.com, carol@example.org"
        m["Message-ID"] = f"<{len(text)}.weir@desk.example.net>"
        m.set_content(text)
        s.send_message(m)
"""


def swaks(lab, host, server, *argv, ok=(0,)):
    return lab.run(host, "swaks", "--server", server, "--helo", f"{host}.example.net", "--hide-all", *argv, ok=ok)


@target("smtp/mails.pcap", "mails with swaks and smtplib to aiosmtpd on port 25: several recipients, a refused one, an attachment, "
        "two mails on one connection, encoded subject, IPv6, pipelining, an aborted mail", ["swaks", "aiosmtpd"])
def mails(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("mail", "198.51.100.25/24", "2001:db8:2::25/64")
    mail_server(lab, "mail")
    paper = lab.file("report.txt", "".join(f"{i:04d} the quick brown fox jumps over the lazy dog\n" for i in range(250)))
    with lab.capture(path):
        swaks(lab, "desk", "198.51.100.25", "-f", "dave@example.net", "-t", "alice@example.com", "--header", "Subject: Hello")
        swaks(lab, "desk", "198.51.100.25", "-f", "dave@example.net", "-t", "alice@example.com,bob@example.com,carol@example.org",
              "--header", "Subject: The report, for all of you", "--attach", f"@{paper}")
        swaks(lab, "desk", "198.51.100.25", "-f", "dave@example.net", "-t", "nobody@example.com,bob@example.com", "--header", "Subject: One is refused", ok=(0, 24))
        swaks(lab, "desk", "198.51.100.25", "-f", "dave@example.net", "-t", "nobody@example.com", ok=(24,))
        swaks(lab, "desk", "198.51.100.25", "-f", "dave@example.net", "-t", "alice@example.com,bob@example.com", "--pipeline", "--header", "Subject: Pipelined")
        swaks(lab, "desk", "198.51.100.25", "-f", "dave@example.net", "-t", "alice@example.com", "--quit-after", "RCPT")
        for server in ("198.51.100.25", "2001:db8:2::25"):
            lab.run("desk", sys.executable, lab.file("two.py", TWO_MAILS), server)


@target("smtp/submission.pcap", "mail submission on port 587: AUTH PLAIN and LOGIN in clear, a refused login, STARTTLS with SNI, IPv4 and IPv6",
        ["swaks", "aiosmtpd", "openssl"])
def submission(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("mail", "198.51.100.25/24", "2001:db8:2::25/64")
    mail_server(lab, "mail")
    common = ("-p", "587", "-f", "alice@example.com", "-t", "erin@example.net")
    with lab.capture(path):
        for how in ("PLAIN", "LOGIN"):
            swaks(lab, "desk", "198.51.100.25", *common, "-a", how, "-au", "alice", "-ap", "secret", "--header", f"Subject: AUTH {how}")
        swaks(lab, "desk", "198.51.100.25", *common, "-a", "PLAIN", "-au", "mallory", "-ap", "guess", ok=None)
        swaks(lab, "desk", "198.51.100.25", *common, "--tls", "--tls-sni", "mail.example.com", "-a", "PLAIN", "-au", "alice", "-ap", "secret")
        lab.run("desk", "openssl", "s_client", "-starttls", "smtp", "-name", "desk.example.net", "-servername", "mail.example.org", "-quiet", "-connect",
                "[2001:db8:2::25]:587", stdin=b"EHLO desk.example.net\r\nQUIT\r\n", ok=(0, 1))


PARTS = r"""
import smtplib, sys
from email.message import EmailMessage
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.header import Header
new = EmailMessage()
new["Subject"], new["From"], new["To"], new["Bcc"] = "Three parts and a mail", "erin@example.net", "alice@example.com", "bob@example.com"
new["User-Agent"], new["Message-ID"] = "Weir test 1", "<parts.weir@desk.example.net>"
new.set_content("As you asked.\n-- \nErin\n--not a boundary\n")
new.add_alternative("<p>As you asked.</p>", subtype="html")
new.add_attachment(b"%PDF-" + bytes(3000), maintype="application", subtype="pdf", filename="report for 2026.pdf")
new.add_attachment(b"x", maintype="application", subtype="octet-stream", filename="Übersicht über das Jahr, in allen Einzelheiten und mit einem sehr langen Namen.bin")
inner = EmailMessage()
inner["Subject"], inner["From"] = "The inner mail", "carol@example.org"
inner.add_attachment("text", filename="inner.txt")
new.add_attachment(inner)
old = MIMEMultipart(boundary="=_old style")
old["Subject"], old["From"], old["To"], old["X-Mailer"] = "An old program", "erin@example.net", "alice@example.com", "OldMailer 1.0"
part = MIMEBase("application", "octet-stream")
part.add_header("Content-Disposition", 'attachment; filename="%s"' % Header("Grüße.txt", "iso-8859-1").encode())
old.attach(part)
for make in (lambda: smtplib.SMTP(sys.argv[1], 25, "desk.example.net"), lambda: smtplib.LMTP(sys.argv[1], 24, "desk.example.net")):
    with make() as s:
        for m in (new, old):
            s.sendmail("erin@example.net", ["alice@example.com", "bob@example.com"], m.as_bytes(policy=m.policy.clone(linesep="\r\n")))
"""


@target("smtp/parts.pcap", "names of MIME parts: multiparts within each other, a mail within a mail, names in RFC 2231 and RFC 2047; SMTP, and LMTP on "
        "port 24", ["aiosmtpd", "openssl"], ["-d", "tcp.port==24,smtp"])
def parts(lab, path):
    lab.host("desk", "192.0.2.11/24")
    lab.host("mail", "198.51.100.25/24")
    mail_server(lab, "mail")
    lab.start("mail", sys.executable, HERE / "smtpd.py", 24, *lab.certificate(*MAIL_NAMES), "lmtp", tcp=[24])
    with lab.capture(path):
        lab.run("desk", sys.executable, lab.file("parts.py", PARTS), "198.51.100.25")


# ---------------------------------------------------------------- mailboxes

DOVECOT = ("/usr/lib/dovecot/imap", "/usr/lib/dovecot/pop3")


def mailboxes(lab, host):
    """Dovecot with one user, `alice`, whose password is `secret`; IMAP and POP3, in clear too, and on another port each."""
    cert, key = lab.certificate(*MAIL_NAMES)
    sh("mkdir", "-p", "-m", "777", "mail")
    users = lab.file("users", "alice:{PLAIN}secret\n")
    lab.start(host, "dovecot", "-F", "-c", lab.file("dovecot.conf", f"""
base_dir = {lab.file("dovecot/.keep", "").parent}
protocols = imap pop3
log_path = /dev/stderr
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5
mail_location = maildir:{users.parent}/mail/%u
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {users}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={users.parent}/mail/%u
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener odd {{
    port = 1430
  }}
}}
service pop3-login {{
  inet_listener odd {{
    port = 1100
  }}
}}
"""), tcp=[110, 143, 1100, 1430])


LITERALS = """
import imaplib, sys
with imaplib.IMAP4(sys.argv[1], int(sys.argv[2])) as m:
    m.send(b"x1 LOGIN {5}\\r\\n")
    m.readline()
    m.send(b"alice {6}\\r\\n")
    m.readline()
    m.send(b"secret\\r\\n")
    while not m.readline().startswith(b"x1 "):
        pass
    m.state = "AUTH"
    m.select('"Sent Items"')
    m.append("INBOX", None, None, b"Subject: one\\r\\n\\r\\nx9 NO trap\\r\\n")
    m.select("INBOX", readonly=True)
    m.uid("FETCH", "1:*", "(FLAGS BODY[])")
    m.uid("SEARCH", "ALL")
"""


@target("imap/imap.pcap", "curl and imaplib against Dovecot: LOGIN, AUTHENTICATE, a refused login, literals of both sides, STARTTLS, port 1430, IPv6",
        ["curl", *DOVECOT, "openssl"], ["--no-l7"])
def imap(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("mail", "198.51.100.25/24", "2001:db8:2::25/64")
    mailboxes(lab, "mail")
    user = ("-u", "alice:secret")
    mail = lab.file("mail.txt", "From: dave@example.net\r\nSubject: Hello\r\n\r\nText.\r\n")
    with lab.capture(path):
        lab.run("desk", "curl", "-sS", *user, "--login-options", "AUTH=PLAIN", "-T", mail, "imap://198.51.100.25/INBOX")
        lab.run("desk", "curl", "-sS", *user, "--login-options", "AUTH=LOGIN", "imap://[2001:db8:2::25]/INBOX;UID=1")
        lab.run("desk", "curl", "-sS", "-u", "mallory:guess", "imap://198.51.100.25/", ok=(67,))
        lab.run("desk", "curl", "-sS", *user, "-k", "--ssl-reqd", "imap://198.51.100.25/")
        lab.run("desk", sys.executable, lab.file("literals.py", LITERALS), "198.51.100.25", "1430")


@target("pop3/pop3.pcap", "curl against Dovecot: USER and PASS, AUTH PLAIN and CRAM-MD5, a refused login, mails, STLS, port 1100, IPv6",
        ["curl", *DOVECOT, "openssl"], ["--no-l7"])
def pop3(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("mail", "198.51.100.25/24", "2001:db8:2::25/64")
    mailboxes(lab, "mail")
    user = ("-u", "alice:secret")
    mail = lab.file("mail.txt", "From: dave@example.net\r\nSubject: Hello\r\n\r\n+OK not a reply\r\n-ERR neither\r\n.\r\n")
    lab.run("mail", "curl", "-sS", *user, "-T", mail, "imap://127.0.0.1/INBOX")
    with lab.capture(path):
        lab.run("desk", sys.executable, "-c", "import poplib; p = poplib.POP3('198.51.100.25'); p.user('alice'); p.pass_('secret'); p.stat(); p.uidl(); p.top(1, 0); p.quit()")
        lab.run("desk", "curl", "-sS", *user, "--login-options", "AUTH=PLAIN", "pop3://198.51.100.25/1")
        lab.run("desk", "curl", "-sS", *user, "--login-options", "AUTH=CRAM-MD5", "pop3://[2001:db8:2::25]/1")
        lab.run("desk", "curl", "-sS", "-u", "mallory:guess", "pop3://198.51.100.25/", ok=(67,))
        lab.run("desk", "curl", "-sS", *user, "-k", "--ssl-reqd", "pop3://198.51.100.25/1")
        lab.run("desk", "curl", "-sS", *user, "pop3://198.51.100.25:1100/1")


# ---------------------------------------------------------------- files

@target("ftp/ftp.pcap", "curl against pyftpdlib: anonymous, with a name, a refused password, reading, writing, PORT, EPRT, PASV, EPSV, AUTH TLS, port 4021, IPv6",
        ["curl", "openssl", "pyftpdlib"], ["--no-l7"])
def ftp(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("files", "198.51.100.21/24", "2001:db8:2::21/64")
    cert, key = lab.certificate("files.example.com")
    lab.file("files/a report.txt", "text\n")
    for port in (21, 4021):
        lab.start("files", sys.executable, HERE / "ftpd.py", port, cert, key, lab.file("files/.keep", "").parent, tcp=[port])
    user, new = ("-u", "alice:secret"), lab.file("new.txt", "new\n")
    with lab.capture(path):
        lab.run("desk", "curl", "-sS", "ftp://198.51.100.21/a%20report.txt")
        lab.run("desk", "curl", "-sS", *user, "--disable-epsv", "-T", new, "ftp://198.51.100.21/new.txt")
        lab.run("desk", "curl", "-sS", *user, "--disable-eprt", "-P", "-", "ftp://198.51.100.21/")
        lab.run("desk", "curl", "-sS", *user, "-P", "-", "ftp://[2001:db8:2::21]/new.txt")
        lab.run("desk", "curl", "-sS", "-u", "mallory:guess", "ftp://198.51.100.21/", ok=(67,))
        lab.run("desk", "curl", "-sS", *user, "-k", "--ftp-ssl-control", "ftp://198.51.100.21/")
        lab.run("desk", "curl", "-sS", *user, "ftp://198.51.100.21:4021/nothing", ok=(78,))


# ---------------------------------------------------------------- calls

CALLS = ["alice;bob;Alice Example", "carol;dave;Carol Example", "erin;frank;Erin Example"]


def sip_prepare(lab):
    for name in ("call.xml", "busy.xml", "register.xml", "registrar.xml"):
        lab.file(name, (HERE / name).read_bytes())
    lab.file("media.ulaw", bytes((0xFF, 0x7F) * 4000))
    lab.file("calls.csv", "SEQUENTIAL\n" + "\n".join(CALLS) + "\n")


def sipp(lab, host, server, scenario, count, local, *more, ok=(0,)):
    return lab.run(host, "sipp", server, "-sf", scenario, "-inf", "calls.csv", "-i", local, "-m", count, "-r", 2, "-nostdin", "-timeout", "30s", *more, ok=ok)


def calls(lab, path, transport, v6):
    lab.host("phones", "192.0.2.31/24", "2001:db8:1::31/64")
    lab.host("pbx", "198.51.100.60/24", "2001:db8:2::60/64")
    sip_prepare(lab)
    proto = {"t1": "tcp", "u1": "udp"}[transport]
    pbx, phone = ("[2001:db8:2::60]", "[2001:db8:1::31]") if v6 else ("198.51.100.60", "192.0.2.31")
    serve = lambda port, *how: lab.start("pbx", "sipp", *how, "-i", pbx, "-p", port, "-t", transport, "-nostdin", **{proto: [port]})
    serve(5060, "-sn", "uas", "-rtp_echo", "-mp", 16384)
    serve(5062, "-sf", "busy.xml")
    serve(5064, "-sf", "registrar.xml")
    with lab.capture(path):
        sipp(lab, "phones", f"{pbx}:5064", "register.xml", 2, phone, "-p", 5070, "-t", transport)
        sipp(lab, "phones", f"{pbx}:5060", "call.xml", 1 if v6 else 3, phone, "-p", 5072, "-t", transport, "-mp", 20000)
        sipp(lab, "phones", f"{pbx}:5062", "call.xml", 1, phone, "-p", 5074, "-t", transport, "-mp", 21000)


@target("sip/calls-udp.pcap", "SIP over UDP with sipp: two registrations with digest, three calls with one second of RTP both ways, one busy callee; ports 5060, 5062, 5064", ["sipp"])
def calls_udp(lab, path):
    calls(lab, path, "u1", False)


@target("sip/calls-tcp.pcap", "SIP over TCP, the same calls, on one connection each", ["sipp"])
def calls_tcp(lab, path):
    calls(lab, path, "t1", False)


@target("sip/calls-ipv6.pcap", "SIP over UDP and IPv6: two registrations, one call with RTP, one busy callee", ["sipp"])
def calls_ipv6(lab, path):
    calls(lab, path, "u1", True)


# ---------------------------------------------------------------- media

# A telephone without a sound card: a tone for a microphone, nothing for a loudspeaker.
TELEPHONE = """sip_listen {address}:5060
module_path /usr/lib/baresip/modules
module opus.so
module ausine.so
module aubridge.so
module stun.so
module turn.so
module ice.so
module_app account.so
module_app menu.so
audio_source ausine,440
audio_player aubridge,nothing
audio_alert aubridge,nothing
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
rtp_timeout 0
rtp_ports 20000-20010
net_interface eth0
"""


def telephone(lab, host, name, address, account):
    lab.file(f"{name}/config", TELEPHONE.format(address=address))
    lab.file(f"{name}/accounts", f"{name.capitalize()} <sip:{name}@{address}>;regint=0;answermode=auto;audio_codecs=opus/48000/2{account}\n")
    lab.file(f"{name}/contacts", "")


@target("rtp/call.pcap", "a call by ICE: STUN to a server and between the two, SIP over UDP with SDP, 14 seconds of Opus both ways, "
        "RTCP on a port of its own", ["baresip", "turnserver"])
def media_call(lab, path):
    lab.host("alice", "192.0.2.31/24")
    lab.host("bob", "198.51.100.31/24")
    lab.host("stun", "198.51.100.34/24")
    lab.start("stun", "turnserver", "-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "-L", "198.51.100.34", "--log-file", "stdout", "--pidfile", "/run/lab/pid",
              "--db", "/run/lab/db", udp=[3478])
    how = ";medianat=ice;stunserver=stun:198.51.100.34"
    telephone(lab, "alice", "alice", "192.0.2.31", how)
    telephone(lab, "bob", "bob", "198.51.100.31", how)
    with lab.capture(path):
        lab.start("bob", "baresip", "-4", "-f", "/run/lab/bob", "-v", udp=[5060])
        lab.run("alice", "baresip", "-4", "-f", "/run/lab/alice", "-v", "-e", "/dial sip:bob@198.51.100.31", "-t", "14", ok=None)


# ---------------------------------------------------------------- web

SITES = [f"{w}.example.{tld}" for tld in ("com", "net", "org") for w in WEB] + ["example.com"]


def web_server(lab, host):
    """nginx on 80 and 443 with every name of SITES."""
    cert, key = lab.certificate("www.example.com", "*.example.com", "*.example.net", "*.example.org")
    dice = random.Random(2)
    words = "weir river flow water gauge stream level meter dam lock canal spring".split()
    for size in (1, 3, 8, 20, 60):
        lab.file(f"www/page{size}.html", "<html><body>" + " ".join(dice.choice(words) for _ in range(size * 165)) + "</body></html>\n")
    lab.file("www/index.html", "<html><head><title>Example</title></head><body><p>It works.</p></body></html>\n")
    lab.file("www/logo.bin", dice.randbytes(1800))
    lab.file("www/files/a.txt", "a\n")
    conf = lab.file("nginx.conf", f"""daemon off; worker_processes 1; user root; pid /run/lab/nginx.pid; error_log /run/lab/nginx.log;
events {{ }}
http {{
  access_log off; keepalive_timeout 10; gzip on; gzip_types text/html;
  client_body_temp_path /run/lab/n1; proxy_temp_path /run/lab/n2; fastcgi_temp_path /run/lab/n3; uwsgi_temp_path /run/lab/n4; scgi_temp_path /run/lab/n5;
  types {{ text/html html; text/plain txt; application/octet-stream bin; }}
  ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen 80; listen [::]:80; listen 443 ssl http2; listen [::]:443 ssl http2; server_name _; root /run/lab/www;
    location /files/ {{ autoindex on; }}
    location = /old {{ return 301 /index.html; }}
    location = /form {{ return 204; }}
    location = /api/v1/status {{ default_type application/json; return 200 '{{"status":"ok"}}'; }}
  }}
}}
""")
    lab.start(host, "nginx", "-c", conf, tcp=[80, 443])


def resolve_sites(lab):
    text = "127.0.0.1 localhost\n"
    for s in SITES:
        text += f"198.51.100.80 {s}\n2001:db8:2::80 {s}\n"
    lab.file("_etc_hosts", text)


def curl(lab, host, *argv, ok=(0,)):
    return lab.run(host, "curl", "-sk", "--max-time", "20", "-o", "/dev/null", *argv, ok=ok)


@target("web/http.pcap", "curl to nginx and python http.server, IPv4 and IPv6: keep-alive, POST, HEAD, ranges, redirects, 404, chunked, gzip, HTTP/1.0, port 8081", ["curl", "nginx", "openssl"])
def web_http(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("web", "198.51.100.80/24", "2001:db8:2::80/64")
    resolve_sites(lab)
    web_server(lab, "web")
    lab.start("web", sys.executable, "-m", "http.server", "8081", "--bind", "::", "--directory", "/run/lab/www", tcp=[8081])
    form = "&".join(f"field{i}=value{i}" for i in range(200))
    out = lambda *urls: [x for u in urls for x in ("-o", "/dev/null", u)]
    with lab.capture(path):
        curl(lab, "desk", "-4", "http://www.example.com/", *out(*(f"http://www.example.com/{p}" for p in ("page3.html", "logo.bin", "missing", "old", "files/"))))
        curl(lab, "desk", "-6", "http://shop.example.net/page8.html", *out("http://shop.example.net/api/v1/status?item=17&q=a%20b"), "-A", "Mozilla/5.0 (weir fixture)", "-e", "http://www.example.com/")
        curl(lab, "desk", "-4", "-d", form, "http://intranet.example.org/form", "--next", "-4", "-s", "--compressed", *out("http://intranet.example.org/page20.html"))
        curl(lab, "desk", "-4", "-L", "http://wiki.example.org/old")
        curl(lab, "desk", "-4", "-I", "http://news.example.com/page60.html")
        curl(lab, "desk", "-6", "-r", "100-199", "http://static.example.com/page60.html")
        curl(lab, "desk", "-4", "-0", "http://news.example.net/page1.html")
        curl(lab, "desk", "-4", "-X", "OPTIONS", "http://api.example.org/")
        curl(lab, "desk", "-4", "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-d", form, "http://api.example.net/form")
        for v in ("-4", "-6"):
            curl(lab, "desk", v, "http://files.example.com:8081/page3.html", "--connect-to", "files.example.com:8081:" + ("198.51.100.80:8081" if v == "-4" else "[2001:db8:2::80]:8081"))
        curl(lab, "desk", "-4", "--http2", "http://www.example.com/page1.html")
        curl(lab, "desk", "http://192.0.2.200/", "--connect-timeout", "1", ok=None)


@target("http/h2c.pcap", "curl to a small server: HTTP/2 in the clear with prior knowledge and after an upgrade, several streams, interim responses, trailers; "
        "HTTP/1.1 with cookies, Basic credentials, X-Forwarded-For, Via (expected made with `--no-l7`: the oracle reads no HTTP/2)", ["curl"], ["--no-l7"])
def h2c(lab, path):
    lab.host("desk", "192.0.2.11/24")
    lab.host("web", "198.51.100.80/24")
    resolve_sites(lab)
    lab.start("web", sys.executable, HERE / "h2c.py", 8080, tcp=[8080])
    out = lambda *urls: [x for u in urls for x in ("-o", "/dev/null", u)]
    more = ("-u", "alice:secret", "-b", "sid=0123456789abcdef; lang=en", "-H", "X-Forwarded-For: 203.0.113.7", "-H", "X-Forwarded-For: 192.0.2.1", "-H", "Via: 1.1 proxy.example.net")
    with lab.capture(path):
        curl(lab, "desk", "-4", "--http2-prior-knowledge", *more, "-e", "http://www.example.org/", "http://www.example.com:8080/search?q=weir")
        curl(lab, "desk", "-4", "--http2-prior-knowledge", "-d", "a=1&b=2", "-A", "weir fixture", "http://api.example.org:8080/form")
        curl(lab, "desk", "-4", "--http2", *more, *out(*(f"http://shop.example.net:8080/{p}" for p in ("next", "index.html", "cart"))), "http://shop.example.net:8080/up")
        curl(lab, "desk", "-4", "--http1.1", *more, "-d", "a=1", "-e", "http://www.example.org/", "http://www.example.com:8080/old")


@target("web/tls.pcap", "curl and openssl s_client to nginx, IPv4 and IPv6: TLS 1.2 and 1.3, several server names, ALPN h2 and http/1.1, no SNI, resumption, refused version", ["curl", "nginx", "openssl"])
def web_tls(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("web", "198.51.100.80/24", "2001:db8:2::80/64")
    resolve_sites(lab)
    web_server(lab, "web")
    client = lambda *a, ok=(0,): lab.run("desk", "openssl", "s_client", "-connect", "198.51.100.80:443", *a, stdin=b"GET / HTTP/1.0\r\n\r\n", ok=ok)
    with lab.capture(path):
        curl(lab, "desk", "-4", "https://www.example.com/page3.html")
        curl(lab, "desk", "-6", "https://shop.example.net/page8.html")
        curl(lab, "desk", "-4", "--http1.1", "https://intranet.example.org/page20.html")
        curl(lab, "desk", "-6", "--tls-max", "1.2", "https://mail.example.org/", "--connect-to", "mail.example.org:443:[2001:db8:2::80]:443")
        curl(lab, "desk", "-4", "--no-alpn", "https://api.example.com/api/v1/status")
        curl(lab, "desk", "-4", "https://198.51.100.80/")
        client("-noservername", "-tls1_2", "-ign_eof")
        client("-servername", "news.example.com", "-alpn", "http/1.1,spdy/3", "-sess_out", "/run/lab/session", "-ign_eof")
        client("-servername", "news.example.com", "-sess_in", "/run/lab/session", "-ign_eof")
        client("-servername", "old.example.com", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", ok=None)


@target("quic/http3.pcap", "HTTP/3 with ngtcp2's client and server, IPv4 and IPv6: version 1, drafts 29 and of version 2, Version Negotiation, compatible negotiation, Retry, resumption with 0-RTT, other ports", ["gtlsclient", "gtlsserver"])
def quic_http3(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("web", "198.51.100.80/24", "2001:db8:2::80/64")
    cert, key = lab.certificate("www.example.com", "*.example.com", "*.example.net", "*.example.org")
    root = lab.file("h3/index.html", "<html><body><p>It works.</p></body></html>\n").parent
    both = "v2draft,v1,0xff00001d"
    for address, port, *more in (("198.51.100.80", 443), ("2001:db8:2::80", 443), ("198.51.100.80", 4444, "-V"), ("198.51.100.80", 8444, "--preferred-versions=v2draft,v1")):
        lab.start("web", "gtlsserver", "-q", "-d", root, f"--other-versions={both}", *more, address, port, key, cert, udp=[port])

    old = ("www.example.com", "old.example.org", "two.example.org", "compatible.example.com", "retry.example.com", "again.example.com")
    new = ("shop.example.net", "refused.example.net")
    lab.overlay("/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"198.51.100.80 {n}\n" for n in old) + "".join(f"2001:db8:2::80 {n}\n" for n in new))

    def client(name, *more, port=443):
        lab.run("desk", "gtlsclient", "-q", "--exit-on-all-streams-close", "--no-pmtud", *more, name, port, f"https://{name}/index.html")

    with lab.capture(path):
        client("www.example.com")
        client("shop.example.net")
        client("old.example.org", "-v", "0xff00001d", "--other-versions=0xff00001d")
        client("two.example.org", "-v", "v2draft", "--other-versions=v2draft")
        client("refused.example.net", "-v", "0x1a2a3a4a", "--preferred-versions=v1", "--other-versions=v1")
        client("compatible.example.com", "-v", "v1", f"--other-versions={both}", port=8444)
        client("retry.example.com", port=4444)
        state = ["--session-file=/run/lab/session", "--tp-file=/run/lab/parameters", "--token-file=/run/lab/token"]
        client("again.example.com", *state)
        client("again.example.com", *state)


@target("tls/handshakes.pcap", "openssl over TCP and UDP: certificates of RSA and P-256 with their issuer, HelloRetryRequest, sessions resumed by identifier, ticket "
        "and pre-shared key, ALPN; DTLS 1.0 and 1.2 with cookies, in fragments", ["openssl"])
def handshakes(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("web", "198.51.100.80/24", "2001:db8:2::80/64")
    ssl = lambda *a: sh("openssl", *a)
    issuer, leaf = "/run/lab/issuer", "/run/lab/leaf"
    ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/C=CZ/O=Example, a.s./CN=Example CA", "-keyout", issuer + ".key", "-out", issuer + ".crt")
    ssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/C=CZ/O=Example/CN=www.example.org", "-keyout", leaf + ".key", "-out", leaf + ".csr")
    names = lab.file("names", "subjectAltName=DNS:www.example.org,DNS:example.org,IP:198.51.100.80,email:hostmaster@example.org\n")
    ssl("x509", "-req", "-days", "365", "-in", leaf + ".csr", "-CA", issuer + ".crt", "-CAkey", issuer + ".key", "-CAcreateserial", "-extfile", str(names), "-out", leaf + ".crt")
    rsa = ("-cert", leaf + ".crt", "-key", leaf + ".key", "-cert_chain", issuer + ".crt")
    cert, key = lab.certificate("small.example.com")
    ec = ("-cert", cert, "-key", key)

    def server(port, *a):
        # It ends with its standard input.
        command = " ".join(["sleep 600 | openssl s_server -quiet -accept", f"198.51.100.80:{port}", *map(str, a)])
        lab.start("web", "sh", "-c", command, **{"udp" if "-mtu" in a else "tcp": [port]})

    server(443, *rsa, "-www", "-groups", "P-256", "-alpn", "h2,http/1.1")
    server(8443, *ec, "-www", "-no_ticket")
    weak = ("-cipher", "ALL:@SECLEVEL=0")
    server(4433, *rsa, "-dtls1_2", "-listen", "-mtu", "400")
    server(4434, *ec, "-dtls1", "-mtu", "600", *weak)

    def client(port, *a):
        lab.run("desk", "openssl", "s_client", "-connect", f"198.51.100.80:{port}", *a, stdin=b"GET / HTTP/1.0\r\n\r\n", ok=None)

    session = ("-sess_out", "/run/lab/session", "-ign_eof")
    again = ("-sess_in", "/run/lab/session", "-ign_eof")
    with lab.capture(path):
        client(443, "-tls1_3", "-groups", "X25519:P-256", "-servername", "www.example.org", "-alpn", "h2,http/1.1", *session)
        client(443, "-tls1_3", "-groups", "X25519:P-256", "-servername", "www.example.org", "-alpn", "h2,http/1.1", *again)
        client(443, "-tls1_2", "-servername", "www.example.org", "-alpn", "http/1.1", *session)
        client(443, "-tls1_2", "-servername", "www.example.org", "-alpn", "http/1.1", *again)
        client(8443, "-tls1_2", "-servername", "small.example.com", *session)
        client(8443, "-tls1_2", "-servername", "small.example.com", *again)
        client(4433, "-dtls1_2", "-servername", "www.example.org", "-mtu", "400")
        client(4434, "-dtls1", "-servername", "small.example.com", *weak)


@target("tls/client-certificates.pcap", "openssl over TCP and UDP, TLS 1.2, TLS 1.3 and DTLS 1.2: clients that are asked for a certificate, with one, with another that the "
        "server does not take, without, and where the session is resumed", ["openssl"])
def client_certificates(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("web", "198.51.100.80/24", "2001:db8:2::80/64")
    ssl = lambda *a: sh("openssl", *a)
    issuer, alice = "/run/lab/issuer", "/run/lab/alice"
    ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/C=CZ/O=Example/CN=Example Users", "-keyout", issuer + ".key", "-out", issuer + ".crt")
    ssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/C=CZ/O=Example/OU=Staff/CN=alice", "-keyout", alice + ".key", "-out", alice + ".csr")
    ssl("x509", "-req", "-days", "365", "-in", alice + ".csr", "-CA", issuer + ".crt", "-CAkey", issuer + ".key", "-CAcreateserial", "-out", alice + ".crt")
    known = ("-cert", alice + ".crt", "-key", alice + ".key")
    stranger = ("-cert", (files := lab.certificate("stranger"))[0], "-key", files[1])
    cert, key = lab.certificate("www.example.org")
    ask = ("-cert", cert, "-key", key, "-CAfile", issuer + ".crt", "-verify_return_error")

    def server(port, *a):
        # It ends with its standard input.
        command = " ".join(["sleep 600 | openssl s_server -quiet -accept", f"198.51.100.80:{port}", *map(str, a)])
        lab.start("web", "sh", "-c", command, **{"udp" if "-mtu" in a else "tcp": [port]})

    server(443, *ask, "-www", "-Verify", "2", "-no_ticket")
    server(8443, *ask, "-www", "-verify", "2")
    server(4433, *ask, "-dtls1_2", "-listen", "-mtu", "400", "-verify", "2")

    def client(port, *a):
        lab.run("desk", "openssl", "s_client", "-connect", f"198.51.100.80:{port}", "-servername", "www.example.org", *a, stdin=b"GET / HTTP/1.0\r\n\r\n", ok=None)

    session = ("-sess_out", "/run/lab/session", "-ign_eof")
    again = ("-sess_in", "/run/lab/session", "-ign_eof")
    with lab.capture(path):
        client(443, "-tls1_2", *known, *session)
        client(443, "-tls1_2", *known, *again)
        client(443, "-tls1_2", *stranger)
        client(443, "-tls1_2")
        client(8443, "-tls1_2")
        client(8443, "-tls1_3", *known)
        client(4433, "-dtls1_2", *known, "-mtu", "400")


# ---------------------------------------------------------------- time

def chrony(lab, host, text, *argv):
    conf = lab.file(f"chrony-{host}.conf", text + "cmdport 0\nbindcmdaddress /\npidfile /\n")
    return lab.start(host, "chronyd", "-x", "-d", "-u", "root", "-f", conf, *argv)


def time_server(lab, host):
    lab.file("chrony.keys", "7 SHA1 HEX:8d0a7e7bb6a2f30f0e1d9a5c6b7c8d9e0f112233\n")
    conf = lab.file("chrony-server.conf", "local stratum 3\nallow all\nkeyfile /run/lab/chrony.keys\ncmdport 0\nbindcmdaddress /\npidfile /run/lab/ntp.pid\n")
    lab.start(host, "chronyd", "-x", "-d", "-u", "root", "-f", conf, udp=[123])


@target("ntp/ntp.pcap", "chronyd as client (basic, interleaved, authenticated) and ntpdig against chronyd, IPv4 and IPv6", ["chronyd", "ntpdig"])
def ntp(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("desk2", "192.0.2.12/24", "2001:db8:1::12/64")
    lab.host("desk3", "192.0.2.13/24", "2001:db8:1::13/64")
    lab.host("clock", "192.0.2.123/24", "2001:db8:1::123/64")
    time_server(lab, "clock")
    with lab.capture(path):
        for host, source in (("desk", "192.0.2.123 iburst minpoll 0 maxpoll 0"), ("desk2", "2001:db8:1::123 iburst minpoll 1 maxpoll 1 xleave"),
                             ("desk3", "192.0.2.123 iburst minpoll 1 maxpoll 1 key 7")):
            conf = lab.file(f"chrony-{host}.conf", f"server {source}\nkeyfile /run/lab/chrony.keys\ncmdport 0\nbindcmdaddress /\npidfile /run/lab/{host}.pid\n")
            lab.start(host, "chronyd", "-x", "-d", "-u", "root", "-f", conf)
        for server in ("192.0.2.123", "2001:db8:1::123"):
            lab.run("desk", "ntpdig", "-t", "2", server, ok=None)
        time.sleep(12)


# ---------------------------------------------------------------- names

RECORDS = """svc IN HTTPS 1 . alpn=h3,h2 ipv4hint=198.51.100.80 ipv6hint=2001:db8:2::80
svc IN HTTPS 0 www.example.net.
_dns IN SVCB 1 ns alpn=dot port=853
@ IN CAA 0 issue "ca.example.net"
@ IN CAA 128 iodef "mailto:security@example.com"
child IN NS ns.child
child IN DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
key IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==
host IN SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
_443._tcp IN TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
4.3.2.1 IN NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
_ftp._tcp IN URI 10 1 "ftp://ftp1.example.com/public"
odd IN TYPE65280 \\# 3 010203
quote IN TXT "a\\"b\\\\c" "second" "\\200"
"""


@target("dns/records.pcap", "dig to NSD: HTTPS, SVCB, CAA, DS, DNSKEY, SSHFP, TLSA, NAPTR, URI, TXT, an unknown type, a delegation, NXDOMAIN, "
        "REFUSED, EDNS with client subnet, DO, version 1, several queries over one TCP connection, IPv6, a truncated answer asked for again", ["nsd", "dig"])
def dns_records(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("server", "198.51.100.53/24", "2001:db8:2::53/64")
    nsd(lab, "server", com=RECORDS + txt_records("huge", 18))
    dig = lambda *argv: lab.run("desk", "dig", "+tries=1", "+time=2", *argv)
    with lab.capture(path):
        for name, kind in (("svc", "HTTPS"), ("_dns", "SVCB"), ("", "CAA"), ("child", "DS"), ("key", "DNSKEY"), ("host", "SSHFP"),
                           ("_443._tcp", "TLSA"), ("4.3.2.1", "NAPTR"), ("_ftp._tcp", "URI"), ("odd", "TYPE65280"), ("quote", "TXT"),
                           ("_sip._udp", "SRV"), ("", "MX"), ("", "SOA"), ("alias", "AAAA"), ("www.child", "A"), ("nothing", "A")):
            dig("@198.51.100.53", f"{name}.example.com".lstrip("."), kind)
        dig("@198.51.100.53", "www.example.de", "A")
        dig("@198.51.100.53", "+subnet=192.0.2.0/24", "+dnssec", "+bufsize=1400", "www.example.com", "A")
        dig("@2001:db8:2::53", "+subnet=2001:db8:1::/56", "+noedns", "www.example.com", "AAAA")
        dig("@2001:db8:2::53", "+edns=1", "+noednsneg", "www.example.com", "A")
        dig("@2001:db8:2::53", "+subnet=2001:db8:1::/56", "+norecurse", "+cdflag", "www.example.com", "AAAA")
        dig("@198.51.100.53", "+tcp", "+keepopen", "www.example.com", "A", "shop.example.com", "AAAA", "example.org", "MX")
        dig("@198.51.100.53", "+bufsize=512", "huge.example.com", "TXT")


@target("dns/link-local.pcap", "multicast DNS: avahi announces a host and a service, dig asks it, by multicast and by itself; LLMNR: llmnr-query asks llmnrd, IPv4 and IPv6",
        ["avahi-daemon", "llmnrd", "llmnr-query", "dig"])
def link_local(lab, path):
    lab.host("desk", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("printer", "192.0.2.31/24", "2001:db8:1::31/64")
    for host in ("desk", "printer"):
        sh("ip", "-n", host, "route", "add", "224.0.0.0/4", "dev", "eth0")
    lab.file("services/ipp.service", """<?xml version="1.0"?><!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name>Printer on the first floor</name><service><type>_ipp._tcp</type><port>631</port><txt-record>rp=ipp/print</txt-record></service></service-group>
""")
    sh("mount", "--bind", "/run/lab/services", "/etc/avahi/services")
    pathlib.Path("/run/avahi-daemon").mkdir()
    conf = lab.file("avahi.conf", "[server]\nhost-name=printer\nenable-dbus=no\nallow-interfaces=eth0\n[wide-area]\nenable-wide-area=no\n"
                    "[publish]\npublish-hinfo=no\npublish-workstation=no\n")
    # who asks all of them does not take the answer of one: dig waits in vain, and the answer is in the capture
    dig = lambda server, *argv: lab.run("desk", "dig", "-p", "5353", f"@{server}", "+tries=1", "+time=1", "+norecurse", *argv, ok=None)
    with lab.capture(path):
        lab.start("printer", "avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "-f", conf, udp=[5353])
        time.sleep(4)
        dig("224.0.0.251", "printer.local", "A")
        dig("224.0.0.251", "_ipp._tcp.local", "PTR")
        dig("192.0.2.31", "printer.local", "AAAA")
        lab.start("printer", "llmnrd", "-H", "printer", "-6", udp=[5355])
        lab.run("desk", "llmnr-query", "-I", "eth0", "-d", "4711", "-T", "A", "printer", ok=None)
        lab.run("desk", "llmnr-query", "-I", "eth0", "-d", "4712", "-T", "AAAA", "-6", "printer", ok=None)
        lab.run("desk", "llmnr-query", "-I", "eth0", "-d", "4713", "-c", "2", "-t", "300", "nobody", ok=None)


# ---------------------------------------------------------------- network and link layer

@target("ip/icmp.pcap", "ping with IPv4 and IPv6, unreachable ports and hosts, TTL exceeded, neighbour discovery", ["ping", "ncat"])
def icmp(lab, path):
    sh("sysctl", "-qw", "net.ipv4.ip_forward=1")
    sh("ip", "address", "add", "192.0.2.1/24", "dev", "lan")
    lab.host("a", "192.0.2.11/24", "2001:db8:1::11/64", routes=("default via 192.0.2.1",))
    lab.host("b", "192.0.2.12/24", "2001:db8:1::12/64")
    sh("ip", "route", "add", "unreachable", "198.51.100.0/24")
    sh("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.12")
    with lab.capture(path, dev="p_a"):
        lab.run("a", "ping", "-c", 4, "-i", 0.2, "192.0.2.12")
        lab.run("a", "ping", "-c", 4, "-i", 0.2, "-s", 1000, "2001:db8:1::12")
        lab.run("a", "ping", "-c", 2, "-i", 0.2, "-W", 1, "198.51.100.9", ok=None)
        lab.run("a", "ping", "-c", 1, "-W", 1, "-t", 1, "203.0.113.9", ok=None)
        for target_ in ("192.0.2.12", "2001:db8:1::12"):
            lab.run("a", "ncat", "-u", "-w", "1", target_, 9999, stdin=b"nobody listens\n", ok=None)


@target("ip/fragments.pcap", "fragments of ping and UDP, IPv4 and IPv6: later fragments carry no ports", ["ping"])
def fragments(lab, path):
    lab.host("a", "192.0.2.11/24", "2001:db8:1::11/64")
    lab.host("b", "192.0.2.12/24", "2001:db8:1::12/64")
    lab.start("b", sys.executable, lab.file("sink.py", "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\ns.bind(('::', 7000))\nwhile True: s.recv(9000)\n"), udp=[7000])
    send = lab.file("send.py", "import socket,sys\nfor i in range(2):\n s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)\n"
                    " s.bind(('', 40000+i))\n for n in (1200, 2500, 5000): s.sendto(b'weir fixture ' * (n // 13), (sys.argv[1], int(sys.argv[2])))\n")
    with lab.capture(path):
        for a in ("192.0.2.12", "2001:db8:1::12"):
            lab.run("a", "ping", "-c", 3, "-i", 0.2, "-s", 4000, a)
        lab.run("a", sys.executable, send, "192.0.2.12", 7000)
        lab.run("a", sys.executable, send, "2001:db8:1::12", 7000)


@target("ip/sctp.pcap", "SCTP associations of usrsctp's client and discard server, IPv4; nmap's INIT scan of 20 ports", ["/usr/lib/usrsctp/client", "/usr/lib/usrsctp/discard_server", "nmap"])
def sctp(lab, path):
    lab.host("a", "192.0.2.11/24")
    lab.host("b", "192.0.2.12/24")
    lab.start("b", "/usr/lib/usrsctp/discard_server", raw=True)
    with lab.capture(path):
        for port in (5001, 5002):
            lab.run("a", "sh", "-c", f"(for i in 1 2 3 4 5; do echo line $i of an association; sleep 0.2; done) | timeout 5 /usr/lib/usrsctp/client 192.0.2.12 9 {port}", ok=None)
        lab.run("a", "nmap", "-n", "-Pn", "-sY", "-p", "1-20", "--max-retries", 0, "192.0.2.12")


def tagged(lab, path, pairs):
    """Pairs of hosts on access ports of a user-space switch with a trunk; all pairs have the same addresses."""
    sh("ip", "link", "add", "trunk0", "mtu", "1600", "type", "veth", "peer", "name", "trunk1", "mtu", "1600")
    for dev in ("trunk0", "trunk1"):
        quiet(dev)
        sh("ip", "link", "set", dev, "up")
    specs = []
    for i, tags in enumerate(pairs):
        lab.host(f"a{i}", "192.0.2.11/24", "2001:db8:1::11/64", bridge=None)
        lab.host(f"b{i}", "192.0.2.80/24", "2001:db8:1::80/64", bridge=None)
        specs.append(f"p_a{i}:p_b{i}:" + ":".join(map(str, tags)))
    lab.start(None, sys.executable, HERE / "switch.py", "trunk0", "trunk1", *specs, raw=True)
    for i in range(len(pairs)):
        web_server(lab, f"b{i}")
    with lab.capture(path, dev="trunk0"):
        for i in range(len(pairs)):
            for a in ("192.0.2.80", "[2001:db8:1::80]"):
                lab.run(f"a{i}", "ping", "-c", 2, "-i", 0.2, a.strip("[]"))
                curl(lab, f"a{i}", f"http://www.example.com/page{3 if i else 8}.html", "--connect-to", f"::{a}:", "--local-port", 40006 if ":" in a else 40004)
                curl(lab, f"a{i}", f"https://shop.example.net/page{3 if i else 8}.html", "--connect-to", f"::{a}:")


@target("link/vlan.pcap", "802.1Q: VLAN 10 and 20 with the same addresses and ports, so that the tag alone tells two flows apart; IPv4, IPv6, HTTP, TLS, ping", ["ping", "curl", "nginx", "openssl"])
def vlan(lab, path):
    tagged(lab, path, [(10,), (20,)])


@target("link/qinq.pcap", "802.1ad: outer VLAN 100 and 200, inner VLAN 10, the same addresses in both", ["ping", "curl", "nginx", "openssl"])
def qinq(lab, path):
    tagged(lab, path, [(100, 10), (200, 10)])


@target("link/vxlan.pcap", "VXLAN of the kernel: ping and HTTP within a tunnel, outer UDP port 4789", ["ping", "curl", "nginx", "openssl"])
def vxlan(lab, path):
    for host, own, peer in (("a", 11, 12), ("b", 12, 11)):
        lab.host(host, f"192.0.2.{own}/24")
        sh("ip", "-n", host, "link", "add", "vx0", "type", "vxlan", "id", "42", "local", f"192.0.2.{own}", "remote", f"192.0.2.{peer}", "dev", "eth0", "dstport", "4789")
        sh("ip", "-n", host, "address", "add", f"203.0.113.{own}/24", "dev", "vx0")
        lab.run(host, "ethtool", "-K", "vx0", "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")
        sh("ip", "-n", host, "link", "set", "vx0", "mtu", "1450", "up")
    web_server(lab, "b")
    with lab.capture(path):
        lab.run("a", "ping", "-c", 3, "-i", 0.2, "203.0.113.12")
        curl(lab, "a", "http://www.example.com/page8.html", "--connect-to", "::203.0.113.12:")


@target("link/pppoe.pcap", "PPPoE discovery and session (rp-pppoe on both sides), LCP, IPCP, then ping, DNS, HTTP and TLS inside", ["pppoe", "pppoe-server", "ping", "curl", "nginx", "openssl", "nsd", "dig"])
def pppoe(lab, path):
    lab.host("router", bridge="lan")
    lab.host("isp", bridge="lan")
    sh("ip", "-n", "isp", "address", "add", "198.51.100.80/32", "dev", "lo")
    web_server(lab, "isp")
    nsd(lab, "isp")
    daemon = lab.file("pppd", f'#!/bin/sh\nexec {sys.executable} {HERE / "ppp.py"} "$@"\n')
    daemon.chmod(0o755)
    lab.start("isp", "pppoe-server", "-F", "-I", "eth0", "-C", "isp.example.net", "-S", "internet", "-L", "203.0.113.1", "-R", "203.0.113.10", "-q", daemon, "-Q", "/usr/sbin/pppoe", raw=True)
    with lab.capture(path):
        client = lab.start("router", sys.executable, HERE / "ppp.py", "pty", "pppoe -I eth0 -S internet")
        for _ in range(50):
            if b"ppp0" in lab.run("router", "ip", "-br", "link").stdout and not lab.run("router", "ping", "-c", 1, "-W", 1, "203.0.113.1", ok=None).returncode:
                break
            time.sleep(0.2)
        else:
            raise SystemExit("no PPP session\n" + lab.tail())
        lab.run("router", "ping", "-c", 3, "-i", 0.2, "198.51.100.80")
        lab.run("router", "dig", "@203.0.113.1", "www.example.com", "A")
        lab.run("router", "dig", "@203.0.113.1", "example.org", "MX")
        curl(lab, "router", "http://www.example.com/page8.html", "--connect-to", "::198.51.100.80:")
        curl(lab, "router", "https://shop.example.net/page3.html", "--connect-to", "::198.51.100.80:")
        client.terminate()
        time.sleep(0.5)
