# SPDX-License-Identifier: MIT
"""A closed loop of keep-alive connections that counts: each sends its next request when the
answer to the last is whole. It checks every answer. Orders come on standard input:
  count   prints 'ANSWERED SENT UNANSWERED'
  end     no more is sent; when all is answered, the same, and it ends
A connection that the server closes is replaced; what was sent on it is unanswered then.
usage: load.py PORT CONNECTIONS [-p DEPTH] PATH...   (DEPTH: so many requests in one write)
"""
import os
import selectors
import socket
import sys


class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.due = 0
        self.last = False  # no more on this one

    def take(self):
        """How many whole answers are there now?"""
        n = 0
        while (end := self.buf.find(b"\r\n\r\n")) >= 0:
            head = self.buf[:end].lower()
            if not head.startswith(b"http/1.1 200"):
                sys.exit(f"load: a wrong answer: {head[:60]}")
            self.last |= b"connection: close" in head
            at = head.find(b"content-length:")
            if at >= 0:
                size = end + 4 + int(head[at + 15:].split(b"\r\n")[0])
            else:
                last = self.buf.find(b"0\r\n\r\n", end + 4)
                size = last + 5 if last >= 0 else len(self.buf) + 1
            if len(self.buf) < size:
                break
            self.buf = self.buf[size:]
            n += 1
        return n


def main():
    args = sys.argv[1:]
    port, count = int(args[0]), int(args[1])
    depth = 1
    if args[2] == "-p":
        depth = int(args[3])
        args = args[2:]
    paths = args[2:]
    sel = selectors.DefaultSelector()
    os.set_blocking(0, False)
    sel.register(0, selectors.EVENT_READ)
    answered = sent = unanswered = 0
    ending = False

    def ask(c):
        nonlocal sent
        text = b""
        for _ in range(depth):
            text += f"GET {paths[sent % len(paths)]} HTTP/1.1\r\nHost: load.example\r\nUser-Agent: load\r\n\r\n".encode()
            sent += 1
        c.due = depth
        c.sock.sendall(text)

    for _ in range(count):
        c = Connection(port)
        sel.register(c.sock, selectors.EVENT_READ, c)
        ask(c)
    print("ready", flush=True)
    while True:
        for key, _ in sel.select():
            c = key.data
            if c is None:
                order = os.read(0, 100)
                if b"count" in order:
                    print(answered, sent, unanswered, flush=True)
                if b"end" in order or not order:
                    ending = True
                    sel.unregister(0)
                continue
            try:
                data = c.sock.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                unanswered += c.due
                sel.unregister(c.sock)
                c.sock.close()
                if not ending:
                    c = Connection(port)
                    sel.register(c.sock, selectors.EVENT_READ, c)
                    ask(c)
                continue
            c.buf += data
            n = c.take()
            answered += n
            c.due -= n
            if c.last:  # the rest of a pipeline was not taken
                unanswered += c.due
                c.due = 0
            elif c.due == 0 and not ending:
                ask(c)
        if ending and answered + unanswered == sent:
            break
    print(answered, sent, unanswered, flush=True)


main()
