# SPDX-License-Identifier: MIT OR Apache-2.0
"""The least of a PPP daemon, for kernels without PPP: ppp.py pty COMMAND ... [LOCAL:REMOTE] [options are ignored]

It speaks asynchronous HDLC (RFC 1662) with COMMAND's standard input and output (that is `pppoe`), negotiates LCP
(with a magic number and MRU 1492) and IPCP, and joins the link to a tun interface. Without LOCAL:REMOTE it is the
side that asks for an address. IPv6CP is refused by a protocol-reject, as an IPv4-only access concentrator does.
"""
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import sys

LCP, IPCP, IP = 0xC021, 0x8021, 0x0021
REQUEST, ACK, NAK, REJECT, TERMINATE, PROTOCOL_REJECT, ECHO, ECHO_REPLY = 1, 2, 3, 4, 5, 8, 9, 10


def fcs(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0x8408 if value & 1 else value >> 1
    return struct.pack("<H", value ^ 0xFFFF)


class Link:
    def __init__(self, command, local, remote):
        self.child = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.local, self.remote = local, remote
        self.serving = remote is not None
        self.magic = os.urandom(4)
        self.up = {LCP: [False, False], IPCP: [False, False]}  # ours acknowledged, theirs acknowledged
        self.tun = None

    def send(self, protocol, body):
        raw = b"\xff\x03" + struct.pack("!H", protocol) + body
        raw += fcs(raw)
        coded = b"".join(bytes((0x7D, x ^ 0x20)) if x < 0x20 or x in (0x7D, 0x7E) else bytes((x,)) for x in raw)
        self.child.stdin.write(b"\x7e" + coded + b"\x7e")
        self.child.stdin.flush()

    def control(self, protocol, code, number, data=b""):
        self.send(protocol, struct.pack("!BBH", code, number, len(data) + 4) + data)

    def request(self, protocol):
        if protocol == LCP:
            self.control(LCP, REQUEST, 1, struct.pack("!BBH", 1, 4, 1492) + b"\x05\x06" + self.magic)
        else:
            self.control(IPCP, REQUEST, 1, b"\x03\x06" + socket.inet_aton(self.local or "0.0.0.0"))

    def take(self, frame):
        if len(frame) < 6 or fcs(frame[:-2]) != frame[-2:]:
            return
        frame = frame[2:-2] if frame[:2] == b"\xff\x03" else frame[:-2]
        protocol, body = struct.unpack("!H", frame[:2])[0], frame[2:]
        if protocol == IP and self.tun is not None:
            os.write(self.tun, body)
        elif protocol in self.up and len(body) >= 4:
            code, number, length = struct.unpack("!BBH", body[:4])
            self.negotiate(protocol, code, number, body[4:length])
        elif protocol not in (IP, *self.up):
            self.control(LCP, PROTOCOL_REJECT, 1, frame)

    def negotiate(self, protocol, code, number, data):
        if code == REQUEST:
            if protocol == IPCP and self.serving and data[2:6] != socket.inet_aton(self.remote):
                self.control(IPCP, NAK, number, b"\x03\x06" + socket.inet_aton(self.remote))
                return
            if protocol == IPCP and not self.serving:
                self.remote = socket.inet_ntoa(data[2:6])
            self.control(protocol, ACK, number, data)
            self.up[protocol][1] = True
        elif code == ACK:
            self.up[protocol][0] = True
        elif code == NAK and protocol == IPCP:
            self.local = socket.inet_ntoa(data[2:6])
            self.request(IPCP)
        elif code == ECHO:
            self.control(LCP, ECHO_REPLY, number, self.magic + data[4:])
        if protocol == LCP and all(self.up[LCP]) and code in (ACK, REQUEST):
            self.request(IPCP)
        if all(self.up[IPCP]) and self.tun is None:
            self.tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.tun, 0x400454CA, struct.pack("16sH", b"ppp0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
            for line in (f"address add {self.local} peer {self.remote} dev ppp0", "link set ppp0 mtu 1492 up",
                         *([] if self.serving else ["route replace default dev ppp0"])):
                subprocess.run(["ip", *line.split()], check=True)

    def run(self):
        self.request(LCP)
        rest = b""
        while self.child.poll() is None:
            ready, _, _ = select.select([self.child.stdout, *([self.tun] if self.tun is not None else [])], [], [], 1)
            if self.tun in ready:
                packet = os.read(self.tun, 2048)
                if packet[0] >> 4 == 4:
                    self.send(IP, packet)
            if self.child.stdout in ready:
                rest += os.read(self.child.stdout.fileno(), 65536)
                *frames, rest = rest.split(b"\x7e")
                for f in frames:
                    self.take(re.sub(rb"\x7d(.)", lambda m: bytes((m[1][0] ^ 0x20,)), f, flags=re.S))
            elif not ready and not all(self.up[LCP]):
                self.request(LCP)


def main():
    command = sys.argv[sys.argv.index("pty") + 1]
    pair = next((m for m in (re.fullmatch(r"([\d.]+):([\d.]+)", a) for a in sys.argv) if m), None)
    Link(command, *(pair.groups() if pair else (None, None))).run()


main()
