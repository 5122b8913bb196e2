# SPDX-License-Identifier: MIT OR Apache-2.0
"""A file server for recordings (pyftpdlib): ftpd.py PORT CERT KEY FOLDER. It lets `alice` in with `secret`, and anybody to read."""
import logging
import sys
import warnings

warnings.simplefilter("ignore")
from pyftpdlib.authorizers import DummyAuthorizer  # noqa: E402
from pyftpdlib.handlers import TLS_FTPHandler  # noqa: E402
from pyftpdlib.servers import ThreadedFTPServer  # noqa: E402

port, cert, key, folder = int(sys.argv[1]), *sys.argv[2:5]
logging.basicConfig(level=logging.WARNING)
users = DummyAuthorizer()
users.add_user("alice", "secret", folder, perm="elradfmwMT")
users.add_anonymous(folder)


class Handler(TLS_FTPHandler):
    authorizer = users
    certfile, keyfile = cert, key
    auth_failed_timeout = 0


ThreadedFTPServer(("::", port), Handler).serve_forever()
