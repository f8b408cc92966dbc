"""The web page that shows a stream, the frames in the model's memory and its answers as they change."""

from types import TracebackType

import click

from pv_sparse.watch.observers import StreamFrame, WatchRecord
from pv_sparse.watch.page_board import Board
from pv_sparse.watch.server import PageServer


class PageObserver:
    """Serves the page while it is entered: `with PageObserver("127.0.0.1", 8000) as page: ...`.

    An `Observer` that never waits: a browser that is slow, or gone, misses frames.
    After `close` the page says that the stream has ended, and is served until the end of the `with`.

    Args:
        host: who may see it: 127.0.0.1 only this machine, 0.0.0.0 everybody who reaches it. There is no password.
        port: 0 takes a free one.
        source: the stream's name, to be shown before the first answer, which names it itself.
        weights: their name, likewise.

    Attributes:
        address: of the page, once entered.

    Raises:
        PvSparseError: on entering, where the address cannot be had.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 8000, source: str | None = None, weights: str | None = None
    ):
        self.address = ""
        self._board = Board(source, weights)
        self._server = PageServer(self._board, host, port)

    def __enter__(self) -> "PageObserver":
        self.address = self._server.start()
        click.echo(f"the page is at {self.address}", err=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self._server.stop()

    def saw(self, frame: StreamFrame) -> None:
        """The page's newest frame."""
        self._board.saw(frame)

    def answered(self, record: WatchRecord) -> None:
        """The page's classes, and the frames in memory."""
        self._board.answered(record)

    def told(self, message: str) -> None:
        """A line below the others, with the time of day."""
        self._board.told(message)

    def close(self) -> None:
        """The page says that the stream has ended."""
        self._board.close()
