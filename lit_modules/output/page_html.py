"""The text of the page that shows predictions: one file of HTML without scripts, which opens from a disk."""

import os
from collections.abc import Sequence
from html import escape
from typing import NamedTuple
from urllib.parse import quote

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 1100px; padding: 1rem; }
article { border-top: 1px solid #8888; padding: 1rem 0 1.5rem; content-visibility: auto;
  contain-intrinsic-size: auto 480px; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin-top: .6rem; }
figure { margin: 0; max-width: 100%; } figcaption { font-size: .85rem; opacity: .8; }
img { display: block; background: #8883; } figure > img, figure > a > img { max-width: 100%; height: auto; }
.pixels img { image-rendering: pixelated; }
.both { position: relative; overflow: hidden; max-width: 100%; container-type: inline-size; }
.before { position: absolute; top: 0; bottom: 0; left: 0; width: 50%; min-width: 1.2rem; max-width: 100%;
  overflow: hidden; resize: horizontal; border-right: 2px solid #fff; box-sizing: border-box; }
.both img { width: 100cqw; height: auto; max-width: none; }
table { border-collapse: collapse; } td { padding: .1rem .8rem .1rem 0; }
td:first-child { overflow-wrap: anywhere; }
"""


class Picture(NamedTuple):
    """A small picture on a page.

    Attributes:
        path: Its file, relative to the page.
        width: In pixels, as it is stored.
        height: Likewise.
        title: What it shows, in a word or two.
    """

    path: str
    width: int
    height: int
    title: str


class Entry(NamedTuple):
    """What a page shows of an input.

    Attributes:
        id: The input's id.
        pictures: What is shown beside each other.
        compared: Two pictures of one size that are laid over each other, before and after; none: empty.
        facts: Short texts, such as the size.
        shares: Name and share, from 0 to 1, of what was told apart, the largest first.
        links: Text and path, relative to the page, of the results' files.
    """

    id: str
    pictures: Sequence[Picture] = ()
    compared: Sequence[Picture] = ()
    facts: Sequence[str] = ()
    shares: Sequence[tuple[str, float]] = ()
    links: Sequence[tuple[str, str]] = ()


def make_page(title: str, entries: Sequence[Entry], notes: Sequence[str], links: Sequence[tuple[str, str]]) -> str:
    """Make the text of a page.

    Args:
        title: What it is about.
        entries: What it shows.
        notes: Sentences that stand above.
        links: Text and path, relative to the page, of files that concern all inputs.

    Returns:
        HTML; characters that are not printable are escaped, as in names of files that are not UTF-8.
    """
    head = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{show(title)}</title><style>{_STYLE}</style></head>",
        f"<body><h1>{show(title)}</h1>",
        *(f"<p>{show(note)}</p>" for note in notes),
        _list_links(links),
    ]
    return "\n".join([*head, *map(_make_article, entries), "</body></html>", ""])


def show(text: str) -> str:
    """Write a text so that a page shows it as it is."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return escape(printable)


def link(path: str) -> str:
    """Write a path, relative to the page, as an address within it."""
    return escape(quote(os.fsencode(path)))


def _make_article(entry: Entry) -> str:
    parts = [f'<article><h2 title="{show(entry.id)}">{show(entry.id)}</h2>']
    if entry.facts:
        parts.append(f"<p>{show(', '.join(entry.facts))}</p>")
    parts.append(_list_links(entry.links))
    target = entry.links[0][1] if entry.links else None
    figures = [_compare(entry, *entry.compared)] if entry.compared else []
    figures += [_make_figure(entry, picture, target) for picture in entry.pictures]
    if entry.shares:
        rows = (
            f'<tr><td>{show(name)}</td><td><meter min="0" max="1" value="{share:.6f}"></meter></td>'
            f"<td>{share:.1%}</td></tr>"
            for name, share in entry.shares
        )
        figures.append(f"<table>{''.join(rows)}</table>")
    parts.append(f'<div class="pictures">{"".join(figures)}</div></article>')
    return "\n".join(part for part in parts if part)


def _make_figure(entry: Entry, picture: Picture, target: str | None) -> str:
    shown = _make_image(entry, picture)
    if target is not None:
        shown = f'<a href="{link(target)}">{shown}</a>'
    return f"<figure{_pixels(picture)}>{shown}<figcaption>{show(picture.title)}</figcaption></figure>"


def _compare(entry: Entry, before: Picture, after: Picture) -> str:
    """Lay a picture over another one, in a box that the reader makes wider or narrower at its lower right corner."""
    width, height = _shown_size(after)
    return (
        f'<figure{_pixels(after)}><div class="both" style="width:{width}px;aspect-ratio:{width}/{height}">'
        f'{_make_image(entry, after)}<div class="before">{_make_image(entry, before)}</div></div>'
        f"<figcaption>{show(before.title)} | {show(after.title)}: drag the corner below the line</figcaption></figure>"
    )


def _make_image(entry: Entry, picture: Picture) -> str:
    width, height = _shown_size(picture)
    words = show(f"{entry.id}, {picture.title}")
    return (
        f'<img src="{link(picture.path)}" width="{width}" height="{height}" alt="{words}" title="{words}" '
        'loading="lazy" decoding="async">'
    )


def _pixels(picture: Picture) -> str:
    return ' class="pixels"' if _factor(picture) > 1 else ""


def _shown_size(picture: Picture) -> tuple[int, int]:
    factor = _factor(picture)
    return picture.width * factor, picture.height * factor


def _factor(picture: Picture) -> int:
    """How many times a tiny picture is enlarged, so that it can be seen."""
    return max(1, 128 // max(picture.width, picture.height))


def _list_links(links: Sequence[tuple[str, str]]) -> str:
    items = [f'<a href="{link(path)}">{show(text)}</a>' for text, path in links]
    return f"<p>{' · '.join(items)}</p>" if items else ""
