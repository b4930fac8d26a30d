"""A local web server that counts what is asked for and can misbehave."""

import functools
import http.server
import os
import re
import threading
from contextlib import contextmanager


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, whole or in part; what is asked for is counted, and may go wrong."""

    def do_HEAD(self):
        self._answer(has_body=False)

    def do_GET(self):
        self._answer(has_body=True)

    def _answer(self, has_body):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            content = file.read()
        size, start, end = len(content), 0, len(content)
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(found[1]), min(int(found[2] or size) + 1, size)
        part = self.server.fault(self.path, content[start:end]) if has_body else b""
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if has_body:
            self.server.asked.append((self.path, len(part)))
            self.wfile.write(part)
            if len(part) < end - start:
                self.close_connection = True

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder):
    """A server of a folder, with its `url`, what was `asked` (paths and bytes), and a `fault` that changes answers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.folder, server.asked, server.fault = folder, [], lambda path, content: content
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
