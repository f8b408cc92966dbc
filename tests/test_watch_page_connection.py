"""The web page in a real headless browser: what it shows when its connection or its stream breaks off."""

import contextlib
import http.server
import queue
import threading
from collections.abc import Iterator

import pytest
from page_browser import Page, expect, expect_live, expect_text, opened_tab, started_chromium
from page_stream import frame, record, show

from pv_sparse.watch.observers import StreamFrame
from pv_sparse.watch.page import PageObserver
from pv_sparse.watch.page_board import Board
from pv_sparse.watch.server import PageServer

pytestmark = pytest.mark.slow
# After the timer, which says how old the newest frame is.
STATE_BETWEEN_TRIES = """() => stream.readyState === EventSource.CLOSED
  && (showStream(), document.getElementById("state").textContent)"""
NOTHING = "\N{EN DASH}"


@pytest.fixture(scope="module")
def chromium():
    with started_chromium() as browser:
        yield browser


@pytest.fixture
def tab(chromium):
    with opened_tab(chromium) as opened:
        yield opened


@pytest.fixture
def stream():
    with PageObserver("127.0.0.1", 0) as page:
        yield page


def expect_lost(tab: Page) -> None:
    expect_text(tab, "#state", "no connection to pv-sparse")


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextlib.contextmanager
def killed(tab: Page) -> Iterator[int]:
    """The port of a run that `tab` has shown, with a frame, an answer and a message, and that was not told to end."""
    board = Board()
    server = PageServer(board, "127.0.0.1", 0)
    address = server.start()
    board.saw(frame(0))
    board.answered(record([0], {"walk": 1.0}))
    board.told("it comes from the first run")
    tab.goto(address)
    expect_text(tab, "#frame", "0, 0:00.0")
    expect_text(tab, "#top-class", "walk")
    server.stop()
    expect_lost(tab)
    yield port_of(address)


@contextlib.contextmanager
def bad_gateway(port: int) -> Iterator[queue.Queue]:
    """A proxy that finds nobody behind it; what it was asked for."""
    asked: queue.Queue = queue.Queue()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(502)
            self.end_headers()
            asked.put(self.path)

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield asked
        proxy.shutdown()
        thread.join()


def test_a_lost_connection_is_said_and_another_run_is_shown(tab):
    with killed(tab) as port, PageObserver("127.0.0.1", port) as stream:
        old = tab.locator("#memory img").get_attribute("src")
        stream.saw(StreamFrame(255 - frame(0).picture, 0, 0.0))
        stream.answered(record([0], {"sit": 1.0}))
        expect_text(tab, "#top-class", "sit")
        expect_live(tab)
        assert tab.locator("#memory img").get_attribute("src") != old


def test_another_run_that_waits_shows_nothing_of_the_one_before(tab):
    with killed(tab) as port, PageObserver("127.0.0.1", port, source="camera 1"):
        expect_text(tab, "#state", "waiting")
        expect_text(tab, "#source", "camera 1")
        nothing = ("weights", "frame", "top-class", "time", "latency", "frames", "dropped")
        empty = ("top-score", "classes", "memory-count")
        words = {"memory": "None yet.", "messages": "None.", "no-picture": "No frame has come yet."}
        wanted = dict.fromkeys(nothing, NOTHING) | dict.fromkeys(empty, "") | words
        assert {name: tab.locator(f"#{name}").inner_text() for name in wanted} == wanted
        assert not tab.is_visible("#picture")


def test_it_comes_back_after_an_answer_that_is_no_stream(tab):
    with killed(tab) as port:
        with bad_gateway(port) as asked:
            for _ in range(2):  # the browser itself would not ask again
                assert asked.get(timeout=20) == "/events"
            shown = tab.wait_for_function(STATE_BETWEEN_TRIES).json_value()
        assert shown == "no connection to pv-sparse"
        with PageObserver("127.0.0.1", port) as stream:
            show(stream, 1, [1], {"sit": 1.0})
            expect_text(tab, "#top-class", "sit")
            expect_live(tab)


def test_a_stream_that_stalls_is_called_late(stream, tab):
    tab.clock.install()
    tab.goto(stream.address)
    show(stream, 0, [0])
    expect_text(tab, "#state", "live")
    tab.clock.run_for(10_000)
    expect(tab.locator("#state")).to_contain_text("no new frame for")
    show(stream, 1, [1])
    expect_text(tab, "#state", "live")
