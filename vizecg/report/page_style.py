"""What the evaluation page's style sheet has beyond that of all pages."""

from typing import Final

# Okabe and Ito's palette as in the PNG figures; by night lighter, so that each stands off the dark.
_BY_DAY: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1d2430")
_BY_NIGHT: Final = ("#4da3e0", "#ff8a45", "#2fc79a", "#e39cc4", "#f0b429", "#8fd0f7", "#e8e6e1")
_STEPS: Final = range(9)


def _palette(colours: tuple[str, ...], *, others: str) -> str:
    named = "".join(f"--k{at}: {colour}; " for at, colour in enumerate(colours))
    return f":root {{ {named}--others: {others}; --good: {colours[0]}; --bad: {colours[1]}; }}"


def _lines() -> str:
    return "".join(
        f"polyline.k{at}, .swatch .k{at} {{ stroke: var(--k{at}); }} circle.k{at} {{ fill: var(--k{at}); }}\n"
        for at in range(len(_BY_DAY))
    )


def _shades() -> str:
    """`h0` … `h8` and `l0` … `l8`: ever more of one colour, never so much that ink cannot be read on it."""
    return "".join(
        f".{side}{step} {{ background: color-mix(in srgb, var({colour}) {6.5 * step:g}%, var(--card)); }}\n"
        for side, colour in (("h", "--good"), ("l", "--bad"))
        for step in _STEPS
    )


