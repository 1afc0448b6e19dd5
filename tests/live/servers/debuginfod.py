# SPDX-License-Identifier: MIT
"""What a debuginfod server says of one folder: BUILDID.debug under /buildid/BUILDID/debuginfo.
Usage: debuginfod.py PORT FOLDER. With a file 'slow' in the folder an answer never ends."""
import http.server
import os
import re
import sys
import time

FOLDER = sys.argv[2]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        match = re.fullmatch(r"/buildid/([0-9a-f]+)/debuginfo", self.path)
        path = os.path.join(FOLDER, match.group(1) + ".debug") if match else ""
        if not os.path.exists(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            data = file.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:100])
        self.wfile.flush()
        while os.path.exists(os.path.join(FOLDER, "slow")):
            time.sleep(0.05)
        self.wfile.write(data[100:])


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
