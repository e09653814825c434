"""A parser of the pages that the project writes, for their tests."""

from __future__ import annotations

import html.parser


class Page(html.parser.HTMLParser):
    """Collects elements, attributes and text, and checks that tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._opened: list[int] = []
        self._text_of: dict[int, str] = {}

    def text_of(self, name: str, tag: str = "") -> list[str]:
        """The text inside each element with a class, or with a tag, in the order of the page."""
        found = []
        for number, (its_tag, attributes) in enumerate(self.elements):
            if name in attributes.get("class", "").split() or its_tag == tag:
                found.append(self._text_of.get(number, ""))
        return found

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "link", "br", "wbr"):
            self.open.append(tag)
            self._opened.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self._opened.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
            for number in self._opened:
                self._text_of[number] = self._text_of.get(number, "") + data


def parse(path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page
