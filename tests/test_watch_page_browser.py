"""The web page in a real headless browser, fed by a made-up stream: what it shows."""

from dataclasses import replace

import pytest
from page_browser import expect_live, expect_text, opened_tab, started_chromium
from page_stream import frame, record, show

from pv_sparse.recognition import ClassScore
from pv_sparse.watch import page_pictures
from pv_sparse.watch.page import PageObserver

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
BARS_ARE = """(wanted) => [...document.querySelectorAll(".bar")].every((bar, rank) =>
  Math.abs(bar.getBoundingClientRect().width / bar.parentElement.clientWidth - wanted[rank]) < 0.01)"""
TILES_ARE = """(numbers) => {
  const images = [...document.querySelectorAll("#memory img")];
  return images.length === numbers.length && images.every((image, place) =>
    image.naturalWidth === 64 && image.alt.startsWith(`Frame ${numbers[place]} at `));
}"""
# The middle of the picture, as the browser has drawn it.
COLOUR = """() => {
  const picture = document.getElementById("picture");
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.drawImage(picture, 0, 0);
  return [...canvas.getImageData(picture.naturalWidth / 2, picture.naturalHeight / 2, 1, 1).data].slice(0, 3);
}"""


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


def test_the_page_follows_a_stream_from_before_its_start_to_its_end(stream, tab):
    tab.goto(stream.address)
    assert tab.title() == "pv-sparse watch"
    expect_text(tab, "#state", "waiting")
    expect_text(tab, "#no-picture", "No frame has come yet.")

    for number in range(5):
        stream.saw(frame(number))
    show(stream, 5, [0, 2, 4, 5], {"walk": 0.75, "run": 0.25})
    expect_live(tab)
    expect_text(tab, "#top-class", "walk")
    expect_text(tab, "#top-score", "75.0%")
    expect_text(tab, "#frame", "5, 0:00.6")
    shown = {name: tab.inner_text(f"#{name}") for name in ("source", "weights", "latency", "dropped", "frames", "time")}
    assert shown == {
        "source": "camera 0",
        "weights": "tsn_tiny.made_up",
        "latency": "12 ms",
        "dropped": "3",
        "frames": "6",
        "time": "0:00.6",
    }
    assert tab.evaluate(COLOUR) == pytest.approx(frame(5).picture[:, 0, 0].tolist(), abs=4)

    stream.told("connection lost, trying again")
    expect_text(tab, "#messages li span", "connection lost, trying again")
    stream.close()
    expect_text(tab, "#state", "ended")
    assert tab.evaluate("stream.readyState === EventSource.CLOSED")  # it will not try again
    assert tab.inner_text("#top-class") == "walk"
    assert tab.complaints == []
    assert {address.partition(stream.address)[0] for address in tab.asked if not address.startswith("data:")} == {""}


def test_the_memory_is_shown_in_order_as_it_changes(stream, tab):
    tab.goto(stream.address)
    for number in range(8):
        stream.saw(frame(number))
    stream.answered(record([0, 2, 4, 6]))
    tab.wait_for_function(TILES_ARE, arg=[0, 2, 4, 6])
    expect_text(tab, "#memory-count", "(4)")
    assert tab.locator("#memory li p").all_inner_texts() == ["0:00.0", "0:00.3", "0:00.5", "0:00.8"]
    pictures = [image.get_attribute("src") for image in tab.locator("#memory img").all()]
    assert len(set(pictures)) == 4

    stream.answered(record([2, 6, 7]))
    tab.wait_for_function(TILES_ARE, arg=[2, 6, 7])
    expect_text(tab, "#memory-count", "(3)")
    assert [tab.locator("#memory img").nth(place).get_attribute("src") for place in (0, 1)] == [
        pictures[1],
        pictures[3],
    ]

    stream.answered(record([7, 7, 7]))  # a memory that one frame fills
    tab.wait_for_function(TILES_ARE, arg=[7, 7, 7])


def test_the_bars_move_to_the_new_scores(stream, tab):
    tab.goto(stream.address)
    for scores in ({"walk": 0.75, "run": 0.25}, {"run": 0.5, "sit": 0.125}, {"fall": 1.0, "run": 0.0}):
        show(stream, 0, [0], scores)
        expect_text(tab, "#top-class", next(iter(scores)))
        tab.wait_for_function(BARS_ARE, arg=list(scores.values()))
        assert tab.locator("#classes .name").all_inner_texts() == list(scores)
        assert tab.locator("#classes .score").all_inner_texts() == [f"{score:.1%}" for score in scores.values()]


def test_names_and_messages_are_text_whatever_they_hold(stream, tab):
    tab.goto(stream.address)
    show(stream, 0, [0], {HOSTILE: 0.5, "<script>document.title='taken'</script>": 0.25})
    stream.told(HOSTILE)
    expect_text(tab, "#top-class", HOSTILE)
    expect_text(tab, "#messages li span", HOSTILE)
    assert tab.locator("#classes .name").first.inner_text() == HOSTILE
    assert tab.locator("#messages img, #classes img, #top img, #classes script").count() == 0
    assert tab.title() == "pv-sparse watch"
    assert tab.complaints == []


def test_the_tasks_of_a_model_have_a_heading_each(stream, tab):
    entries = [("take", "verb"), ("put", "verb"), ("cup", "noun")]
    classes = [ClassScore(index, name, 0.5, task) for index, (name, task) in enumerate(entries)]
    tab.goto(stream.address)
    stream.answered(replace(record([0]), classes=classes))
    expect_text(tab, "#top-class", "verb: take, noun: cup")
    assert tab.locator("#classes h3").all_inner_texts() == ["verb", "noun"]
    assert tab.locator("#classes .name").all_inner_texts() == ["take", "put", "cup"]


def test_a_second_viewer_is_shown_the_time_of_its_picture(stream, tab, monkeypatch):
    """It may be one that was made for the first viewer, of an older frame than the newest."""
    monkeypatch.setattr(page_pictures, "PICTURES_A_SECOND", 1e-3)
    second = tab.context.new_page()
    tab.goto(stream.address)
    stream.saw(frame(0))
    expect_text(tab, "#frame", "0, 0:00.0")
    stream.saw(frame(8))
    second.goto(stream.address)
    expect_text(second, "#frame", "0, 0:00.0")
    stream.close()
    for viewer in (tab, second):
        expect_text(viewer, "#frame", "8, 0:01.0")
