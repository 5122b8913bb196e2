# SPDX-License-Identifier: MIT OR Apache-2.0
"""A mail server for recordings (aiosmtpd): smtpd.py PORT CERT KEY [auth | lmtp].

It takes every mail and throws it away, refuses recipients whose name is `nobody`, offers STARTTLS, and with `auth`
lets `alice` in with any password, without TLS too, so that a recording shows the exchange.
"""
import asyncio
import ssl
import sys
import warnings

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult

warnings.simplefilter("ignore")


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("nobody@"):
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        return "250 OK: queued"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"alice", handled=False)  # the library writes the reply


async def main():
    port, cert, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    auth = {"authenticator": authenticate, "auth_require_tls": False} if "auth" in sys.argv[4:] else {}
    kind = LMTP if "lmtp" in sys.argv[4:] else SMTP
    make = lambda: kind(Handler(), hostname="mail.example.com", ident="ESMTP", tls_context=context, enable_SMTPUTF8=True, **auth)
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(make, host, port) for host in ("0.0.0.0", "::")]
    await asyncio.gather(*(s.serve_forever() for s in servers))


asyncio.run(main())
