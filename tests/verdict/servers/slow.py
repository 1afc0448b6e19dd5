# SPDX-License-Identifier: MIT
"""A threaded server of slow requests, each with one cause: /CAUSE. 'ms' of the query says how long.

usage: slow.py PORT FOLDER UPSTREAM-PORT
"""
import fcntl
import gc
import hashlib
import http.server
import mmap
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse

try:
    import psycopg2
except ImportError:
    psycopg2 = None

PORT, FOLDER, UPSTREAM = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
LOCK, ORDERS, STOCK = threading.RLock(), threading.RLock(), threading.RLock()
BOTH, HAVE_ROW = threading.Barrier(2), threading.Event()
NUMBERS = [i * 7919 % 1000003 for i in range(1000000)]
DATABASE = os.environ.get("DATABASE", "")


def py_sleep(s):
    time.sleep(s)


def py_naps(s):
    """Looks again and again, as a program does that waits for a file."""
    end = time.monotonic() + s
    while time.monotonic() < end:
        time.sleep(0.02)


def py_sqlite(s):
    """Another connection is in the midst of writing."""
    path = FOLDER + "/orders.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE IF NOT EXISTS orders(id)")
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(s, lambda: other.execute("COMMIT")).start()
    sqlite3.connect(path, timeout=60).execute("SELECT count(*) FROM orders")


def py_cpu(s):
    end = time.monotonic() + s
    total = 0
    while time.monotonic() < end:
        total += sum(i * i for i in range(1000))


def rebuild_cache(s):
    with LOCK:
        time.sleep(s)


def py_lock(s):
    """Another thread has the lock, and sleeps."""
    other = threading.Thread(target=rebuild_cache, args=(s + 0.1,), name="cache")
    other.start()
    while LOCK.acquire(blocking=False):
        LOCK.release()
        time.sleep(0.001)
    with LOCK:
        pass
    other.join()


def hog(s):
    end = time.monotonic() + s
    while time.monotonic() < end:
        sum(range(100000))


def py_flock(s):
    with open(FOLDER + "/cart.lock", "r+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)


def py_fsync(s):
    with open(FOLDER + "/journal.db", "wb") as f:
        f.write(b"x" * 200000)
        f.flush()
        os.fsync(f.fileno())


def py_upstream(s):
    with socket.create_connection(("127.0.0.1", UPSTREAM)) as c:
        c.sendall(b"GET /slow?ms=%d HTTP/1.0\r\n\r\n" % (s * 1000))
        while c.recv(4096):
            pass


def py_child(s):
    subprocess.run(["sleep", str(s)], check=True)


def py_pipe(s):
    """Nobody reads the other end until much later."""
    r, w = os.pipe()
    threading.Timer(s, lambda: [os.read(r, 65536) for _ in range(4)]).start()
    os.write(w, b"x" * 65536 * 2)
    os.close(w)


def one(s):
    """Of a deadlock: takes ORDERS, then wants STOCK."""
    with ORDERS:
        BOTH.wait()
        STOCK.acquire(timeout=s)


def py_deadlock(s):
    other = threading.Thread(target=one, args=(s,), name="orders")
    other.start()
    with STOCK:
        BOTH.wait()
        ORDERS.acquire(timeout=s)
    other.join()


def number_crunch(s):
    """One step in C, that keeps the GIL."""
    end = time.monotonic() + s
    while time.monotonic() < end:
        sorted(NUMBERS)


def py_gil(s):
    other = threading.Thread(target=number_crunch, args=(s,), name="crunch")
    other.start()
    end = time.monotonic() + s
    while time.monotonic() < end:
        os.getppid()
        time.sleep(0)
    other.join()


def py_memory(s):
    """More of a file than the control group may have of it in memory, over and over."""
    with open(FOLDER + "/catalogue.bin", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        m.madvise(mmap.MADV_RANDOM)
        end = time.monotonic() + s
        while time.monotonic() < end:
            for at in range(0, len(m), 4096):
                m[at]
                if time.monotonic() >= end:
                    break


def py_slow_disk(s):
    """What is read for the first time, from a disk that gives little."""
    with open(FOLDER + "/catalogue.bin", "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        end = time.monotonic() + s
        while time.monotonic() < end and f.read(65536):
            pass


py_throttled = py_cpu


def py_gc(s):
    """A large heap, looked through again and again."""
    heap = [[i] for i in range(300000)]
    end = time.monotonic() + s
    while time.monotonic() < end:
        gc.collect()
    del heap


def py_regex(s):
    end = time.monotonic() + s
    while time.monotonic() < end:
        re.match(r"^(a+)+$", "a" * 20 + "b")


def py_logger(s):
    """Its log goes through a pipe to a program that has stopped to read."""
    logger = subprocess.Popen(["sh", "-c", "sleep $0; cat >/dev/null", str(s)], stdin=subprocess.PIPE)
    logger.stdin.write(b"GET /py_logger\n" * 10000)
    logger.stdin.close()
    logger.wait()


def hash_a_lot(s):
    """Without the GIL."""
    end = time.monotonic() + s
    block = b"x" * 4000000
    while time.monotonic() < end:
        hashlib.sha256(block)


def decoy_hot_thread(s):
    other = threading.Thread(target=hash_a_lot, args=(s,), name="hash")
    other.start()
    time.sleep(s)
    other.join()


def decoy_own_lock(s):
    """Others wait for what it holds; it sleeps."""
    with open(FOLDER + "/cart.lock", "r+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        other = subprocess.Popen(["flock", FOLDER + "/cart.lock", "true"])
        time.sleep(s)
    other.wait()


def decoy_throttled(s):
    """Its control group has used up its CPU; it sleeps."""
    other = threading.Thread(target=hash_a_lot, args=(s,), name="hash")
    other.start()
    time.sleep(s)
    other.join()


def decoy_memory(s):
    """Its control group is full; it sleeps."""
    py_memory(0.02)
    time.sleep(s)


def py_dns(s):
    try:
        socket.getaddrinfo("shop.example", 80)
    except OSError:
        pass


def py_sql(s):
    with psycopg2.connect(DATABASE) as db, db.cursor() as c:
        c.execute("SELECT pg_sleep(%s), 'report'", (s,))


def keep_the_row(s):
    with psycopg2.connect(DATABASE) as db, db.cursor() as c:
        c.execute("UPDATE stock SET n = n + 1 WHERE id = 7")
        HAVE_ROW.set()
        time.sleep(s)


def py_row_lock(s):
    other = threading.Thread(target=keep_the_row, args=(s,), name="report")
    other.start()
    HAVE_ROW.wait()
    with psycopg2.connect(DATABASE) as db, db.cursor() as c:
        c.execute("UPDATE stock SET n = n - 1 WHERE id = 7")
    other.join()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        globals()[url.path[1:]](int(query.get("ms", 700)) / 1000)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
