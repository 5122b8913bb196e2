# SPDX-License-Identifier: MIT OR Apache-2.0
"""A VLAN switch in user space, for kernels without 802.1Q: switch.py TRUNK-A TRUNK-B PORT-A:PORT-B:TAG[:TAG]...

Frames that enter an access port leave on its side's trunk with the tags named (outermost first: with two of them the
outer one is 802.1ad), and the other side takes the tags off. The trunk is a veth pair on which tcpdump listens.
"""
import select
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA, OUTGOING = 263, 8, 4


def opened(dev):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    s.bind((dev, 0))
    return s


def receive(s):
    """A frame as it was on the wire: the kernel hands the outermost tag over beside it."""
    frame, extra, _, address = s.recvmsg(65536, 256)
    if address[2] == OUTGOING:
        return None
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data[:20])
            if status & 0x10:
                frame = frame[:12] + struct.pack("!HH", tpid if status & 0x40 else 0x8100, tci) + frame[12:]
    return frame


def main():
    trunks = [opened(sys.argv[1]), opened(sys.argv[2])]
    paths = {}  # socket -> (trunk's number, tags)
    back = [{}, {}]
    for spec in sys.argv[3:]:
        a, b, *tags = spec.split(":")
        head = b"".join(struct.pack("!HH", 0x88A8 if i + 1 < len(tags) else 0x8100, int(t)) for i, t in enumerate(tags))
        for side, dev in enumerate((a, b)):
            s = opened(dev)
            paths[s] = (side, head)
            back[side][head] = s
    while True:
        for s in select.select([*paths, *trunks], [], [])[0]:
            frame = receive(s)
            if frame is None:
                continue
            if s in paths:
                side, head = paths[s]
                trunks[side].send(frame[:12] + head + frame[12:])
            else:
                for head, port in back[trunks.index(s)].items():
                    if frame[12:12 + len(head)] == head:
                        port.send(frame[:12] + frame[12 + len(head):])


main()
