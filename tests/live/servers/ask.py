# SPDX-License-Identifier: MIT
"""A server whose GET /ask asks somebody else, who takes 1.5 s. What is not a real server
says its first bytes here, in a process of its own, and then nothing.

usage: ask.py PORT postgres|redis|mysql|dns PORT-OF-THAT
"""
import os
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

PORT, WHAT, OTHER = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def connection():
    return socket.create_connection(("127.0.0.1", OTHER), timeout=None)


def postgres():
    held.execute("SELECT pg_sleep(1.5), 'hunter2' AS a")


def redis():
    held.sendall(b"*3\r\n$5\r\nBLPOP\r\n$4\r\njobs\r\n$3\r\n1.5\r\n")
    held.recv(100)


def mysql():
    with connection() as sock:
        sock.recv(100)
        sock.sendall(b"\x20\x00\x00\x01" + b"\x8d\xa6\x0f\x00" + b"\x00" * 28)
        sock.recv(100)
        statement = b"SELECT SLEEP(1.5)"
        sock.sendall(bytes([len(statement) + 1, 0, 0, 0, 3]) + statement)
        sock.recv(100)


def mysql_server():
    with socket.create_server(("127.0.0.1", OTHER)) as server:
        ready()
        while True:
            sock = server.accept()[0]
            greeting = b"\x0a5.5.5-10.11\0" + b"\x01\0\0\0" + b"salt" * 3
            sock.sendall(bytes([len(greeting), 0, 0, 0]) + greeting)
            sock.recv(100)
            sock.sendall(b"\x07\0\0\x02\0\0\0\x02\0\0\0")
            sock.recv(100)
            time.sleep(1.5)
            sock.close()


def dns():
    name = b"".join(bytes([len(part)]) + part for part in (b"shop", b"example")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.99", 53))
        sock.send(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1")
        sock.recv(100)


def dns_server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.99", 53))
        ready()
        while True:
            query, client = sock.recvfrom(512)
            time.sleep(1.5)
            sock.sendto(query, client)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ask":
            globals()[WHAT]()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


held = None
if WHAT == "postgres":
    import psycopg2
    held = psycopg2.connect(host="127.0.0.1", port=OTHER, user="postgres", dbname="postgres").cursor()
elif WHAT == "redis":
    held = connection()
else:
    reading, writing = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:
        import ctypes
        import signal
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # with its parent
        ready = lambda: os.write(writing, b"1")  # noqa: E731
        globals()[WHAT + "_server"]()
    os.read(reading, 1)
HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
