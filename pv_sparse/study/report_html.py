"""Pieces of a page of HTML: texts that are escaped, tables with headers, figures that say what they show."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

IMAGE_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


def element(name: str, text: str, **attributes: str) -> str:
    """An element that holds a text, escaped; `class_` is the attribute `class`."""
    return wrap(name, escape(text), **attributes)


def wrap(name: str, content: str, **attributes: str) -> str:
    """An element that holds HTML; `class_` is the attribute `class`."""
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{told}>{content}</{name}>"


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], class_: str = "") -> str:
    """A table of HTML cells; the first of each row is its header.

    Args:
        caption, heads: texts.
        rows: HTML, as many cells as `heads`.
        class_: of the box around it, which scrolls where the table is wider than the page.
    """
    head = wrap("tr", "".join(element("th", text, scope="col") for text in heads))
    body = "\n".join(
        wrap("tr", wrap("th", first, scope="row") + "".join(_cell(*pair) for pair in zip(heads[1:], rest, strict=True)))
        for first, *rest in rows
    )
    content = f"{element('caption', caption)}\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>"
    box = f"scroll {class_}".strip()
    return wrap("div", wrap("table", content), class_=box, tabindex="0", role="region", aria_label=caption)


def definitions(pairs: Sequence[tuple[str, str]]) -> str:
    """A list of terms and texts."""
    return wrap("dl", "".join(wrap("div", element("dt", term) + element("dd", text)) for term, text in pairs))


def svg_figure(svg: str, alt: str, caption: str) -> str:
    """A drawing that stands in the page, told to those who cannot see it by `alt`."""
    drawing = wrap("div", svg, class_="plot", role="img", aria_label=alt)
    return wrap("figure", f"{drawing}\n{element('figcaption', caption)}")


def picture(path: Path, alt: str, caption: str) -> str:
    """A picture file inside the page."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f"data:{IMAGE_TYPES[path.suffix]};base64,{data}"
    return wrap("figure", f'<img src="{source}" alt="{escape(alt)}" loading="lazy">\n{element("figcaption", caption)}')


def section(name: str, title: str, content: str) -> str:
    """A part of the page under a title, whose id begins with `name`."""
    return wrap("section", f"{element('h2', title, id=f'{name}-title')}\n{content}", aria_labelledby=f"{name}-title")


def unbroken(text: str) -> str:
    """Escaped, with figures that no line breaks."""
    return escape(text).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}").replace(" %", "\N{NO-BREAK SPACE}%")


def _cell(head: str, content: str) -> str:
    """On narrow screens, cells stand one below another, each with the head of its column."""
    return wrap("td", content, data_head=head)
