# SPDX-License-Identifier: MIT
"""A load client with exact control of what goes over the socket. It checks every
answer itself: a wrong one is exit code 1.

usage: client.py PORT COMMAND [ARGS]
  get PATH...                    one connection, one request after the other
  repeat PATH N                  the same, N times the same path, '&id=' added; prints nothing
  status PATH                    prints the status and the time in ms
  unchanged PATH                 asks, then again with the answer's ETag: 304
  head PATH / post PATH BYTES / post-chunked PATH BYTES
  post-expect PATH BYTES         waits for '100 Continue' before the body
  post-half PATH BYTES           closes after half of the body
  old PATH                       HTTP/1.0: the answer ends with the connection
  long-head PATH BYTES           a Cookie of that size; then PATH?next on the same connection
  pipeline PATH...               all heads in one write, then all answers
  split PATH PIECES              the head in so many writes, each read before the next
  mixed TOTAL SLOW CONNECTIONS MS  /fast and /slow?ms= in random order over keep-alive
                                 connections; prints the slow URLs, each unique
  concurrent PATH N              N connections, one request each, all at once
  bodies PATH N                  the same; prints 'URL BODY' for each
  idle CONNECTIONS PATH          a request on each, 'ready', then keeps them open until stdin ends
  halves UPLOAD CHUNKED          half of an upload sent, half of an answer had, 'half'; the rest
                                 when stdin ends, and one request behind the upload
  unread SPIN PATH               while the server is busy with SPIN: PATH?old on an older connection,
                                 PATH?new on a new one; prints how many ms each took
  uploads PATH BYTES COUNT       so many on one connection; each answer is the number of bytes
  trickle PATH PIECES MS         the head in so many writes with MS between two, then its answer
  trickle-body PATH PIECES MS    the same with a body of 1000 bytes each
  abort PATH                     sends the request, 'sent', closes when stdin ends
"""
import random
import socket
import sys
import threading
import time


class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")
        self.etag = None

    def send(self, method, path, headers=(), body=b""):
        head = [f"{method} {path} HTTP/1.1", "Host: shop.example", *headers]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self.sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def answer(self, method="GET"):
        line = self.file.readline()
        if not line:
            raise EOFError("the server closed the connection")
        status = int(line.split()[1])
        headers = {}
        while (line := self.file.readline().strip()):
            key, value = line.split(b":", 1)
            headers[key.strip().lower()] = value.strip()
        self.etag = headers.get(b"etag")
        if method == "HEAD" or status in (204, 304) or status < 200:
            return status, b""
        if headers.get(b"transfer-encoding") == b"chunked":
            parts = []
            while size := int(self.file.readline(), 16):
                parts.append(self.file.read(size))
                self.file.readline()
            self.file.readline()
            return status, b"".join(parts)
        if b"content-length" in headers:
            return status, self.file.read(int(headers[b"content-length"]))
        return status, self.file.read()

    def ask(self, path, method="GET", headers=(), body=b""):
        self.send(method, path, headers, body)
        return self.answer(method)

    def close(self):
        self.file.close()
        self.sock.close()


def check(ok, what):
    if not ok:
        sys.exit(f"client: {what}")


def get(port, *paths):
    c = Connection(port)
    for path in paths:
        status, body = c.ask(path)
        sys.stdout.write(f"{status} {len(body)} {body[:60].decode(errors='replace').strip()}\n")


def repeat(port, path, count):
    c = Connection(port)
    for i in range(int(count)):
        code, _ = c.ask(f"{path}{'&' if '?' in path else '?'}id={i}")
        check(code == 200, f"{path}: {code}")


def unchanged(port, path):
    c = Connection(port)
    c.send("GET", path)
    code, _ = c.answer()
    check(code == 200 and c.etag, f"{path}: {code}, no ETag")
    code, body = c.ask(path, headers=[f"If-None-Match: {c.etag.decode()}"])
    check(code == 304 and body == b"", f"{path}: {code} for an ETag that is right")


