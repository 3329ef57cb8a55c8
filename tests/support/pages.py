"""Pages of HTML as a strict reader takes them: every tag closed, every address a file that is there, no script."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

VOID = {"meta", "img", "br", "hr", "link", "input"}
FORBIDDEN = {"script", "iframe", "object", "embed", "link", "base", "form"}


class Page(HTMLParser):
    """A page that was read, and found sound.

    Attributes:
        images: Attributes of every picture.
        links: Address and text of every link.
        texts: All text but that of styles, in order.
        ids: Heading of every input.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.folder = path.parent
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.meters: list[float] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        assert len(given) == len(attributes), f"an attribute of {tag} twice"
        assert tag not in FORBIDDEN
        assert not [name for name in given if name.startswith("on")]
        for name in ("href", "src"):
            if name in given:
                assert self.file(given[name]).is_file(), given[name]
        if tag == "img":
            assert given["alt"] and given["title"]
            assert int(given["width"]) > 0 < int(given["height"])
            assert given["loading"] == "lazy"
            self.images.append(given)
        if tag == "a":
            self.links.append((given["href"], ""))
        if tag == "meter":
            self.meters.append(float(given["value"]))
        if tag == "h2":
            self.ids.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            assert "url(" not in data and "@import" not in data
            return
        self.texts.append(data)
        if "h2" in self.open:
            self.ids[-1] += data
        if "a" in self.open:
            self.links[-1] = (self.links[-1][0], self.links[-1][1] + data)

    def file(self, address: str) -> Path:
        """The file that an address means, as browsers read it."""
        parts = urlsplit(address)
        assert not (parts.scheme or parts.netloc or parts.query or parts.fragment), address
        assert not parts.path.startswith("/")
        return self.folder / unquote_to_bytes(parts.path).decode("utf-8", "surrogateescape")
