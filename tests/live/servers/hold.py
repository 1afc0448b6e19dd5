#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Thousands of requests that are not answered: 'hold.py serve PORT' reads them and
answers all when it gets SIGUSR1; 'hold.py ask PORT COUNT' sends COUNT, each on a
connection of its own, prints 'asked', and ends when all are answered."""

import resource
import select
import signal
import socket
import sys

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def more_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(port):
    waiting, poll = {}, select.epoll()
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll.register(listener, select.EPOLLIN)

    def answer(*_):
        for conn in waiting.values():
            conn.send(REPLY)

    signal.signal(signal.SIGUSR1, answer)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                conn = listener.accept()[0]
                waiting[conn.fileno()] = conn
                poll.register(conn, select.EPOLLIN)
            elif not waiting[fd].recv(65536):
                poll.unregister(fd)
                waiting.pop(fd).close()


def ask(port, count):
    conns = []
    for i in range(count):
        conn = socket.create_connection(("127.0.0.1", port))
        conn.send(b"GET /held/%d HTTP/1.1\r\nHost: hold\r\n\r\n" % i)
        conns.append(conn)
    print("asked", flush=True)
    for conn in conns:
        conn.recv(100)


if __name__ == "__main__":
    more_files()
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(int(sys.argv[2]), int(sys.argv[3]))
