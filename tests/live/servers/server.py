# SPDX-License-Identifier: MIT
"""A threaded HTTP/1.1 server for the live tests: one thread for each connection.

usage: server.py PORT
  /fast            answers at once
  /slow?ms=N       answers after N ms; the thread sleeps in sleep_as_asked()
  /echo?ms=N       sends the request's body back (Content-Length or chunked), after N ms
  /status/N        answers with that status; 204 and 304 have no body
  /chunked?ms=N    three chunks, N ms before the last
  /lock?ms=N       takes one lock and holds it for N ms
  /big?bytes=N     answers with so long a body, after ms
  /pid             the process id
"""
import http.server
import os
import sys
import threading
import time
import urllib.parse

LOCK = threading.Lock()


def sleep_as_asked(ms):
    time.sleep(ms / 1000)


def hold_the_lock(ms):
    with LOCK:
        sleep_as_asked(ms)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", kind="text/plain"):
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def chunked(self, ms):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"one\n", b"two\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        sleep_as_asked(ms)
        self.wfile.write(b"6\r\nthree\n\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def serve(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        ms = int(query.get("ms", 0))
        if url.path == "/slow":
            sleep_as_asked(ms)
            self.answer(200, b"slow\n")
        elif url.path == "/lock":
            hold_the_lock(ms)
            self.answer(200, b"locked\n")
        elif url.path == "/echo":
            body = self.body()
            sleep_as_asked(ms)
            self.answer(200, body)
        elif url.path == "/chunked":
            self.chunked(ms)
        elif url.path == "/big":
            sleep_as_asked(ms)
            self.answer(200, b"x" * int(query["bytes"]))
        elif url.path == "/pid":
            self.answer(200, b"%d\n" % os.getpid())
        elif url.path.startswith("/status/"):
            sleep_as_asked(ms)
            self.answer(int(url.path[8:]), b"as asked\n")
        else:
            self.answer(200, b"fast\n")

    do_GET = do_POST = do_HEAD = do_PUT = serve


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
