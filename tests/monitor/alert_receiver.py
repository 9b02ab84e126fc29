"""A real HTTP server on loopback that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    def __enter__(self):
        self.posts: list[dict] = []
        self.pings = 0
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    outer.posts.append(json.loads(content))
                self._answer()

            def do_GET(self):
                outer.pings += 1
                self._answer()

            def _answer(self):
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        port = self._server.server_address[1]
        self.alert_url = f"json://user:s3cret@127.0.0.1:{port}/alerts"
        self.ping_url = f"http://127.0.0.1:{port}/ping/s3cret"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def titles(self):
        return [post["title"] for post in self.posts]
