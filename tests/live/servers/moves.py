# SPDX-License-Identifier: MIT
"""A server whose bodies are moved, not written: moves.py PORT FILE
  /sendfile  the file by sendfile(2)          /splice  by way of a pipe, splice(2)
  /upload    reads the body that was sent by splice(2), and tells its length
"""
import http.server
import os
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 0  # no byte more than what is asked for

    def log_message(self, *args):
        pass

    def head(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self):
        with open(sys.argv[2], "rb") as file:
            left = os.fstat(file.fileno()).st_size
            self.head(left)
            out, (read_end, write_end) = self.connection.fileno(), os.pipe()
            at = 0
            while left:
                if self.path.startswith("/sendfile"):
                    n = os.sendfile(out, file.fileno(), at, left)
                else:
                    n = held = os.splice(file.fileno(), write_end, min(left, 65536))
                    while held:
                        held -= os.splice(read_end, out, held)
                at += n
                left -= n
            os.close(read_end)
            os.close(write_end)

    def do_POST(self):
        left, got = int(self.headers["Content-Length"]), 0
        read_end, write_end = os.pipe()
        while left:
            n = os.splice(self.connection.fileno(), write_end, min(left, 65536))
            got += len(os.read(read_end, n))
            left -= n
        os.close(read_end)
        os.close(write_end)
        body = b"%d\n" % got
        self.head(len(body))
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
