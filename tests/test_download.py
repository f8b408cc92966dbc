"""Files from a server that cuts, stalls and lies; a full disk, a killed process, a race."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import ANY

import pytest
from file_server import Fault, FileServer
from hypothesis import given
from hypothesis import strategies as st
from portalocker import LockException
from waiting import wait_until

from pv_sparse import WeightsError
from pv_sparse.zoo import http_transfer
from pv_sparse.zoo.addresses import file_name_of, hash_in_name
from pv_sparse.zoo.download import download

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 12_000  # 3 MB, more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "model-1a2b3c4d.pth"
TRIES = len(http_transfer.DELAYS_SECONDS) + 1


@pytest.fixture
def server():
    with FileServer(files={NAME: CONTENT}) as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(http_transfer, "DELAYS_SECONDS", (0,) * (TRIES - 1))
    monkeypatch.setattr(http_transfer, "SILENCE_SECONDS", 0.3)


def bring(server, folder: Path, name: str = NAME, sha256: str | None = SHA256, **options) -> Path:
    return download([server.url(name)], folder / name, sha256, progress=False, **options)


def left_in(folder: Path) -> list[str]:
    """What lies in the cache besides the locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_comes_whole_and_alone(server, tmp_path, capsys):
    path = download([server.url(NAME)], tmp_path / "deep" / "cache" / NAME, SHA256, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert left_in(path.parent) == [NAME]
    bar = capsys.readouterr().err
    assert NAME in bar
    assert "100%" in bar
    assert "3.07M" in bar


def test_no_bar_where_none_is_wanted(server, tmp_path, capsys):
    bring(server, tmp_path)
    assert capsys.readouterr().err == ""


def test_what_is_here_is_not_asked_for(server, tmp_path):
    bring(server, tmp_path)
    bring(server, tmp_path)
    assert len(server.requests) == 1


# What servers do


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.faults[NAME] = [Fault(after=1_000_000), Fault(after=500_000), Fault(after=0)]
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges(NAME) == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500000-"]
    assert left_in(tmp_path) == [NAME]


def test_a_stalled_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.faults[NAME] = [Fault(after=700_000, stalls=True)]
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges(NAME) == [None, "bytes=700000-"]


def test_bytes_that_come_renew_the_patience(server, tmp_path):
    server.faults[NAME] = [Fault(after=100_000) for _ in range(3 * TRIES)]
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3 * TRIES + 1


def test_giving_up_keeps_the_beginning_for_the_next_time(server, tmp_path):
    server.faults[NAME] = [Fault(after=1_000_000), *[Fault(after=0) for _ in range(TRIES)]]
    with pytest.raises(
        WeightsError, match=rf"ended after 1000000 of 3072004 bytes, in {TRIES} tries\. Put the file into"
    ):
        bring(server, tmp_path)
    assert left_in(tmp_path) == [f"{NAME}.part", f"{NAME}.part.json"]
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges(NAME)[-1] == "bytes=1000000-"
    assert left_in(tmp_path) == [NAME]


@pytest.mark.parametrize("old_size", [1_500_000, len(CONTENT)])
@pytest.mark.parametrize("sha256", [None, SHA256])
@pytest.mark.parametrize("has_etags", [True, False])
def test_a_file_that_changed_meanwhile_is_begun_anew(server, tmp_path, sha256, has_etags, old_size):
    server.has_etags = has_etags
    server.files[NAME] = b"PK\x03\x04".ljust(old_size, b"-")
    server.faults[NAME] = [Fault(after=900_000), *[Fault(status=503) for _ in range(TRIES)]]
    with pytest.raises(WeightsError):
        bring(server, tmp_path, sha256=sha256)
    server.files[NAME] = CONTENT
    assert bring(server, tmp_path, sha256=sha256).read_bytes() == CONTENT


def test_a_file_of_the_same_size_that_changed_is_found_out_by_its_hash(server, tmp_path):
    server.has_etags = False
    server.files[NAME] = bytes(len(CONTENT))
    server.faults[NAME] = [Fault(after=900_000), *[Fault(status=503) for _ in range(TRIES)]]
    with pytest.raises(WeightsError):
        bring(server, tmp_path)
    server.files[NAME] = CONTENT
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges(NAME)[-2:] == ["bytes=900000-", None]


def test_without_hash_and_tag_nothing_is_continued(server, tmp_path):
    """The beginning could be of another file."""
    server.has_etags = False
    server.faults[NAME] = [Fault(after=1_000_000)]
    assert bring(server, tmp_path, sha256=None).read_bytes() == CONTENT
    assert server.ranges(NAME) == [None, None]


@pytest.mark.parametrize("status", [206, 416])
def test_a_server_that_never_gets_further_is_given_up(server, tmp_path, status):
    """It cuts every answer at the same place, and answers what is asked of the rest with nonsense."""
    odd = Fault(status=status, headers={"Content-Range": "bytes 0-99/*"})
    server.faults[NAME] = [fault for _ in range(50) for fault in (Fault(after=1_000_000), odd)]
    with pytest.raises(WeightsError, match=rf"in {TRIES} tries"):
        bring(server, tmp_path)
    assert len(server.requests) <= 2 * TRIES + 1


def test_a_server_that_does_not_say_how_much_comes(server, tmp_path):
    server.says_length = False
    assert bring(server, tmp_path, sha256=None).read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges(server, tmp_path):
    server.knows_ranges = False
    server.faults[NAME] = [Fault(after=1_000_000), Fault(after=2_000_000)]
    assert bring(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("beginning", [CONTENT, CONTENT + b"more"])
def test_nothing_is_left_to_come(server, tmp_path, beginning):
    """All was here already but for its name; or more than all, of another file."""
    (tmp_path / f"{NAME}.part").write_bytes(beginning)
    note = {"url": http_transfer._digest(server.url(NAME)), "total": len(CONTENT), "validator": ""}
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps(note))
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == (1 if beginning == CONTENT else 2)


def test_a_beginning_of_unknown_origin_is_not_used(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(b"something")
    assert bring(server, tmp_path, sha256=None).read_bytes() == CONTENT
    assert server.ranges(NAME) == [None]


def test_passing_answers_are_asked_again(server, tmp_path):
    server.faults[NAME] = [Fault(status=status) for status in (500, 503, 429, 502)]
    assert bring(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "times", "words"),
    [
        (Fault(status=404), 1, r"the server answered 404 \(Not Found\)\. Put the file into"),
        (Fault(status=403), 1, r"the server answered 403 \(Forbidden\)"),
        (Fault(status=500), TRIES, rf"the server answered 500 \(Internal Server Error\), in {TRIES} tries"),
        (Fault(after=0, stalls=True), TRIES, r"nothing came for 0\.3 seconds"),
        (Fault(after=0), TRIES, "the connection ended after 0 of 3072004 bytes"),
        (Fault(status=200, body=b"\n<!DOCTYPE html><p>404"), 1, "the answer is a web page, not a file"),
        (Fault(status=200, body=b"<html>quota exceeded"), 1, "the answer is a web page, not a file"),
        (Fault(status=200, body=b"PK but other"), 1, "serves another file than was published: its sha256 begins"),
        (Fault(status=200, body=b""), 1, "serves another file than was published"),
        (Fault(status=200, body=b"\xef\xbb\xbf<!doctype html>"), 1, "the answer is a web page, not a file"),
        (Fault(status=204, body=b""), 1, "the server answered 204, without a file"),
        (
            Fault(status=200, body=b"PK", headers={"Content-Encoding": "gzip"}),
            1,
            r"sent it packed \(gzip\)",
        ),
        (Fault(status=302, headers={"Location": "/" + NAME}), 1, None),
    ],
)
def test_what_is_no_file_gets_no_name(server, tmp_path, fault, times, words):
    server.faults[NAME] = [fault for _ in range(times)]
    if words is None:
        assert bring(server, tmp_path).read_bytes() == CONTENT
        return
    with pytest.raises(WeightsError, match=words):
        bring(server, tmp_path)
    assert NAME not in left_in(tmp_path)
    assert len(server.requests) == times


@pytest.mark.parametrize("body", [b"", b'{"error": "no such file"}', b"no"])
def test_without_a_hash_a_file_has_to_look_like_one(server, tmp_path, body):
    server.faults[NAME] = [Fault(status=200, body=body)]
    with pytest.raises(WeightsError, match="serves no file of tensors"):
        bring(server, tmp_path, sha256=None)
    assert bring(server, tmp_path, sha256=None).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://[::1/a.pth", "it is no address"),
        ("http:///a.pth", "it names no host"),
        ("http://127.0.0.1:port/a.pth", "nonnumeric port"),
        ("file://data/a.pth", "'data' stands where a machine is named: write file:///"),
        ("file:///no/such/a.pth", "it cannot be read"),
    ],
)
def test_addresses_that_cannot_be_asked_are_told_at_once(tmp_path, address, words):
    with pytest.raises(WeightsError, match=words):
        download([address], tmp_path / "a.pth", progress=False)


