"""The web page's server: who is answered what, who is waited for, and how it ends."""

import base64
import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from page_stream import frame, record, updates_of

pytest.importorskip("fastapi", reason='needs the web server: pip install "pv-sparse[app]"')

from pv_sparse import PvSparseError
from pv_sparse.watch import page_board, page_pictures, server
from pv_sparse.watch.observers import StreamFrame
from pv_sparse.watch.page import PageObserver

SECONDS = 20  # nothing here should take so long


@pytest.fixture(scope="module")
def live():
    """A page that shows ten frames and an answer; for tests that only look."""
    with PageObserver("127.0.0.1", 0) as page:
        for number in range(10):
            page.saw(frame(number))
        page.answered(record([2, 5, 8, 9]))
        page.told("connection lost, trying again")
        yield page


@pytest.fixture
def page():
    with PageObserver("127.0.0.1", 0) as running:
        yield running


@pytest.fixture
def page_threads(live):
    """The threads of pages, but that of `live`."""
    before = set(threading.enumerate())
    return lambda: [entry for entry in threading.enumerate() if entry.name == "pv-sparse page" and entry not in before]


@pytest.fixture
def noise():
    """Frames that make large JPEGs, by their numbers."""
    picture = torch.randint(0, 256, (3, 480, 640), dtype=torch.uint8)
    return lambda number: StreamFrame(picture, number, number / 8)


def ask(page: PageObserver, path: str, method: str = "GET", **headers: str):
    request = urllib.request.Request(page.address + path, method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=SECONDS)


def refusal(page: PageObserver, path: str, method: str = "GET", **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(page, path, method, **headers)
    caught.value.close()
    return caught.value.code


def place_of(page: PageObserver) -> tuple[str, int]:
    return "127.0.0.1", urlsplit(page.address).port


@contextlib.contextmanager
def not_reading(page: PageObserver) -> Iterator[socket.socket]:
    """A browser that asked for the updates, and has no room for them."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(place_of(page))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        yield client


def test_updates_come_while_they_happen(live):
    with ask(live, "/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        update = next(updates_of(response))
    assert update["state"] == "live"
    assert update["frame"] == {"number": 9, "time_seconds": 9 / 8}
    assert update["record"]["frame_indices"] == [2, 5, 8, 9]
    assert list(update["thumbnails"]) == ["2", "5", "8", "9"]
    assert update["picture"]["number"] == 9
    assert base64.b64decode(update["picture"]["jpeg"]).startswith(b"\xff\xd8")
    assert [entry["text"] for entry in update["messages"]] == ["connection lost, trying again"]


def test_nothing_is_made_when_nobody_looks(monkeypatch):
    made: list = []
    monkeypatch.setattr(page_pictures, "jpeg", lambda *given: made.append(given))
    with PageObserver("127.0.0.1", 0) as page:
        for number in range(20):
            page.saw(frame(number))
            page.answered(record([number]))
        ask(page, "/state").close()
    assert made == []


# What is served


def test_the_state_is_the_record_for_programs(live):
    with ask(live, "/state") as response:
        state = json.load(response)
    assert state["record"] == record([2, 5, 8, 9]).as_dict()
    assert (state["state"], state["frame"]["number"]) == ("live", 9)


def test_names_are_served_from_the_start_though_not_utf8():
    """As Python reads such a file's name."""
    name = "caf\udce9.mp4"
    with PageObserver("127.0.0.1", 0, source=name, weights="tsn") as page:
        with ask(page, "/events") as response:
            update = next(updates_of(response))
        assert (update["state"], update["source"], update["weights"]) == ("waiting", name, "tsn")
        page.answered(dataclasses.replace(record([0]), path=name))
        with ask(page, "/state") as response:
            assert response.headers["Content-Type"] == "application/json"
            assert json.load(response)["record"]["path"] == name


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/", "text/html", "<title>pv-sparse watch</title>"),
        ("/page.css", "text/css", "dark"),
        ("/page.js", "text/javascript", "EventSource"),
    ],
)
def test_the_page_is_whole_and_loads_nothing_from_elsewhere(live, path, kind, words):
    with ask(live, path) as response:
        text = response.read().decode()
        headers = response.headers
    assert headers["Content-Type"].startswith(kind)
    assert words in text
    assert "//" not in text.replace("// ", "")  # no address
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Access-Control-Allow-Origin"] is None


def test_only_the_names_of_this_machine_are_answered(live):
    port = urlsplit(live.address).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        ask(live, "/state", Host=host).close()
    for host in (f"evil.example:{port}", "127.0.0.1.evil.example", "www.localhost", "8.8.8.8"):
        assert refusal(live, "/state", Host=host) == 400


def test_for_a_network_every_name_is_answered(capsys):
    with PageObserver("0.0.0.0", 0) as page:
        port = urlsplit(page.address).port
        assert page.address == f"http://{socket.gethostname()}:{port}"
        request = urllib.request.Request(f"http://127.0.0.1:{port}/state", headers={"Host": "camera.example"})
        urllib.request.urlopen(request, timeout=SECONDS).close()
    assert capsys.readouterr().err == f"the page is at {page.address}\n"


def test_nothing_can_be_changed_and_nothing_else_is_there(live):
    for path in ("/", "/state", "/events"):
        assert refusal(live, path, "POST", Origin="http://evil.example") == 405
    for path in ("/docs", "/redoc", "/openapi.json", "/page.py", "/../page.py"):
        assert refusal(live, path) == 404


