"""The picture in docs/watch.md, from a real run: python docs/watch_screenshot.py VIDEO OUT.png.

Needs the extra `app`, playwright, and chromium or google-chrome on the PATH.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("picture")
    parser.add_argument("--after", type=float, default=5.0, help="Seconds of the video.")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        watching = start_watching(Path(given.video), Path(folder))
        try:
            take(address_of(watching), given.picture, given.after, "dark" if given.dark else "light")
        finally:
            watching.terminate()
            watching.wait()


def start_watching(video: Path, folder: Path) -> subprocess.Popen[str]:
    """From the video's own folder, so that the page shows its name and not where it lies on this machine."""
    options = ["--realtime", "--fps", "4", "--serve", "--port", "0", "--output", str(folder / "lines.jsonl")]
    command = [sys.executable, "-m", "pv_sparse", "watch", video.name, *options]
    return subprocess.Popen(command, cwd=video.parent, stderr=subprocess.PIPE, text=True)  # noqa: S603


def address_of(watching: subprocess.Popen[str]) -> str:
    """Where the page is; the rest of what is told goes to standard error."""
    for line in watching.stderr or ():
        if line.startswith("the page is at "):
            return line.split()[-1]
        sys.stderr.write(line)
    raise SystemExit("pv-sparse watch has ended without a page")


def take(address: str, picture: str, after_seconds: float, scheme: str) -> None:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": 1180, "height": 650}, color_scheme=scheme)
        page.goto(address)
        page.wait_for_function(
            """(seconds) => {
              const [minutes, rest] = document.getElementById("time").textContent.split(":").map(Number);
              return 60 * minutes + rest >= seconds;
            }""",
            arg=after_seconds,
            timeout=120_000,
        )
        shot = Image.open(io.BytesIO(page.screenshot()))
    # A third of the bytes; this method keeps small spots of colour.
    shot.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(picture, optimize=True)


if __name__ == "__main__":
    main()
