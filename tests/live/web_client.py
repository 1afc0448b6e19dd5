#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients of 'serve' that no browser would be: web_client.py head|bodies|trickle|pretend ARGUMENT..."""
import os
import select
import socket
import sys
import time


def connect(to):
    if to.isdigit():
        return socket.create_connection(("127.0.0.1", int(to)), timeout=90)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(90)
    s.connect(to)
    return s


def status(s):
    line = b""
    while b"\r\n" not in line:
        part = s.recv(4096)
        if not part:
            return "closed"
        line += part
    return line.split()[1].decode()


def head(to, line, *headers):
    """Only the head is sent: what is answered to that?"""
    s = connect(to)
    s.settimeout(5)
    s.send("\r\n".join([line + " HTTP/1.1", *headers, "", ""]).encode())
    try:
        print(status(s))
    except TimeoutError:
        print("nothing")


POST = b"POST /rules/edit HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def bodies(to):
    size = 2 << 20
    held = []
    for _ in range(4):
        s = connect(to)
        s.sendall(POST % size + b"x" * (size - 1))
        held.append(s)
    last = connect(to)
    last.settimeout(5)
    last.send(POST % size)
    try:
        first = status(last)
    except TimeoutError:
        first = "nothing"
    held[0].send(b"x")
    status(held[0])
    last = connect(to)
    last.sendall(POST % 4 + b"a=bc")
    print(first, status(last))


def trickle(port, path):
    """Each sends a byte every half second until it is hung up on."""
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    clients = {name: connect(to) for name, to in (("port", port), ("socket", path), ("second", path), ("body", path))}
    clients["port"].send(request + b"X: ")
    clients["socket"].send(request + b"X: ")
    clients["second"].send(request + b"\r\n")
    status(clients["second"])
    clients["second"].send(request + b"X: ")
    clients["body"].send(POST % 1000)
    begun = time.monotonic()
    while clients and time.monotonic() < begun + 60:
        ended = set()
        for name, s in clients.items():
            try:
                s.send(b"x")
            except OSError:
                ended.add(name)
        readable = select.select(list(clients.values()), [], [], 0.5)[0]
        for name, s in clients.items():
            if s in readable:
                ended.add(name)
        for name in ended:
            print(name, round(time.monotonic() - begun, 1), flush=True)
            clients.pop(name).close()
    sys.exit(1 if clients else 0)


def pretend(path):
    """Answers with a page, then with other JSON, then without an end."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(8)
    os.rename(path + ".new", path)
    for body in (b"<html>", b'{"a": 1}', None):
        s = listener.accept()[0]
        s.recv(4096)
        s.send(b"HTTP/1.0 200 OK\r\n\r\n" + (body or b""))
        try:
            while body is None and not select.select([s], [], [], 0.2)[0]:
                s.send(b" ")
        except OSError:
            pass
        s.close()


{"head": head, "bodies": bodies, "trickle": trickle, "pretend": pretend}[sys.argv[1]](*sys.argv[2:])