STYLE: Final = f"""{_palette(_BY_DAY, others="#d5d3cd")}
@media (prefers-color-scheme: dark) {{ {_palette(_BY_NIGHT, others="#444a54")} }}
body {{ max-width: 62rem; }}
.verdict.plain {{ background: var(--card); border-color: var(--k0); }}
th {{ text-align: left; font-weight: 600; font-size: .9rem; padding: .22rem .5rem .22rem 0; vertical-align: bottom; }}
td {{ font-size: .92rem; }}
small {{ display: block; font-weight: 400; font-size: .78rem; color: var(--soft); }}
.wide {{ overflow-x: auto; }}
.scores th:not(:first-child) {{ text-align: right; }}
.scores td, .scores th {{ border-top: 1px solid var(--line); padding-right: .7rem; vertical-align: top; }}
.scores thead th {{ border-top: 0; color: var(--soft); font-weight: 500; }}
.scores th:first-child {{ position: sticky; left: 0; background: var(--card); min-width: 7rem; }}
.asked td, .asked th {{ border-top: 1px solid var(--line); padding-right: .9rem; vertical-align: top; }}
.asked td {{ text-align: left; }}
.asked thead th {{ border-top: 0; color: var(--soft); font-weight: 500; }}
.macro th, .macro td {{ font-weight: 600; }}
.macro small {{ font-weight: 400; }}
details {{ margin-top: .6rem; }}
dl {{ margin: .5rem 0 0; font-size: .9rem; }}
dl div {{ display: grid; grid-template-columns: 8rem 1fr; gap: .2rem .8rem; padding: .15rem 0; }}
dt {{ font-weight: 600; }}
dd {{ margin: 0; color: var(--soft); }}
figure {{ margin: 0; min-width: 0; }}
figure h3 {{ margin-top: 0; }}
figcaption, .reading {{ font-size: .88rem; color: var(--soft); margin: .4rem 0 0; }}
figcaption b, .reading b {{ color: var(--ink); font-weight: 600; }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.6rem 1.8rem; }}
.panels {{ display: grid; gap: .8rem 1.4rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 13.5rem), 1fr)); }}
.panels h3 {{ margin: 0; }}
.panels .plot {{ max-width: 18rem; }}
section > ul {{ margin: 0; }}
.plot {{ display: block; width: 100%; max-width: 30rem; height: auto; font-size: 12px; }}
.plot text {{ fill: var(--soft); }}
.axis path {{ fill: none; stroke: var(--soft); stroke-width: 1; }}
.grid {{ stroke: var(--line); stroke-width: 1; }}
polyline {{ fill: none; stroke-width: 2; stroke-linejoin: round; }}
polyline.others, .swatch .others {{ stroke: var(--others); stroke-width: 1; }}
polyline.rule {{ stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4; }}
.legend {{ list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 0; margin: .2rem 0;
  font-size: .88rem; }}
.swatch {{ width: 1.2rem; height: .5rem; margin-right: .35rem; vertical-align: middle; }}
.swatch path {{ stroke-width: 3; fill: none; }}
{_lines()}.forest td, .forest th {{ border-top: 1px solid var(--line); }}
.forest thead th {{ border-top: 0; color: var(--soft); font-weight: 500; }}
.forest th:nth-child(2), .forest th:nth-child(4) {{ text-align: right; }}
.forest tbody th {{ font-weight: 500; overflow-wrap: anywhere; }}
.forest .group th {{ color: var(--soft); padding-top: .8rem; text-align: left; }}
.forest td:nth-child(2) {{ padding-left: .6rem; }}
.drawn, .forest thead th:nth-child(3) {{ width: 46%; padding-left: .8rem; padding-right: 1.2rem; }}
.ends {{ display: flex; justify-content: space-between; }}
.strip {{ display: block; width: 100%; height: 1rem; overflow: visible; }}
.strip path {{ vector-effect: non-scaling-stroke; fill: none; }}
.strip .rule {{ stroke: var(--soft); stroke-width: 1; }}
.strip .span {{ stroke: var(--k0); stroke-opacity: .45; stroke-width: 3; }}
.strip .point {{ stroke: var(--k0); stroke-width: 9; stroke-linecap: round; }}
.confusion caption {{ text-align: left; font-weight: 600; font-size: .95rem; }}
.confusion th {{ font-weight: 400; color: var(--soft); font-size: .82rem; padding: .2rem .4rem; }}
.confusion th[scope=col] {{ text-align: right; }}
.confusion td.number, .heat td {{ padding: .35rem .5rem; border: 2px solid var(--card); border-radius: 6px; }}
.confusion small, .heat small {{ color: inherit; opacity: .8; }}
.confusion tr > th:first-child, .heat tbody th {{ vertical-align: middle; }}
.heat thead th {{ text-align: right; padding: .2rem .5rem; }}
.heat thead th:first-child {{ text-align: left; }}
{_shades()}.mistakes {{ display: grid; gap: 1.2rem 1.6rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }}
.mistake img {{ display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px;
  background: #fff; }}
@media (max-width: 34rem) {{ body {{ padding: 1.5rem .7rem 3rem; }} section {{ padding: .9rem .9rem; }}
  dl div {{ grid-template-columns: 1fr; gap: 0; }} .plot {{ font-size: 15px; }}
  .forest tr {{ display: grid; grid-template-columns: auto 1fr; column-gap: .8rem; align-items: baseline;
  border-top: 1px solid var(--line); }} .forest thead tr, .forest tbody tr:first-child {{ border-top: 0; }}
  .forest td, .forest tbody th {{ border-top: 0; }} .forest tr > th:first-child {{ grid-column: 1 / -1; }}
  .forest td:nth-child(2) {{ padding-left: 0; }}
  .forest .drawn, .forest thead th:nth-child(3) {{ order: 4; grid-column: 1 / -1; width: auto;
  padding: 0 .6rem .3rem; }} }}
@media print {{ * {{ print-color-adjust: exact; }} body {{ max-width: none; padding: 0; font-size: 12px; }}
  section {{ break-inside: auto; }} figure, tr, .confusion, .panels > div {{ break-inside: avoid; }}
  h2, h3 {{ break-after: avoid; }} .wide {{ overflow: visible; }}
  .mistakes {{ grid-template-columns: 1fr 1fr; }}
  .plot {{ max-width: 20rem; }}
  .scores td, .scores th {{ padding-right: .3rem; font-size: .72rem; }}
  .scores th:first-child {{ min-width: 0; }} }}
"""
