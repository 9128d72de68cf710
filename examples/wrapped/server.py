"""Text statistics over plain HTTP. Knows nothing of Millrace: PORT says where to listen, GET /health says it does."""

import json
import os
import re
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def statistics(text):
    words = re.findall(r"[a-z']+", text.lower())
    # By count, then by the alphabet, so that the answer does not depend on the order of the text.
    top = sorted(Counter(words).items(), key=lambda entry: (-entry[1], entry[0]))[:5]
    return {"lines": len(text.splitlines()), "words": len(words), "top": [list(entry) for entry in top]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"status": "ok"})
        if self.path == "/":
            return self.answer(200, {"language": "python", "pid": os.getpid()})
        return self.answer(404, {"error": "there is GET /, GET /health and POST /statistics"})

    def do_POST(self):
        body = self.read_body()
        if self.path != "/statistics":
            return self.answer(404, {"error": "there is GET /, GET /health and POST /statistics"})
        return self.answer(200, statistics(body.decode("utf-8", "replace")))

    def read_body(self):
        """http.server leaves chunked bodies to us."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
