"""A real HTTP server on loopback that serves files, and misbehaves as it is told, request by request."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """What goes wrong with one request.

    `status`: the answer, with `body` and `headers`. `after`: so many bytes come, then the connection ends, or with
    `stalls`, nothing more.
    """

    status: int = 0
    body: bytes = b"no"
    headers: dict[str, str] = field(default_factory=dict)
    after: int = -1
    stalls: bool = False


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:
        """Clients go in the middle of an answer: some are killed, some have seen enough."""


@dataclass
class FileServer:
    """Files by name; the faults of each, for its next requests; and what was asked for, as (method, path, headers)."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str, Message]] = field(default_factory=list)
    knows_ranges: bool = True
    has_etags: bool = True
    says_length: bool = True

    def __enter__(self) -> "FileServer":
        self.ends = threading.Event()
        self.server = _Server(("127.0.0.1", 0), self.handler())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ends.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def ranges(self, name: str) -> list[str | None]:
        """The Range header of each request for a file."""
        return [headers["Range"] for _, path, headers in self.requests if path == f"/{name}"]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                """As Hugging Face's hub answers."""
                owner.requests.append((self.command, self.path, self.headers))
                content = owner.files.get(self.path.lstrip("/"))
                self.send_response(200 if content is not None else 404)
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", owner.tag(content or b""))
                self.send_header("Content-Length", str(len(content or b"")))
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()

            def do_GET(self) -> None:
                owner.requests.append((self.command, self.path, self.headers))
                name = self.path.lstrip("/").partition("?")[0]
                waiting = owner.faults.get(name, [])
                fault = waiting.pop(0) if waiting else Fault()
                if fault.status:
                    self.answer(fault.status, fault.body, fault.headers)
                elif name not in owner.files:
                    self.answer(404, b"no such file")
                else:
                    owner.serve(self, owner.files[name], fault)

            def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        return Handler

    def serve(self, request: BaseHTTPRequestHandler, content: bytes, fault: Fault) -> None:
        tag = self.tag(content)
        start = self.start_of(request.headers, tag)
        if start is not None and start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(200 if start is None else 206)
        if start is not None:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.has_etags:
            request.send_header("ETag", tag)
        rest = content[start or 0 :]
        if self.says_length:
            request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest if fault.after < 0 else rest[: fault.after])
        if fault.stalls:
            self.ends.wait()
        request.close_connection = True

    def tag(self, content: bytes) -> str:
        return f'"{hashlib.md5(content).hexdigest()}"'

    def start_of(self, headers: Message, tag: str) -> int | None:
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        is_same = headers.get("If-Range", tag) == tag
        return int(wanted[1]) if wanted and self.knows_ranges and is_same else None
