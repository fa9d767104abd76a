"""An engine with nothing inside: health, metrics, a slow start and a slow end. Run as a program.

engine_double.py PORT [--loads SECONDS] [--busy FILE] [--stubborn] [--fails] [--worker]
"""

import argparse
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main():
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--loads", type=float, default=0.0)
    parser.add_argument("--busy", type=Path)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--fails", action="store_true")
    parser.add_argument("--worker", action="store_true")
    given = parser.parse_args()
    if given.fails:
        sys.exit("no memory")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.stubborn else lambda *_: sys.exit(0))
    if given.worker:
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    begun = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            ready = time.monotonic() - begun >= given.loads
            body = b""
            if self.path == "/metrics":
                busy = given.busy.read_text() if given.busy and given.busy.exists() else "0"
                body = f"vllm:num_requests_running {busy}\nvllm:num_requests_waiting 0\n".encode()
            self.send_response(200 if ready or self.path == "/metrics" else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            print("asked", flush=True)

    print("listening", flush=True)
    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


main()
