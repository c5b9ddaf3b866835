"""Reads a page of HTML as a browser would, and what it refers to."""

import html.parser
import re


class Page(html.parser.HTMLParser):
    """Collects what stands on a page.

    Attributes: `tags`, (name, attributes) in order; `ids`; `text`, all words;
    `refers`, the names on the page that something refers to; `outside`, all
    addresses elsewhere.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.words, self.rows = [], [], [], []
        self.refers, self.outside = set(), []
        self.feed(text)
        self.close()
        self.refers |= set(re.findall(r"url\(#([^)]+)\)", text))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.refers |= set(attributes.get("aria-labelledby", "").split())
        for name in ("href", "src", "action", "data", "xlink:href"):
            value = attributes.get(name)
            if value is None or value == "data:,":
                continue
            if value.startswith("#"):
                self.refers.add(value[1:])
            else:
                self.outside.append(value)

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self):
        """The names of the page's sections, in order."""
        return [attributes["id"] for attributes in self.all("h2")]
