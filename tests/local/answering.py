"""A tiny process that answers: python answering.py PORT [FILE]. With FILE it answers only while that exists.

With DEAF in its environment it ignores SIGTERM.
"""

import http.server
import os
import signal
import sys

NEEDED = sys.argv[2] if len(sys.argv) > 2 else None
if "DEAF" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = NEEDED is None or os.path.exists(NEEDED)
        body = str(os.getpid()).encode()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


print(f"listening on {sys.argv[1]}", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
