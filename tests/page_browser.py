"""A headless browser that shows the web page, and what is asked of it."""

import contextlib
import re
import shutil
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason='needs the web server: pip install "pv-sparse[app]"')
pytest.importorskip("playwright.sync_api", reason="needs a driver of browsers: pip install playwright")

from playwright.sync_api import Browser, Page, expect, sync_playwright


@contextlib.contextmanager
def started_chromium() -> Iterator[Browser]:
    """Skips the test where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium or google-chrome on the PATH")
    with sync_playwright() as started, started.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser:
        yield browser


@contextlib.contextmanager
def opened_tab(browser: Browser) -> Iterator[Page]:
    """A page of the browser; `complaints` are errors of its console, `asked` what it loaded."""
    with browser.new_context(viewport={"width": 1200, "height": 800}) as context:
        opened = context.new_page()
        opened.set_default_timeout(20_000)
        opened.complaints, opened.asked = [], []
        opened.on("console", lambda message: opened.complaints.append(message.text))
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.on("request", lambda request: opened.asked.append(request.url))
        yield opened


def expect_text(tab: Page, place: str, text: str) -> None:
    expect(tab.locator(place)).to_have_text(text, timeout=20_000)


def expect_live(tab: Page) -> None:
    """On a machine that is busy, a frame may be old before it is looked for."""
    expect(tab.locator("#state")).to_have_text(re.compile("^live$|^no new frame for"), timeout=20_000)