# How it starts and ends


def test_a_port_in_use_is_told_before_anything_starts():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        threads = threading.active_count()
        message = rf"^the page cannot be served at 127\.0\.0\.1:{port} \(Address already in use\): choose another"
        with pytest.raises(PvSparseError, match=message) as caught, PageObserver("127.0.0.1", port):
            pass
    assert "\n" not in str(caught.value)
    assert threading.active_count() == threads


def test_an_address_of_another_machine_is_told():
    with pytest.raises(PvSparseError, match=r"cannot be served at 192\.0\.2\.1:0 \("), PageObserver("192.0.2.1", 0):
        pass


@pytest.mark.parametrize("host", ["*", "*.example", "1*7.0.0.1"])
def test_no_host_stands_for_others(host, page_threads):
    """On loopback, the server would take any name for its own."""
    with pytest.raises(PvSparseError, match=r"\(no host has a \* in its name\): .*0\.0\.0\.0"), PageObserver(host, 0):
        pass
    assert page_threads() == []


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "caf\udce9"])
def test_what_can_be_no_name_of_a_host_is_told(host, page_threads):
    with pytest.raises(PvSparseError, match=r"^the page cannot be served at .*: choose another") as caught:
        PageObserver(host, 0).__enter__()
    assert "\n" not in str(caught.value)
    assert page_threads() == []


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs IPv6 on loopback")
    with PageObserver("::1", 0) as page:
        assert page.address.startswith("http://[::1]:")
        ask(page, "/state").close()
        assert refusal(page, "/state", Host="evil.example") == 400


def test_the_end_is_told_and_leaves_nothing(page_threads, capfd):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with PageObserver("127.0.0.1", 0) as page:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        response = ask(page, "/events")
        updates = updates_of(response)
        assert next(updates)["state"] == "waiting"
        page.saw(frame(0))
        page.close()
        last = list(updates)[-1]
        with ask(page, "/state") as after:
            assert json.load(after)["state"] == "ended"  # served on until the end of the block
    response.close()
    assert (last["state"], last["picture"]["number"]) == ("ended", 0)
    assert page_threads() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place_of(page), SECONDS)
    assert capfd.readouterr().err == f"the page is at {page.address}\n"  # the web server says nothing


def test_the_end_is_told_after_an_error_too():
    page = PageObserver("127.0.0.1", 0)
    with contextlib.suppress(ZeroDivisionError), page:
        response = ask(page, "/events")
        raise ZeroDivisionError
    assert list(updates_of(response))[-1]["state"] == "ended"
    response.close()


def test_a_browser_that_does_not_read_skips_frames_and_delays_nobody(page, noise):
    with not_reading(page) as slow:
        with ask(page, "/events") as quick:
            updates = updates_of(quick)
            for number in range(8):
                page.saw(noise(number))
                assert next(update for update in updates if update["picture"])["picture"]["number"] == number
        for number in range(8, 100):
            page.saw(noise(number))
        page.close()
        answer = slow.makefile("rb")
        numbers = [(update["frame"] or {"number": -1})["number"] for update in updates_of(answer)]
        answer.close()
    assert len(numbers) < 8
    assert numbers[-1] == 99


def test_clients_that_read_nothing_do_not_hold_up_the_end(page_threads, noise, monkeypatch, capfd):
    """One is in the middle of a picture, one asked for half of something, one is idle."""
    monkeypatch.setattr(server, "LAST_WORDS_SECONDS", 0.1)
    with contextlib.ExitStack() as clients:
        with PageObserver("127.0.0.1", 0) as page:
            clients.enter_context(not_reading(page))
            clients.enter_context(socket.create_connection(place_of(page)))
            clients.enter_context(socket.create_connection(place_of(page))).sendall(b"GET /sta")
            with ask(page, "/events") as quick:
                for number, _ in zip(range(8), updates_of(quick), strict=False):
                    page.saw(noise(number))
        assert page_threads() == []
    assert capfd.readouterr().err == f"the page is at {page.address}\n"


def test_a_browser_that_left_may_come_again(live):
    for _ in range(5):
        with ask(live, "/events") as response:
            assert next(updates_of(response))["frame"]["number"] == 9


def test_the_files_of_the_page_lie_in_the_package():
    folder = Path(page_board.__file__).parent
    assert all((folder / name).is_file() for name in ("page.html", "page.css", "page.js"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(None, 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_serves_until_its_stream_ends_or_it_is_stopped(index_video, weights, number, code):
    """`pv-sparse watch --serve` itself: whoever looks sees answers, and the end."""
    options = ["--weights", weights, "--realtime", "--serve", "--port", "0"]
    command = [sys.executable, "-m", "pv_sparse", "watch", str(index_video), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        address = watching.stderr.readline().split()[-1]
        with urllib.request.urlopen(address + "/events", timeout=100) as response:
            for update in updates_of(response):
                if number is not None and update["frame"] is not None and watching.poll() is None:
                    watching.send_signal(number)
                    number = None
        lines, messages = watching.communicate(timeout=100)
    assert watching.returncode == code, messages
    assert update["state"] == "ended"
    assert update["record"] == (json.loads(lines.splitlines()[-1]) if lines else None)
