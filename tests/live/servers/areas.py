# SPDX-License-Identifier: MIT
"""What the areas python and query look at: areas.py PORT [libpq connection string]

  /gc      a garbage collection within the request
  /import  imports a module that was not there
  /run     starts a program
  /query   one statement through psycopg2, when it is installed
"""
import gc
import http.server
import subprocess
import sys
import time

try:
    import psycopg2
except ImportError:
    psycopg2 = None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path == "/gc":
            gc.collect()
        elif self.path == "/run":
            subprocess.run(["true"], stdin=subprocess.DEVNULL)
        elif self.path == "/import":
            import colorsys  # noqa: F401
        elif self.path == "/query" and psycopg2:
            with psycopg2.connect(sys.argv[2]) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s), %s AS word, x FROM generate_series(1, 3) x", (0.3, "s3cret"))
        time.sleep(0.3)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
