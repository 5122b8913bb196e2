# SPDX-License-Identifier: MIT OR Apache-2.0
"""The tables of README.md, made from the files that are there: python3 pcaps/record/table.py rewrites them."""
import hashlib
import json
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from lab import BASE, PACKAGES  # noqa: E402
import office  # noqa: E402, F401
import services  # noqa: E402, F401
from targets import TARGETS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Recorded on loopback before record.py was: nothing records these again, several hold hand-made oddities on purpose.
LOOPBACK = {
    "dns/dns-lo.pcap": ("unbound, dig", "record types, TCP, many answers, port 5300, TCP byte by byte, compression loops, malformed messages"),
    "http/http-lo.pcap": ("nginx, http.server, curl", "odd ports, pipelining, split headers, chunked, proxy form, websocket, 100-continue, unfinished body"),
    "http/http-any-sll.pcap": ("nginx, curl", "`tcpdump -i any`: Linux cooked v1"),
    "http/http-any-sll2.pcap": ("nginx, curl", "`tcpdump -i any`: Linux cooked v2"),
    "http/http-nano.pcap": ("nginx, curl", "pcap with nanoseconds"),
    "http/http-snap96.pcap": ("nginx, curl", "packets cut at 96 octets"),
    "sip/sip-lo.pcap": ("small SIP programs", "UDP and TCP, odd port, compact headers, two messages a segment, one message over segments"),
    "smtp/smtp-lo.pcap": ("aiosmtpd, swaks", "pipelining, port 2525, folded and split headers, traps in bodies, abort (expected made with `-d tcp.port==2525,smtp`)"),
    "smtp/smtp-starttls-lo.pcap": ("aiosmtpd, swaks", "STARTTLS"),
    "tls/tls-lo.pcap": ("openssl", "TLS 1.0 to 1.3, no SNI, ClientHello over segments, byte by byte, and over records"),
}
# what is in a package's name for a reader
TOOL = {p: pathlib.PurePath(p).name for p in PACKAGES}


def rows():
    for path in sorted(ROOT.rglob("*.pcap")):
        name = str(path.relative_to(ROOT))
        if name in TARGETS:
            t = TARGETS[name]
            tools = ", ".join(TOOL.get(p, p) for p in t.needs if p not in ("ping", "openssl"))
            origin = f"{tools or t.needs[0]}; `record.py {name}`"
            proves = t.proves + (" (expected made with `" + " ".join(t.oracle) + "`)" if t.oracle else "")
        else:
            tools, proves = LOOPBACK[name]
            origin = f"{tools}; loopback"
        expected = json.loads(path.with_name(path.stem + ".expected.json").read_text())
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        if expected["sha256"] != sha:
            raise SystemExit(f"{name}: expected result is of another recording")
        yield f"| `{name}` | {origin} | {proves} | {expected['packets']} | {path.stat().st_size} | `{sha}` |"


def versions():
    packages = sorted({*(PACKAGES[p] for t in TARGETS.values() for p in [*BASE, *t.needs] if p in PACKAGES), "python3-aiosmtpd", "python3-pyftpdlib", "tshark"})
    for p in packages:
        v = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", p], capture_output=True, text=True).stdout
        yield f"`{p}` {v or '(not installed)'}"


def main():
    readme = ROOT / "README.md"
    text = readme.read_text()
    head = "| file | origin | what it proves | packets | octets | SHA-256 |\n|---|---|---|---|---|---|\n"
    for mark, new in (("table", head + "\n".join(rows())), ("versions", ", ".join(versions()) + ".")):
        text, n = re.subn(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m: m[1] + new + "\n" + m[2], text, flags=re.S)
        if n != 1:
            raise SystemExit(f"README.md: no place for {mark}")
    readme.write_text(text)


main()
