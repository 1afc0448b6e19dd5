# SPDX-License-Identifier: MIT
"""A server and a client in one that know the truth. Each case is a script for one
connection: what the client sends, in pieces, what the server answers, in pieces, and how
many requests that are. The server reads what was sent whole before it answers; who reads
and writes how is chosen per case. Usage: exact.py serve PORT | run PORT CASE...
"""
import os
import socket
import struct
import sys

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
HOST = b" HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /g" + HOST + b"\r\n"


def post(head, body):
    return b"POST /p" + HOST + head + b"\r\n\r\n" + body


def record(kind, content, pad=0, request=1):
    return struct.pack(">BBHHBB", 1, kind, request, len(content), pad, 0) + content + b"p" * pad


def fastcgi(uri, request=1):
    pairs = b"".join(bytes([len(k), len(v)]) + k + v for k, v in
                     ((b"REQUEST_METHOD", b"GET"), (b"REQUEST_URI", uri)))
    return [record(1, b"\0\1\1\0\0\0\0\0", 0, request),
            record(4, pairs, 3, request), record(4, b"", 0, request), record(5, b"", 0, request)]


FCGI_OK = record(6, b"Status: 200 OK\r\n\r\nhello there\n", 5) + record(6, b"") + record(3, b"\0" * 8)


def cut(data, every):
    return [data[i:i + every] for i in range(0, len(data), every)]


# NAME: (rounds of (client's pieces, server's pieces), verdicts it must give, how)
# A round: all pieces are sent and read, then the answer is written. Verdicts: c complete,
# g gap, i inferred, a aborted, q refused by the queue, u unseen.
CASES = {}


def case(name, rounds, verdicts, close=True):
    CASES[name] = (rounds, verdicts, close)


def plain(name, request, reply=OK, verdicts="c", before=1):
    """... and a plain one behind it on the same connection, which must not suffer."""
    case(name, [([request] if isinstance(request, bytes) else request,
                 [reply] if isinstance(reply, bytes) else reply), ([GET], [OK])], verdicts + "c")


LONG = b"GET /long" + HOST + b"Cookie: " + b"c" * 9000 + b"\r\nX: y\r\n\r\n"
LONG_POST = b"POST /long" + HOST + b"Cookie: " + b"c" * 5000 + b"\r\nContent-Length: 28\r\n\r\n" + b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"