def status(port, path):
    began = time.monotonic()
    code, _ = Connection(port).ask(path)
    print(code, round((time.monotonic() - began) * 1000))


def head(port, path):
    c = Connection(port)
    first = c.ask(path, "HEAD")
    check(first[0] == 200, f"HEAD {path}: {first[0]}")
    print(*first)


def post(port, path, size):
    data = random.randbytes(int(size))
    code, body = Connection(port).ask(path, "POST", body=data)
    check(code == 200 and body == data, f"POST {path}: {code}, {len(body)} bytes back")


def post_chunked(port, path, size):
    data = random.randbytes(int(size))
    c = Connection(port)
    c.send("POST", path, ["Transfer-Encoding: chunked"])
    for at in range(0, len(data), 4000):
        part = data[at:at + 4000]
        c.sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    c.sock.sendall(b"0\r\n\r\n")
    code, body = c.answer()
    check(code == 200 and body == data, f"POST {path}: {code}, {len(body)} bytes back")


def post_expect(port, path, size):
    data = random.randbytes(int(size))
    c = Connection(port)
    c.send("POST", path, ["Expect: 100-continue", f"Content-Length: {len(data)}"])
    code, _ = c.answer()
    check(code == 100, f"POST {path}: {code}, not 100")
    c.sock.sendall(data)
    code, body = c.answer()
    check(code == 200 and body == data, f"POST {path}: {code}, {len(body)} bytes back")


