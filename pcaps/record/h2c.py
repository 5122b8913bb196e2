# SPDX-License-Identifier: MIT OR Apache-2.0
"""A web server for recordings that speaks HTTP/2 in the clear: h2c.py PORT.

With prior knowledge or after an upgrade. It understands just enough: each request, whatever it asks for, is answered with
an interim response, header fields that make entries of the dynamic table and then use them, content in two frames, and
trailers. HTTP/1 without an upgrade gets a redirection that sets cookies and asks for credentials.
"""
import socketserver
import struct
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, CONTINUATION = 0, 1, 4, 6, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def string(text):
    return bytes([len(text)]) + text.encode()


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        self.entries = False
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            octet = self.rfile.read(1)
            if not octet:
                return
            head += octet
        if head == PREFACE[:18]:
            self.rfile.read(len(PREFACE) - 18)
            return self.frames()
        if b"\r\nupgrade: h2c\r\n" in head.lower():
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + frame(SETTINGS, 0, 0))
            self.rfile.read(len(PREFACE))
            self.answer(1)
            return self.frames(greet=False)
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
                         b"HTTP/1.1 302 Found\r\nServer: weir-h2c/1\r\nLocation: http://www.example.com/elsewhere\r\nVia: 1.1 cache.example.net\r\n"
                         b"Set-Cookie: sid=0123456789abcdef; Path=/; HttpOnly\r\nSet-Cookie: lang=en\r\nWWW-Authenticate: Digest realm=\"weir\"\r\n"
                         b"Content-Length: 0\r\nConnection: close\r\n\r\n")

    def frames(self, greet=True):
        if greet:
            self.wfile.write(frame(SETTINGS, 0, 0))
        while len(header := self.rfile.read(9)) == 9:
            size, kind, flags, stream = int.from_bytes(header[:3], "big"), header[3], header[4], int.from_bytes(header[5:], "big")
            payload = self.rfile.read(size)
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.wfile.write(frame(kind, ACK, 0, payload if kind == PING else b""))
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.answer(stream)

    def answer(self, stream):
        self.wfile.write(frame(HEADERS, END_HEADERS, stream, b"\x08" + string("103")))
        if self.entries:
            block = b"\x88\xbf\xbe"  # 200, then the two entries
        else:
            block = b"\x88\x76" + string("weir-h2c/1") + b"\x5f" + string("text/html; charset=utf-8")
            self.entries = True
        block += b"\x0f\x0d" + string("12")
        self.wfile.write(frame(HEADERS, 0, stream, block[:4]) + frame(CONTINUATION, END_HEADERS, stream, block[4:]))
        self.wfile.write(frame(DATA, 0, stream, b"<html>") + frame(DATA, 0, stream, b"weir\r\n"))
        self.wfile.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x00" + string("x-trailer") + string("1")))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


Server(("0.0.0.0", int(sys.argv[1])), Connection).serve_forever()
