"""HTML with everything escaped, and data inside a script element."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any


def escape(text: Any) -> str:
    """Text as HTML that shows it, in an element or in a quoted attribute.

    Args:
        text: anything; its `str` is shown.

    Example:
        >>> escape('<script>alert("1")</script>')
        '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;'
    """
    return html.escape(str(text), quote=True)


def embedded(data: Any) -> str:
    r"""Data as JSON that no script element ends in.

    Args:
        data: what JSON can say, without NaN.

    Example:
        >>> embedded({"name": "</script>"})
        '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table whose first row is headings.

    Args:
        headings: of the columns.
        rows: of cells.
        caption: what it shows; empty for none.
    """
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption or headings[0])}">'
        f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(panel: str, label: str, caption: str, controls: str = "", height: int = 380) -> str:
    """A place for a figure that the page's script draws.

    Args:
        panel: what the script knows it by.
        label: what it shows, for who cannot see it.
        caption: what is drawn, and what the band is.
        controls: HTML of what changes it.
        height: in pixels, kept free until it is drawn.
    """
    return (
        f'<figure>{controls}<div class="plot" id="{escape(panel)}" role="group" aria-label="{escape(label)}" '
        f'style="min-height:{height}px"></div><div class="legend" data-for="{escape(panel)}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def choice(name: str, label: str, options: Iterable[str], chosen: int = 0) -> str:
    """A labelled select element whose values are places.

    Args:
        name: its id.
        label: what is chosen.
        options: what there is.
        chosen: the place of what is chosen first.
    """
    listed = "".join(
        f'<option value="{place}"{" selected" if place == chosen else ""}>{escape(option)}</option>'
        for place, option in enumerate(options)
    )
    return f'<label>{escape(label)} <select id="{escape(name)}">{listed}</select></label>'


def section(name: str, heading: str, body: str) -> str:
    """A part of the page under its heading.

    Args:
        name: its id.
        heading: text.
        body: HTML.
    """
    return (
        f'<section id="{escape(name)}" aria-labelledby="{escape(name)}-heading">'
        f'<h2 id="{escape(name)}-heading">{escape(heading)}</h2>{body}</section>'
    )
