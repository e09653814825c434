"""HTML made so that text cannot turn into markup: what is not ``Html`` is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from importlib import resources


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Content security policy of the page: it may load nothing from outside and run nothing."""

_VOID = frozenset({"img", "meta", "link", "br"})


def tag(name: str, *content: str, **attributes: str) -> Html:
    """An element.

    Args:
      name: of the element.
      *content: children in order; those that are not ``Html`` are escaped.
      **attributes: a trailing underscore is dropped (``class_``); values are escaped.
    """
    pairs = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{pairs}>")
    return Html(f"<{name}{pairs}>{join(*content)}</{name}>")


def join(*content: str) -> Html:
    """Pieces one after the other; those that are not ``Html`` are escaped."""
    return Html("".join(piece if isinstance(piece, Html) else html.escape(piece) for piece in content))


def image(data: bytes, alt: str, kind: str = "png") -> Html:
    """An image that lies inside the page.

    Args:
      data: the file's content.
      alt: what it shows, in words.
      kind: "png" or "jpeg".
    """
    return tag("img", src=f"data:image/{kind};base64,{base64.b64encode(data).decode()}", alt=alt)


def table(header: Sequence[str], rows: Sequence[Html], caption: str = "") -> Html:
    """A table that scrolls sideways on a narrow screen; rows are whole ``tr`` elements."""
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    title = tag("caption", caption) if caption else Html("")
    return tag("div", tag("table", title, head, tag("tbody", *rows)), class_="scroll", tabindex="0")


def row(cells: Sequence[str], class_: str = "") -> Html:
    """A row; its first cell names it, ``Html`` cells that are ``td`` elements already are kept."""
    parts = [cell if isinstance(cell, Html) and cell.startswith("<td") else tag("td", cell) for cell in cells[1:]]
    attributes = {"class_": class_} if class_ else {}
    return tag("tr", tag("th", cells[0], scope="row"), *parts, **attributes)


def pairs_table(title: str, pairs: Mapping[str, str]) -> Html:
    """Name and text, one a row, under a small title."""
    rows = [row([name, text]) for name, text in pairs.items()]
    return tag("div", tag("h3", title), tag("div", tag("table", tag("tbody", *rows)), class_="scroll"))


def page(title: str, note: str, sections: Mapping[str, tuple[str, Html]]) -> Html:
    """A whole page.

    Args:
      title: of the page.
      note: a sentence below it, or empty.
      sections: anchor -> (heading, body), in order.
    """
    style = resources.files("musclemap_jax.reporting").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("meta", name_="viewport", content_="width=device-width, initial-scale=1"),
        tag("title", f"{title}: muscle group estimation"),
        tag("style", Html(style)),
    )
    links = (tag("a", heading, href=f"#{anchor}") for anchor, (heading, _) in sections.items())
    top = tag("header", tag("div", tag("h1", title), tag("p", note), tag("nav", *links)))
    body = (tag("section", tag("h2", heading), content, id=anchor) for anchor, (heading, content) in sections.items())
    end = tag("footer", "Written by musclemap_jax. This page is one file: it can be mailed or archived as it is.")
    return Html(f'<!doctype html>\n<html lang="en">{head}<body>{top}{tag("main", *body)}{end}</body></html>\n')