plain("get", GET)
plain("empty-lines", b"\r\n\r\n" + GET)
plain("bare-lf", b"GET /l HTTP/1.1\nHost: a\n\n")
plain("length-lf", b"POST /l HTTP/1.1\nContent-Length: 5\n\nGET /")
plain("body-like-request", post(b"Content-Length: %d" % len(SMUGGLED), SMUGGLED))
plain("body-like-request-cut", [post(b"Content-Length: %d" % len(SMUGGLED), b""), SMUGGLED])
plain("length-cased", post(b"cOnTeNt-LeNgTh:5", b"GET /"))
plain("length-blanks", post(b"Content-Length:  \t 5 \t ", b"GET /"))
plain("length-zeros", post(b"Content-Length: 0000005", b"GET /"))
plain("length-none", post(b"X: y", b""))
plain("length-zero", post(b"Content-Length: 0", b""))
plain("length-twice-same", post(b"Content-Length: 5\r\nContent-Length: 5", b"GET /"))
plain("not-a-length", post(b"X-Content-Length: 5", b""))
plain("not-a-coding", post(b"Transfer-Foo: chunked\r\nContent-Length: 5", b"GET /"))
plain("chunked", post(b"Transfer-Encoding: chunked", b"5\r\nGET /\r\n0\r\n\r\n"))
plain("chunked-hex", post(b"transfer-encoding: Chunked", b"00001A\r\n" + b"a" * 26 + b"\r\n000a\r\n" + b"0\r\n\r\n0\r\n\r\n" + b"\r\n0000\r\n\r\n"))
plain("chunked-last-inside", post(b"Transfer-Encoding: chunked", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"))
plain("chunked-extension", post(b"Transfer-Encoding: chunked", b"5;a=b;c=\"d\"\r\nGET /\r\n0;last\r\n\r\n"))
plain("chunked-trailers", post(b"Transfer-Encoding: chunked", b"5\r\nGET /\r\n0\r\nA: b\r\nGET / HTTP/1.1\r\n\r\n"))
plain("chunked-gzip", post(b"Transfer-Encoding: gzip, chunked", b"5\r\nGET /\r\n0\r\n\r\n"))
plain("chunked-lf", post(b"Transfer-Encoding: chunked", b"5\nGET /\n0\n\n"))
plain("chunked-cut", cut(post(b"Transfer-Encoding: chunked", b"1c;x\r\n" + SMUGGLED + b"\r\n0\r\nT: u\r\n\r\n"), 1))
plain("chunked-many", post(b"Transfer-Encoding: chunked", b"1\r\nG\r\n" * 300 + b"0\r\n\r\n"))
plain("long-head", LONG)
plain("long-head-post", LONG_POST)
plain("long-head-cut", cut(LONG_POST, 997))
plain("many-lines", b"GET /m" + HOST + b"A: b\r\n" * 300 + b"\r\n")
plain("folded", b"GET /f" + HOST + b"X: y\r\n z\r\n\r\n")
plain("head", b"HEAD /h" + HOST + b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
plain("head-chunked", b"HEAD /h" + HOST + b"\r\n", CHUNKED)
plain("204", GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n")
plain("304", GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n")
plain("103-200", GET, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
plain("103-folded", GET, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n y\r\n\r\n" + OK)
plain("100-200", post(b"Content-Length: 5", b"GET /"), [b"HTTP/1.1 100 Continue\r\n\r\n", OK])
plain("reply-cut", GET, cut(OK, 1))
plain("reply-chunked", GET, CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
plain("reply-chunked-last-inside", GET, [CHUNKED, b"7\r\n\r\n0\r\n\r\n\r\n", b"0\r\nA: b\r\n\r\n"])
plain("reply-chunked-cut", GET, cut(CHUNKED + b"02;x\r\nok\r\n0\r\nT: u\r\n\r\n", 1))
plain("reply-long-head", GET, b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"s" * 7000 + b"\r\nContent-Length: 30\r\n\r\n" + b"HTTP/1.1 500 no\r\n\r\n0123456789\n")
plain("reply-body-like-reply", GET, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK) + OK)
plain("old-keep-alive", b"GET /o HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
case("close-delimited", [([GET], [CLOSE + b"HTTP/1.1 200 OK\r\n\r\n", b"more"])], "c")
case("old", [([b"GET /o HTTP/1.0\r\n\r\n"], [b"HTTP/1.0 200 OK\r\n\r\nbody"])], "c")
case("coded-reply", [([GET], [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nxyz"])], "c")
case("upgrade", [([b"GET /u" + HOST + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n"],
                  [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"]), ([GET], [OK])], "c")
case("connect", [([b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"], [b"HTTP/1.1 200 OK\r\n\r\n"]), ([GET], [OK])], "c")
plain("connect-refused", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 403 no\r\nContent-Length: 2\r\n\r\nno")
case("aborted", [([GET], [b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"])], "a")
# What servers read in two ways, or refuse: a gap, never a guess told as sure.
for name, head in (("lengths-differ", b"Content-Length: 5\r\nContent-Length: 6"),
                   ("length-list", b"Content-Length: 5, 6"), ("length-plus", b"Content-Length: +5"),
                   ("length-hex", b"Content-Length: 0x5"), ("length-folded", b"Content-Length:\r\n 5"),
                   ("length-blank-colon", b"Content-Length : 5"), ("length-huge", b"Content-Length: 99999999999999999999999"),
                   ("coding-unknown", b"Transfer-Encoding: xchunked"),
                   ("coding-control", b"Transfer-Encoding: \x0bchunked"),
                   ("coding-behind", b"Transfer-Encoding: chunked, identity")):
    case(name, [([post(head, b"")], [b"HTTP/1.1 400 no\r\nContent-Length: 2\r\n\r\nno"])], "g")
case("length-and-coding", [([post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")], [OK])], "g")
case("chunk-no-size", [([post(b"Transfer-Encoding: chunked", b"\r\nxyz")], [b"HTTP/1.1 400 no\r\nContent-Length: 2\r\n\r\nno"])], "g")
case("pipelined-2", [([GET * 2], [OK * 2])], "cc")
case("pipelined-8", [([GET * 8], [OK] * 8)], "c" * 8)
case("pipelined-bodies", [([post(b"Content-Length: 5", b"GET /") * 3 + post(b"Transfer-Encoding: chunked", b"5\r\nGET /\r\n0\r\n\r\n") + GET],
                           [OK * 2, OK + CHUNKED + b"2\r\nok\r\n0\r\n\r\n", OK])], "ccccc")
case("pipelined-20", [([GET * 20], [OK * 20]), ([GET], [OK])], "c" * 8 + "q" * 12 + "c")
case("pipelined-64", [([GET * 64], [OK * 64]), ([GET], [OK])], "c" * 8 + "q" * 56 + "c")
case("pipelined-400", [([GET * 400], [OK * 200] * 2), ([GET], [OK])], "c" * 8 + "q" * 392 + "c")
case("pipelined-20-cut", [(cut(GET * 20, 13), cut(OK * 20, 11)), ([GET], [OK])], "c" * 8 + "q" * 12 + "c")
case("pipelined-20-heads", [([(GET + b"HEAD /h" + HOST + b"\r\n") * 10],
                             [(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n") * 10]), ([GET], [OK])],
     "c" * 8 + "q" * 12 + "c")
case("not-asked-for-5", [([GET], [OK * 6])], "cuuuuu")
case("not-asked-for", [([GET], [OK + OK])], "cu")
FCGI = b"".join(fastcgi(b"/f"))
case("fastcgi", [(fastcgi(b"/f"), [FCGI_OK])], "c")
case("fastcgi-keep", [([FCGI], [FCGI_OK])] * 3, "ccc")
case("fastcgi-reply-cut", [(fastcgi(b"/f"), cut(FCGI_OK, 1))] * 2, "cc")
case("fastcgi-end-inside", [([FCGI], [record(6, b"Status: 500 no\r\n\r\n" + record(3, b"\0" * 8)), record(3, b"\0" * 8)])] * 2, "cc")
case("fastcgi-stderr", [([FCGI], [record(7, b"a warning of PHP, long enough", 3) + FCGI_OK])] * 2, "cc")
case("fastcgi-stdin", [([b"".join(fastcgi(b"/f")[:3]) + record(5, record(1, b"\0\1\1\0\0\0\0\0") * 9) + record(5, b"")], [FCGI_OK])] * 2, "cc")
for at in range(8, len(GET)):
    plain(f"split-{at}", [GET[:at], GET[at:]])
for at in range(1, 8):
    plain(f"split-{at}", [GET[:at], GET[at:]])
SPLIT = post(b"Content-Length: 5\r\nX: y", b"GET /")
for at in range(1, len(SPLIT)):
    plain(f"split-post-{at}", [SPLIT[:at], SPLIT[at:]])
for at in range(1, len(OK)):
    plain(f"split-reply-{at}", GET, [OK[:at], OK[at:]])


def reads(sock, how, want):
    """Reads want bytes in one way of four; peeks first now and then."""
    got = 0
    while got < want:
        if how & 4:
            sock.recv(3, socket.MSG_PEEK)
        left = want - got
        kind = how & 3
        if kind == 0:
            n = len(sock.recv(left))
        elif kind == 1:
            n = len(os.read(sock.fileno(), left))
        else:
            parts = [bytearray(1), bytearray(7), bytearray(left)] # nothing was sent beyond the piece
            n = os.readv(sock.fileno(), parts) if kind == 2 else sock.recvmsg_into(parts)[0]
        if not n:
            raise EOFError
        got += n


def writes(sock, how, data):
    parts = [data[:1], data[1:9], data[9:]]
    kind = how & 3
    if kind == 0:
        sock.sendall(data)
    elif kind == 1:
        while data:
            data = data[os.write(sock.fileno(), data):]
    elif kind == 2:
        assert os.writev(sock.fileno(), parts) == len(data)
    else:
        assert sock.sendmsg(parts) == len(data)


def serve(conn, case_name, how):
    rounds, _, _ = CASES[case_name]
    with conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pieces, answer in rounds:
            for piece in pieces:
                reads(conn, how, len(piece))
                conn.control.send(b"r")  # the next piece may come: separate reads
            for part in answer:
                writes(conn, how, part)
            conn.control.send(b"a")


class Watched(socket.socket):
    control = None


def server(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    path = os.environ["EXACT_CONTROL"]
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    while True:
        ctl, _ = unix.accept()
        order = b""
        while not order.endswith(b"\n"):
            got = ctl.recv(200)
            if not got:
                break
            order += got
        if not order:
            continue
        name, how = order.decode().split()
        plain_conn, _ = listener.accept()
        conn = Watched(fileno=plain_conn.detach())
        conn.control = ctl
        try:
            serve(conn, name, int(how))
        except (EOFError, OSError):
            pass
        ctl.close()


def run(port, names):
    total = {}
    for number, name in enumerate(names):
        rounds, verdicts, _ = CASES[name]
        ctl = socket.socket(socket.AF_UNIX)
        ctl.connect(os.environ["EXACT_CONTROL"])
        ctl.sendall(f"{name} {number % 8}\n".encode())
        c = socket.create_connection(("127.0.0.1", port))
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pieces, answer in rounds:
            for piece in pieces:
                c.sendall(piece)
                if ctl.recv(1) != b"r":
                    sys.exit(f"{name}: the server did not read it")
            want = sum(map(len, answer))
            while want:
                got = len(c.recv(want))
                if not got:
                    sys.exit(f"{name}: the answer is short")
                want -= got
            if ctl.recv(1) != b"a":
                sys.exit(f"{name}: no answer")
        while c.recv(100):
            pass
        c.close()
        ctl.close()
        for v in verdicts:
            total[v] = total.get(v, 0) + 1
    print(" ".join(f"{k}{total.get(k, 0)}" for k in "cgiaqu"))


if __name__ == "__main__":
    if sys.argv[1] == "list":
        print("\n".join(CASES))
    elif sys.argv[1] == "serve":
        server(int(sys.argv[2]))
    else:
        run(int(sys.argv[2]), sys.argv[3:] or list(CASES))
