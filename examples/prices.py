"""A small service with a leak that is not its own: the walk in docs/guide.md follows it.

needs:  CPython 3.10 and frozendict 2.3.2, built with debug information:
        CFLAGS="-g -O2" pip install --no-binary :all: frozendict==2.3.2
run:    leaktrack run --python -- python3 examples/prices.py
load:   while curl -s localhost:8080/ >/dev/null; do :; done

What leaktrack must report: frozendict_new_barebone in _frozendict.so, growing, 72 bytes in one
block for each empty dictionary, 150 of them per request.
"""
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from frozendict import frozendict

RULES = [("rule%d" % n, {} if n % 4 else {"factor": n}) for n in range(200)]


class Prices(BaseHTTPRequestHandler):
    def do_GET(self):
        total = 0
        for name, options in RULES:
            options = frozendict(options)
            total += len(name) * options.get("factor", 1)
        body = b"%d\n" % total
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", 8080), Prices).serve_forever()
