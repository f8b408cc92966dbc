"""Real servers of live streams on loopback, over HTTP and RTSP, which misbehave as they are told; and a clock."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from index_video import write_index_video

from pv_sparse.watch.clocks import Clock

TS_PACKET, PACKETS_A_CHUNK = 188, 7
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"


def transport_stream(path: Path, num_frames: int = 50, size: tuple[int, int] = (64, 64), **arguments) -> bytes:
    """MPEG-TS of an index video, 25 frames a second."""
    return write_index_video(path, num_frames, size=size, **arguments).read_bytes()


@dataclass
class Session:
    """What one client gets.

    `content` in pieces; before each `threading.Event` among them the server waits for it. `then`: "ends", "stalls"
    (nothing more comes), or "drops" (the connection is reset). `status`: of HTTP; 0 answers nothing at all.
    """

    content: list[bytes | threading.Event] = field(default_factory=list)
    then: str = "ends"
    status: int = 200


class FakeClock(Clock):
    """Time that passes only while somebody waits, and then at once."""

    def __init__(self):
        super().__init__()
        self.seconds, self.waits = 0.0, []

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        if seconds > 0 and not self.is_stopped:
            self.waits.append(seconds)
            self.seconds += seconds


class StreamServer:
    """Gives each client the next of `sessions`; later ones are turned away.

    Attributes:
        sessions: for the clients to come.
        num_clients: so far, with those turned away.
        address: of the stream.
    """

    scheme = "http"

    def __init__(self, *sessions: Session):
        self.sessions = list(sessions)
        self.num_clients = 0
        self.ends = threading.Event()

    def __enter__(self) -> "StreamServer":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"{self.scheme}://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_) -> None:
        self.ends.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self.ends.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.num_clients += 1
            session = self.sessions.pop(0) if self.sessions else None
            self._threads.append(threading.Thread(target=self._serve, args=(client, session)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket, session: Session | None) -> None:
        # Clients go in the middle of an answer: some are killed, some have seen enough.
        with client, contextlib.suppress(OSError):
            if session is None:
                return
            self.answer(client, session)
            if session.then == "stalls":
                self.ends.wait()
            elif session.then == "drops":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def answer(self, client: socket.socket, session: Session) -> None:
        """HTTP, in chunks."""
        client.recv(65536)
        if not session.status:
            self.ends.wait()
            return
        head = "Content-Type: video/mp2t\r\nTransfer-Encoding: chunked\r\nConnection: close"
        client.sendall(f"HTTP/1.1 {session.status} Told\r\n{head}\r\n\r\n".encode())
        for piece in self.pieces(session):
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        if session.then == "ends":
            client.sendall(b"0\r\n\r\n")

    def pieces(self, session: Session) -> Iterator[bytes]:
        for part in session.content:
            if isinstance(part, threading.Event):
                while not part.wait(0.02) and not self.ends.is_set():
                    pass
            else:
                size = TS_PACKET * PACKETS_A_CHUNK
                yield from (part[start : start + size] for start in range(0, len(part), size))


class RtspServer(StreamServer):
    """The same over RTSP: MPEG-TS in RTP packets, on the connection of the commands."""

    scheme = "rtsp"

    def answer(self, client: socket.socket, session: Session) -> None:
        if not session.status:
            self.ends.wait()
            return
        with client.makefile("rb") as commands:
            while True:
                method, number = self._command(commands)
                if not method:
                    return
                client.sendall(self._answer_to(method, number))
                if method == "PLAY":
                    break
        for sequence, piece in enumerate(self.pieces(session)):
            packet = struct.pack(">BBHII", 0x80, 33, sequence & 0xFFFF, sequence * 900, 1) + piece
            client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)

    def _command(self, commands) -> tuple[str, str]:
        lines = []
        for line in commands:
            if line == b"\r\n":
                break
            lines.append(line.decode())
        numbers = [line.split()[1] for line in lines if line.lower().startswith("cseq:")]
        return (lines[0].split()[0], numbers[0]) if numbers else ("", "")

    def _answer_to(self, method: str, number: str) -> bytes:
        head, body = "", ""
        if method == "OPTIONS":
            head = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            head, body = f"Content-Type: application/sdp\r\nContent-Base: {self.address}/\r\n", SDP
        elif method == "SETUP":
            head = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        elif method == "PLAY":
            head = "Session: 1\r\n"
        return f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
