# SPDX-License-Identifier: MIT
"""A WSGI application: /work?ms=N takes N ms and answers with the id of its thread."""
import threading
import time
import urllib.parse


def app(environ, start_response):
    time.sleep(int(dict(urllib.parse.parse_qsl(environ["QUERY_STRING"])).get("ms", 0)) / 1000)
    body = str(threading.get_native_id()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
