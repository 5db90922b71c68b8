"""What the pages for people share: one HTML file, nothing loaded from elsewhere, for day, night and paper."""

import base64
import hashlib
from html import escape
from typing import Final


def document(title: str, *, body: str, style: str = "", inline_styles: bool = False) -> str:
    """Give a whole page; equal content is equal bytes.

    The page forbids its reader's browser everything but its own style sheet and the pictures inside it, so nothing
    that slips into a name can run or ask a server.

    Args:
        title: plain text.
        body: HTML.
        style: CSS of this page alone, after what all pages share.
        inline_styles: the body has `style` attributes; without them only the style sheet as written here is allowed.
    """
    sheet = STYLE + style
    allowed = "'unsafe-inline'" if inline_styles else f"'sha256-{_sha256(sheet)}'"
    policy = f"default-src 'none'; img-src data:; style-src {allowed}; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{sheet}</style>\n</head>\n<body>{body}</body>\n</html>\n"
    )


def picture_uri(data: bytes, *, kind: str) -> str:
    """Put a picture into the page itself; `kind` is `png` or `jpeg`."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def counted(number: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


STYLE: Final = """
:root { --ink: #1d2430; --soft: #5b6472; --paper: #f6f5f2; --card: #ffffff; --line: #e2e0da; --bar: #b8434e;
  --track: #eceae5; --holds: #1f7a4d; --look: #946000; --fails: #b3261e; --tint-holds: #e6f3ec;
  --tint-look: #fbf1da; --tint-fails: #fbe7e5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #a3a8b1; --paper: #15181d; --card: #1e2228;
  --line: #333841; --bar: #d9727b; --track: #2a2f37; --holds: #6fcf9b; --look: #e6b450; --fails: #f2877f;
  --tint-holds: #1b3227; --tint-look: #372d17; --tint-fails: #3b2120; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 54rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
h3 { font-size: .95rem; margin: 1rem 0 .3rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.3rem;
  margin: 1rem 0; }
.verdict { border-radius: 10px; padding: 1rem 1.3rem; border-left: 6px solid; }
.verdict strong { display: block; font-size: 1.25rem; }
.verdict.holds { background: var(--tint-holds); border-color: var(--holds); }
.verdict.look { background: var(--tint-look); border-color: var(--look); }
.verdict.fails { background: var(--tint-fails); border-color: var(--fails); }
.simulated { border: 1px dashed var(--soft); border-radius: 8px; padding: .5rem .9rem; margin: 0 0 1rem; }
.tiles { list-style: none; display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem;
  padding: 0; margin: 1rem 0; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem 1.1rem;
  color: var(--soft); }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.25; color: var(--ink);
  font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; }
td { padding: .22rem .5rem .22rem 0; vertical-align: middle; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.note, .why { color: var(--soft); font-size: .9rem; }
p.note { margin: 0 0 .4rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 0 2rem; }
summary { cursor: pointer; color: var(--soft); }
footer { color: var(--soft); font-size: .85rem; margin-top: 1.5rem; overflow-wrap: anywhere; }
@media print { details > * { display: block; } details::details-content { content-visibility: visible; }
  section { break-inside: avoid; } }
"""
