# SPDX-License-Identifier: MIT
"""A threaded server with a stopwatch of its own: every scene takes the time it is asked for, says
how long by its own clock, and answers only when the last byte of its standard input says so.

usage: stopwatch.py PORT UPSTREAM-PORT FILE
  /SCENE?ms=N      sleep cpu flock file upstream child pipe futex poll
"""
import fcntl
import http.server
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

PORT, UPSTREAM, FILE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
LOCK = threading.Lock()


def sleep(s):
    time.sleep(s)


def cpu(s):
    end = time.thread_time() + s
    while time.thread_time() < end:
        sum(range(1000))


def flock(s):
    with open(FILE, "r+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)


def file(s):
    end = time.monotonic() + s
    with open(FILE + ".data", "wb") as f:
        while time.monotonic() < end:
            f.write(b"x" * 65536)
            f.flush()
            os.fsync(f.fileno())


def upstream(s):
    with socket.create_connection(("127.0.0.1", UPSTREAM)) as c:
        c.sendall(b"GET /slow?ms=%d HTTP/1.0\r\n\r\n" % (s * 1000))
        while c.recv(4096):
            pass


def poll(s):
    with socket.create_connection(("127.0.0.1", UPSTREAM)) as c:
        c.sendall(b"GET /slow?ms=%d HTTP/1.0\r\n\r\n" % (s * 1000))
        select.select([c], [], [], 10)
        while c.recv(4096):
            pass


def child(s):
    subprocess.run(["sleep", str(s)], check=True)


def pipe(s):
    subprocess.run(["sh", "-c", "sleep %s; echo done" % s], check=True, stdout=subprocess.PIPE)


def futex(s):
    LOCK.acquire()
    threading.Timer(s, LOCK.release).start()
    LOCK.acquire()
    LOCK.release()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_THREAD)
        for scene in url.path[1:].split("+"):
            globals()[scene](int(query.get("ms", 0)) / 1000)
        took, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_THREAD)
        time.sleep(int(query.get("rest", 0)) / 1000)
        body = b"%.3f %.3f %.3f\n" % (took * 1000, (now.ru_utime - used.ru_utime) * 1000,
                                      (now.ru_stime - used.ru_stime) * 1000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
