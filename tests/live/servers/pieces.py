# SPDX-License-Identifier: MIT
"""Replies whose heads lie in many buffers, as some servers write them, to requests of any method:
pieces.py PORT
  /N[?status=S]  the head has N headers; name, ': ', value and line end each lie in a buffer of their own
"""
import os
import re
import socket
import sys
import threading


def reply(path):
    count, status = int(re.match(r"/(\d+)", path)[1]), re.search(r"status=(\d+)", path)
    parts = [b"HTTP/1.1 ", status[1].encode() if status else b"200", b" As asked", b"\r\n"]
    for name, value in [(f"X-Header-{i}", f"value {i}") for i in range(count)] + [("Content-Length", "5")]:
        parts += [name.encode(), b": ", value.encode(), b"\r\n"]
    return parts + [b"\r\n", b"body\n"]


def serve(connection):
    kept = b""
    while True:
        while b"\r\n\r\n" not in kept:
            piece = connection.recv(65536)
            if not piece:
                connection.close()
                return
            kept += piece
        head, kept = kept.split(b"\r\n\r\n", 1)
        parts = reply(head.split()[1].decode())
        if os.writev(connection.fileno(), parts) != sum(map(len, parts)):
            sys.exit("pieces: a short write")


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
