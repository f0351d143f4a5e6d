"""The few pieces of HTML that a report is made of; text is escaped here, drawings come as SVG of our own."""

from collections.abc import Sequence
from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light; }
body { margin: 0; background: #f5f6f8; color: #23272f; font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.05rem; font-weight: 600; color: #555b66; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .4rem; }
.verdict { font-size: 1.55rem; line-height: 1.35; font-weight: 600; margin: 0 0 1rem; padding-left: .9rem; border-left: 6px solid #8a8f98; }
.verdict.better { border-color: #1f6f8b; } .verdict.worse { border-color: #b5482f; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.card { flex: 1 1 9.5rem; background: #fff; border-radius: 8px; padding: .9rem 1rem; }
.card b { display: block; font-size: 1.35rem; } .card span { color: #555b66; font-size: .88rem; }
section { background: #fff; border-radius: 8px; padding: 1.3rem 1.4rem; margin: 1rem 0; }
section p { margin: 0 0 .9rem; color: #3c424d; max-width: 50rem; }
figure { margin: 0 0 .8rem; max-width: 52rem; } figure svg { width: 100%; height: auto; display: block; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { flex: 1 1 20rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th { text-align: left; color: #555b66; font-weight: 600; } th, td { padding: .34rem .7rem .34rem 0; border-bottom: 1px solid #eceef1; }
th, td { vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; } dt { font-weight: 600; } dd { margin: 0 0 .7rem; color: #3c424d; }
"""
# Small drawings side by side, and the key of a drawing's colours.
PANELS: Final = """
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1.1rem; }
.panel h3 { font-size: .92rem; margin: 0; overflow-wrap: anywhere; } .panel svg { width: 100%; height: auto; display: block; }
.key { display: inline-block; width: 1.6em; height: .7em; margin: 0 .35em 0 0; }
"""


def page(title: str, body: str, *, style: str = "") -> str:
    """A whole page that loads nothing from elsewhere and runs no script; `body` and `style` are ours, the title is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def section(title: str, text: str, content: str) -> str:
    """A titled part of the page; `content` is HTML."""
    said = f"<p>{escape(text)}</p>" if text else ""
    return f"<section><h2>{escape(title)}</h2>{said}{content}</section>"


def figure(svg: str) -> str:
    """A drawing; narrow ones are not blown up."""
    return f"<figure>{svg}</figure>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table of text; columns in `numbers` are set to the right."""

    def cell(tag: str, at: int, text: str) -> str:
        mark = ' class="n"' if at in numbers else ""
        return f"<{tag}{mark}>{escape(text)}</{tag}>"

    head = "".join(cell("th", at, text) for at, text in enumerate(header))
    body = "".join("<tr>" + "".join(cell("td", at, text) for at, text in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