def test_blanks_and_umlauts_in_an_address(server, tmp_path):
    server.files["%C3%BCber%20all.pth"] = CONTENT
    url = f"{server.address}/über all.pth"
    assert download([url], tmp_path / "a.pth", SHA256, progress=False).read_bytes() == CONTENT


def test_a_network_that_goes_down_is_no_full_disk(server, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(113, "No route to host")

    monkeypatch.setattr("http.client.HTTPResponse.read", broken)
    with pytest.raises(WeightsError, match=rf"No route to host, in {TRIES} tries"):
        bring(server, tmp_path)


def test_a_token_in_an_address_is_not_told(server, tmp_path):
    server.faults[NAME] = [Fault(after=500_000), *[Fault(status=503) for _ in range(TRIES)]]
    with pytest.raises(WeightsError) as caught:
        download([f"{server.url(NAME)}?token=secret"], tmp_path / NAME, progress=False)
    assert "secret" not in str(caught.value)
    assert "secret" not in (tmp_path / f"{NAME}.part.json").read_text()


def test_a_wrong_size_is_told(server, tmp_path):
    with pytest.raises(WeightsError, match="another file than was published: it has 3072004 bytes, not 3072005"):
        bring(server, tmp_path, sha256=None, size=len(CONTENT) + 1)
    assert left_in(tmp_path) == []


def test_nobody_answers(tmp_path):
    with FileServer() as gone:
        url = gone.url(NAME)
    with pytest.raises(WeightsError, match=rf"{url}: .*[Cc]onnection refused.* in {TRIES} tries"):
        download([url], tmp_path / NAME, progress=False)


def test_the_next_address_is_tried(server, tmp_path):
    server.files["wrong.pth"] = b"wrong"
    urls = [server.url(name) for name in ("missing.pth", "wrong.pth", NAME)]
    assert download(urls, tmp_path / NAME, SHA256, progress=False).read_bytes() == CONTENT
    with pytest.raises(
        WeightsError, match=r"missing\.pth: the server answered 404.*; .*wrong\.pth serves another file"
    ):
        download(urls[:2], tmp_path / "other.pth", SHA256, progress=False)


def test_other_addresses_are_refused(tmp_path):
    with pytest.raises(
        WeightsError,
        match=r"ftp://example\.org/a\.pth: addresses of files begin with one of http://",
    ):
        download(["ftp://example.org/a.pth"], tmp_path / "a.pth")


# What happens on this side

DOWNLOAD = """
import sys
from pathlib import Path
from pv_sparse.zoo.download import download
print(download([sys.argv[1]], Path(sys.argv[2]), sys.argv[3], progress=False))
"""


def downloading(server, path: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", DOWNLOAD, server.url(path.name), path, SHA256]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_no_half_file_and_no_lock(server, tmp_path):
    server.faults[NAME] = [Fault(after=2_000_000, stalls=True)]
    process = downloading(server, tmp_path / NAME)
    part = tmp_path / f"{NAME}.part"
    wait_until(lambda: part.is_file() and part.stat().st_size >= 1_000_000, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert NAME not in left_in(tmp_path)
    assert bring(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges(NAME) == [None, ANY]
    assert server.ranges(NAME)[1].startswith("bytes=")


def test_four_processes_download_once(server, tmp_path):
    processes = [downloading(server, tmp_path / NAME) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(subprocess.Popen.communicate, processes))
    assert [out.strip() for out, _ in outcomes] == [str(tmp_path / NAME)] * 4
    assert {err for _, err in outcomes} <= {"", f"{NAME}: waiting for another process that downloads it\n"}
    assert len(server.requests) == 1
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert left_in(tmp_path) == [NAME]


def test_waiting_for_another_process_is_said(server, tmp_path, caplog):
    server.faults[NAME] = [Fault(after=1_000_000, stalls=True)]
    process = downloading(server, tmp_path / NAME)
    wait_until((tmp_path / f"{NAME}.part").is_file, process)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bring, server, tmp_path)
        wait_until(lambda: "waiting for another process" in caplog.text or waiting.done())
        assert not waiting.done()
        process.kill()
        process.communicate()
        assert waiting.result().read_bytes() == CONTENT


def test_a_file_system_without_locks_is_told(server, tmp_path, monkeypatch):
    def no_locks(*_, **__):
        raise LockException("No locks available")

    monkeypatch.setattr("portalocker.Lock.acquire", no_locks)
    with pytest.raises(WeightsError, match=r"knows no locks .*: set PV_SPARSE_HOME to a folder on another disk"):
        bring(server, tmp_path)


def test_a_disk_that_is_too_small_is_told_before(server, small_disk):
    words = r"has 2 MB left, model-1a2b3c4d\.pth needs 3 MB: make room, or set PV_SPARSE_HOME"
    with pytest.raises(WeightsError, match=words):
        bring(server, small_disk)
    assert NAME not in left_in(small_disk)


def test_a_disk_that_runs_full_is_told(server, small_disk, monkeypatch):
    """As where others fill it meanwhile."""
    monkeypatch.setattr(http_transfer, "_check_space", lambda part, wanted: None)
    with pytest.raises(
        WeightsError, match=r"the disk of .* is full, model-1a2b3c4d\.pth is not whole: make room and try"
    ):
        bring(server, small_disk)
    assert NAME not in left_in(small_disk)


@pytest.mark.parametrize("folder", ["file/cache", "/proc/cache"])
def test_a_folder_that_cannot_be_written_is_told(server, tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(
        WeightsError, match=r"cannot be written \(.*\): set PV_SPARSE_HOME to a folder that can, or put"
    ):
        bring(server, tmp_path / folder)


# Names


@given(st.text())
def test_no_name_leaves_its_folder(text):
    for address in (text, f"https://example.org/{text}", f"hf://owner/repo/{text}"):
        try:
            name = file_name_of(address)
        except (WeightsError, ValueError):  # urlsplit refuses some
            continue
        assert Path("/cache", name).resolve().parent == Path("/cache")
        assert os.path.normpath(name) == name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.org/a/b.pth?dl=1", "b.pth"),
        ("https://example.org/TSN_arch=r50-0a.pth.tar", "TSN_arch=r50-0a.pth.tar"),
        ("https://example.org/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://example.org/..%5C..%5Cevil.pth", "evil.pth"),
        ("../../up.pth", "up.pth"),
    ],
)
def test_names_of_addresses(address, name):
    assert file_name_of(address) == name


@pytest.mark.parametrize("address", ["https://example.org/", "https://example.org/..", "", "a/.."])
def test_addresses_without_a_name_are_refused(address):
    with pytest.raises(WeightsError, match="it does not end in the name of a file"):
        file_name_of(address)


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("resnet50-11ad3fa6.pth", "11ad3fa6"),
        ("tsn_rgb_20220906-cd10898e.pth", "cd10898e"),
        ("TSN_arch=r50_segments=8-3ecf904f.pth.tar", "3ecf904f"),
        ("best-20240131.pth", None),
        ("best-5f70bf18a086007016e948b04aed3b82103a36be.pth", None),
        ("tsn_rgb_20220906.pth", None),
        ("TRN_best_v0.4.pth.tar", None),
    ],
)
def test_names_that_carry_a_hash(name, digits):
    assert hash_in_name(name) == digits
