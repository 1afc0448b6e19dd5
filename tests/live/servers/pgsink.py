# SPDX-License-Identifier: MIT
"""Speaks as much of PostgreSQL's protocol as a client needs to send a statement, which it
answers with an error 200 ms later: pgsink.py PORT
"""
import socketserver
import struct
import sys
import time


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        length = struct.unpack("!I", self.rfile.read(4))[0]
        self.rfile.read(length - 4)
        ready = message(b"Z", b"I")
        self.wfile.write(message(b"R", struct.pack("!I", 0)) + message(b"S", b"client_encoding\0UTF8\0") + ready)
        while kind := self.rfile.read(1):
            self.rfile.read(struct.unpack("!I", self.rfile.read(4))[0] - 4)
            if kind == b"X":
                break
            time.sleep(0.2)
            self.wfile.write(message(b"E", b"SERROR\0C42000\0Mas asked\0\0") + ready)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Session).serve_forever()
