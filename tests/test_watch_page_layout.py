"""The web page in a real headless browser: on small screens, in the dark, and for those who hear it."""

import pytest
from page_browser import Page, expect, expect_text, opened_tab, started_chromium
from page_stream import frame, record, show

from pv_sparse.watch.page import PageObserver

pytestmark = pytest.mark.slow
NAMES = ("stream", "answer", "memory", "details")


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


def box_of(tab: Page, place: str) -> dict[str, float]:
    box = tab.locator(place).bounding_box()
    return {"left": box["x"], "top": box["y"], "right": box["x"] + box["width"], "bottom": box["y"] + box["height"]}


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_fits_every_screen(stream, tab, width):
    tab.set_viewport_size({"width": width, "height": 700})
    tab.goto(stream.address)
    stream.saw(frame(0))
    stream.answered(record([0] * 16, {"a class with a name that is much too long for its place " * 3: 1.0}))
    expect_text(tab, "#memory-count", "(16)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_dark_where_the_browser_is(stream, tab):
    tab.goto(stream.address)
    colours = []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        colours.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(244, 245, 247)", "rgb(20, 23, 27)"]


def test_it_can_be_heard(stream, tab):
    """What a screen reader needs: the top class is announced, pictures have words, lists are lists."""
    tab.goto(stream.address)
    show(stream, 0, [0])
    expect_text(tab, "#top-class", "walk")
    expect_text(tab, "#frame", "0, 0:00.0")
    assert tab.locator("#top-class").get_attribute("aria-live") == "polite"
    assert all(tab.locator("img").evaluate_all("(all) => all.map((image) => image.alt)"))
    assert tab.locator("html").get_attribute("lang") == "en"
    assert tab.get_by_role("listitem").count() == 4  # a frame, two classes, no message
    assert tab.get_by_role("log").get_by_role("listitem").count() == 1


def test_a_message_is_put_below_the_others_which_stay(stream, tab):
    """So that a screen reader reads each once."""
    tab.goto(stream.address)
    expect_text(tab, "#state", "waiting")
    tab.evaluate(
        """() => {
          added = [];
          new MutationObserver((changes) => changes.forEach((change) =>
            change.addedNodes.forEach((line) => added.push(line.querySelector("span").textContent))
          )).observe(document.getElementById("messages"), {childList: true, subtree: true});
        }"""
    )
    texts = [f"message {number}" for number in range(30)]
    for text in texts:
        stream.told(text)
        expect_text(tab, "#messages li:last-child span", text)
    assert tab.locator("#messages li span").all_inner_texts() == texts[-20:]
    assert tab.evaluate("added") == texts
    expect(tab.locator("#messages li").last).to_be_in_viewport()


@pytest.mark.parametrize("width", [360, 1200])
def test_the_answer_is_beside_the_picture_or_right_below_it(stream, tab, width):
    tab.set_viewport_size({"width": width, "height": 800})
    tab.goto(stream.address)
    show(stream, 0, [0] * 16)
    expect_text(tab, "#memory-count", "(16)")
    expect(tab.locator("#picture")).to_be_visible()
    picture, answer, memory, details = (box_of(tab, f".{name}") for name in NAMES)
    rows = {tile.bounding_box()["y"] for tile in tab.locator("#memory li").all()}
    if width == 360:
        assert picture["bottom"] < answer["top"] < answer["bottom"] < memory["top"] < memory["bottom"] < details["top"]
        assert len(rows) == 1
        assert tab.evaluate("byId('memory').scrollWidth > byId('memory').clientWidth")
    else:
        assert picture["right"] < answer["left"]
        assert picture["top"] == answer["top"]
        assert len(rows) > 1


def test_the_time_of_a_message_stays_on_one_line(stream, tab):
    tab.set_viewport_size({"width": 360, "height": 800})
    tab.goto(stream.address)
    stream.told("rtsp://a.very.long.example/with/a/path/that/goes/on/and/on: the size changed")
    expect(tab.locator("#messages span")).to_be_visible()
    line = "(time) => time.clientHeight / parseFloat(getComputedStyle(time).fontSize)"
    assert 1 < tab.locator("#messages time").evaluate(line) < 2
