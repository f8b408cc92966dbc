"""The web server of the page: FastAPI and uvicorn, in a thread of its own. Needs the extra `app`."""

import asyncio
import ipaddress
import json
import socket
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import Response, StreamingResponse

from pv_sparse.errors import PvSparseError
from pv_sparse.watch.page_board import Board
from pv_sparse.watch.page_pictures import Pictures
from pv_sparse.watch.page_updates import updates

FILES = (
    ("/", "page.html", "text/html"),
    ("/page.css", "page.css", "text/css"),
    ("/page.js", "page.js", "text/javascript"),
)
HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
# What a browser that cannot keep up has not read waits here and there; kept small, it sees newer frames.
SEND_BUFFER_BYTES = 1 << 17
# How long browsers may take to read how the stream ended.
LAST_WORDS_SECONDS = 1.0


def create_app(board: Board, allowed_hosts: list[str]) -> FastAPI:
    """The page at /, its updates at /events, the newest state as JSON at /state; nothing that changes anything.

    Args:
        board: what is shown.
        allowed_hosts: names of this server that a browser may have used; ["*"] for any.
    """
    app = FastAPI(openapi_url=None)  # its pages of documentation load scripts from the internet
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts, www_redirect=False)
    pictures = Pictures()
    for path, name, media_type in FILES:
        _serve_file(app, path, Path(__file__).with_name(name).read_bytes(), media_type)

    @app.get("/state")
    async def state() -> Response:
        # FastAPI's own JSON is UTF-8, which a file's name need not be; this one is ASCII.
        return Response(json.dumps(board.now.as_dict(), allow_nan=False), media_type="application/json")

    @app.get("/events")
    async def events() -> StreamingResponse:
        return StreamingResponse(updates(board, pictures), media_type="text/event-stream")

    return app


def _serve_file(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    @app.get(path)
    async def file() -> Response:
        return Response(content, media_type=media_type)


class PageServer:
    """Serves a board from `start` to `stop`.

    Raises:
        PvSparseError: by `start`, where the address cannot be had; nothing runs then.
    """

    def __init__(self, board: Board, host: str, port: int):
        self.board, self.host, self.port = board, host, port

    def start(self) -> str:
        """The page's address."""
        self._socket = _listen(self.host, self.port)
        hosts, address = _names_of(self._socket, self.host)
        config = uvicorn.Config(
            create_app(self.board, hosts),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            headers=HEADERS,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="error",
        )
        self._server = _Server(config)
        # In a thread that is not the main one, uvicorn leaves the signals alone.
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="pv-sparse page", daemon=True
        )
        self._thread.start()
        return address

    def stop(self) -> None:
        """Returns when browsers have read the last update, or were too slow; no thread and no port is left."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    if "*" in host:  # some resolvers know it, and as the name of a server it would stand for any
        raise _unservable(host, port, "no host has a * in its name", "0.0.0.0 shows it to everybody")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise _unservable(host, port, reason) from error
    except UnicodeError as error:
        raise _unservable(host, port, "no host has such a name") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listening


def _unservable(host: str, port: int, reason: str, hint: str = "port 0 takes a free one") -> PvSparseError:
    return PvSparseError(f"the page cannot be served at {host}:{port} ({reason}): choose another host or port; {hint}")


def _names_of(listening: socket.socket, host: str) -> tuple[list[str], str]:
    """The Host headers to answer, and the address for people.

    On loopback, other names are refused: a page of the internet whose name is made to point here could read along.
    """
    number, port = listening.getsockname()[:2]
    shown = f"[{number}]" if ":" in number else number
    ip = ipaddress.ip_address(number)
    if ip.is_unspecified:
        shown = socket.gethostname()
    hosts = ["localhost", "127.0.0.1", "[::1]", shown, host] if ip.is_loopback else ["*"]
    return hosts, f"http://{shown}:{port}"
