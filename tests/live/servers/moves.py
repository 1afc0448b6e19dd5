# SPDX-License-Identifier: MIT
"""A server whose bodies are moved, not written: moves.py PORT FILE [splice|recvmmsg]
Given that, it reads the heads of requests so, too.
  /sendfile  the file by sendfile(2)          /splice  by way of a pipe, splice(2)
  /upload    reads the body that was sent by splice(2), and tells its length
"""
import ctypes
import http.server
import io
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)


class Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = [(name, ctypes.c_size_t) for name in ("name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "len")]


class Moved(io.RawIOBase):
    """What comes from a connection, read in a way that is seldom seen."""

    def __init__(self, connection):
        self.fd = connection.fileno()

    def readable(self):
        return True

    def readinto(self, into):
        if sys.argv[3] == "splice":
            read_end, write_end = os.pipe()
            n = os.splice(self.fd, write_end, min(len(into), 65536))
            into[:n] = os.read(read_end, n) if n else b""
            os.close(read_end)
            os.close(write_end)
            return n
        room = ctypes.create_string_buffer(len(into))
        iov = (ctypes.c_size_t * 2)(ctypes.addressof(room), len(into))
        message = Message(iov=ctypes.addressof(iov), iovlen=1)
        if LIBC.recvmmsg(self.fd, ctypes.byref(message), 1, 0, None) < 1:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        n = message.len & 0xFFFFFFFF
        into[:n] = room.raw[:n]
        return n


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 0  # no byte more than what is asked for

    def setup(self):
        super().setup()
        if len(sys.argv) > 3:
            self.rfile = io.BufferedReader(Moved(self.connection))

    def log_message(self, *args):
        pass

    def head(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self):
        with open(sys.argv[2], "rb") as file:
            left = os.fstat(file.fileno()).st_size
            self.head(left)
            out, (read_end, write_end) = self.connection.fileno(), os.pipe()
            at = 0
            while left:
                if self.path.startswith("/sendfile"):
                    n = os.sendfile(out, file.fileno(), at, left)
                else:
                    n = held = os.splice(file.fileno(), write_end, min(left, 65536))
                    while held:
                        held -= os.splice(read_end, out, held)
                at += n
                left -= n
            os.close(read_end)
            os.close(write_end)

    def do_POST(self):
        left, got = int(self.headers["Content-Length"]), 0
        read_end, write_end = os.pipe()
        while left:
            n = os.splice(self.connection.fileno(), write_end, min(left, 65536))
            got += len(os.read(read_end, n))
            left -= n
        os.close(read_end)
        os.close(write_end)
        body = b"%d\n" % got
        self.head(len(body))
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