def post_half(port, path, size):
    c = Connection(port)
    c.send("POST", path, [f"Content-Length: {size}"])
    c.sock.sendall(random.randbytes(int(size) // 2))
    c.close()


def old(port, path):
    c = Connection(port)
    c.sock.sendall(f"GET {path} HTTP/1.0\r\nHost: shop.example\r\n\r\n".encode())
    code, body = c.answer()
    check(code == 200 and body, f"{path}: {code}, {len(body)} bytes")


def long_head(port, path, size):
    c = Connection(port)
    code, _ = c.ask(path, headers=[f"Cookie: {'c' * int(size)}"])
    check(code == 200, f"{path} with a long head: {code}")
    code, _ = c.ask(path + "?next")
    check(code == 200, f"{path}?next: {code}")


def pipeline(port, *paths):
    c = Connection(port)
    c.sock.sendall(b"".join(f"GET {p} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode() for p in paths))
    for path in paths:
        code, _ = c.answer()
        check(code == 200, f"pipelined {path}: {code}")


def split(port, path, pieces):
    text = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nX-Long: {'x' * 300}\r\n\r\n".encode()
    cuts = sorted(random.sample(range(5, len(text)), int(pieces) - 2))
    cuts = [0, 2, *cuts, len(text)]  # inside the method, then anywhere
    c = Connection(port)
    for a, b in zip(cuts, cuts[1:]):
        c.sock.sendall(text[a:b])
        time.sleep(0.02)  # the stimulus itself: separate reads on the other side
    code, _ = c.answer()
    check(code == 200, f"split {path}: {code}")


def mixed(port, total, slow, connections, ms):
    total, slow, connections = int(total), int(slow), int(connections)
    paths = [f"/slow?ms={ms}&id={i}" for i in range(slow)] + [f"/fast?id={i}" for i in range(total - slow)]
    random.shuffle(paths)
    lock, wrong = threading.Lock(), []

    def one():
        c = Connection(port)
        while True:
            with lock:
                if not paths:
                    break
                path = paths.pop()
            code, body = c.ask(path)
            if code != 200 or body != path[1:5].encode() + b"\n":
                wrong.append((path, code, body))
        c.close()

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, f"wrong answers: {wrong[:3]}")
    for i in range(slow):
        print(f"/slow?ms={ms}&id={i}")


def concurrent(port, path, count):
    connections = [Connection(port) for _ in range(int(count))]
    for i, c in enumerate(connections):
        c.send("GET", f"{path}{'&' if '?' in path else '?'}id={i}")
    for c in connections:
        code, _ = c.answer()
        check(code == 200, f"{path}: {code}")


def bodies(port, path, count):
    paths = [f"{path}{'&' if '?' in path else '?'}id={i}" for i in range(int(count))]
    connections = [Connection(port) for _ in paths]
    for c, one in zip(connections, paths):
        c.send("GET", one)
    for c, one in zip(connections, paths):
        code, body = c.answer()
        check(code == 200, f"{one}: {code}")
        print(one, body.decode().strip())


def idle(port, connections, path):
    kept = [Connection(port) for _ in range(int(connections))]
    for c in kept:
        code, _ = c.ask(path)
        check(code == 200, f"{path}: {code}")
    print("ready", flush=True)
    sys.stdin.read()
    for c in kept:  # still of use
        code, _ = c.ask(path)
        check(code == 200, f"{path} after a rest: {code}")


def halves(port, upload, chunked):
    half, other = Connection(port), Connection(port)
    half.sock.sendall(f"POST {upload} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000\r\n\r\n".encode() + b"h" * 500)
    other.send("GET", chunked)
    first = other.file.readline()
    check(first == b"HTTP/1.1 200 OK\r\n", f"{chunked}: {first}")
    while b"two" not in (line := other.file.readline()):
        check(line, f"{chunked}: it ends")
    print("half", flush=True)
    sys.stdin.read()
    half.sock.sendall(b"h" * 500)
    code, body = half.answer()
    check(code == 200 and body == b"h" * 1000, f"{upload}: {code}, {len(body)} bytes")
    code, _ = half.ask("/fast?then")
    check(code == 200, f"{upload} and then: {code}")
    rest = other.file.readline() + other.file.readline() + other.file.readline()
    check(b"three" in rest, f"{chunked}: {rest}")


def unread(port, spin, path):
    busy, old = Connection(port), Connection(port)
    old.ask("/fast")
    busy.send("GET", spin)
    time.sleep(0.15)  # the stimulus itself: by now the server is busy
    new = Connection(port)
    began = time.monotonic()
    for c in old, new:
        c.send("GET", f"{path}?{'old' if c is old else 'new'}")
    for c in old, new:
        c.answer()
        print(round((time.monotonic() - began) * 1000))
    busy.answer()


def uploads(port, path, size, count):
    c = Connection(port)
    for _ in range(int(count)):
        code, body = c.ask(path, "POST", body=b"u" * int(size))
        check(code == 200 and body == b"%d\n" % int(size), f"POST {path}: {code}, {body[:40]}")


def trickle(port, path, pieces, ms):
    c = Connection(port)
    text = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()
    step = len(text) // int(pieces) + 1
    for at in range(0, len(text), step):
        c.sock.sendall(text[at:at + step])
        time.sleep(int(ms) / 1000 if at + step < len(text) else 0)
    print(c.answer()[0])


def trickle_body(port, path, pieces, ms):
    c = Connection(port)
    c.send("POST", path, [f"Content-Length: {1000 * int(pieces)}"])
    for _ in range(int(pieces)):
        time.sleep(int(ms) / 1000)
        c.sock.sendall(b"t" * 1000)
    print(c.answer()[0])


def abort(port, path):
    c = Connection(port)
    c.send("GET", path)
    print("sent", flush=True)
    sys.stdin.read()
    c.close()


COMMANDS = {f.__name__.replace("_", "-"): f for f in
            (get, repeat, unchanged, status, head, post, post_chunked, post_expect, post_half, old, long_head,
             pipeline, split, mixed, concurrent, bodies, idle, halves, unread, uploads, trickle,
             trickle_body, abort)}

if len(sys.argv) < 3 or sys.argv[2] not in COMMANDS:
    sys.exit(__doc__)
try:
    COMMANDS[sys.argv[2]](int(sys.argv[1]), *sys.argv[3:])
except (OSError, EOFError, ValueError) as e:
    sys.exit(f"client: {sys.argv[2]}: {e}")
