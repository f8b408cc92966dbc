"""What one browser is told: only what changed since it was told last, and only the newest of that."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from pv_sparse.watch.page_board import Board, Moment
from pv_sparse.watch.page_pictures import PICTURES_A_SECOND, Pictures


class Viewer:
    """One browser, and what it has."""

    def __init__(self, pictures: Pictures):
        self._pictures = pictures
        self._version = -1
        self._picture = -1
        self._thumbnails: set[int] = set()

    def news(self, moment: Moment) -> dict[str, Any] | None:
        """The moment as a dict, with the pictures that the browser lacks; None where it has everything.

        `picture` is {number, time_seconds, jpeg} or None: other viewers may have had it made, of a frame before that
        of the moment. `thumbnails` are the JPEGs in base64 of frames new in memory, by number.
        """
        picture = self._new_picture(moment)
        if moment.version == self._version and picture is None:
            return None
        self._version = moment.version
        thumbnails = self._pictures.thumbnails(moment.memory)
        news = {number: jpeg for number, jpeg in thumbnails.items() if number not in self._thumbnails}
        self._thumbnails = set(thumbnails)
        return {**moment.as_dict(), "picture": picture, "thumbnails": news}

    def _new_picture(self, moment: Moment) -> dict[str, Any] | None:
        if moment.frame is None or moment.frame.number == self._picture:
            return None
        picture = self._pictures.newest(moment.frame, is_last=moment.state == "ended")
        if picture.number == self._picture:
            return None
        self._picture = picture.number
        return asdict(picture)


async def updates(board: Board, pictures: Pictures) -> AsyncIterator[str]:
    """Server-Sent Events until the stream has ended.

    Looked for at a fixed rate, so that the stream's thread has nobody to wake; what passes while a slow browser reads
    is skipped.
    """
    viewer = Viewer(pictures)
    yield "retry: 1000\n\n"
    while True:
        moment = board.now
        news = viewer.news(moment)
        if news is not None:
            yield f"data: {json.dumps(news, allow_nan=False)}\n\n"
        if moment.state == "ended":
            return
        await asyncio.sleep(1 / PICTURES_A_SECOND)
