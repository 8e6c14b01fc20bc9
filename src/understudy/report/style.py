"""The look of every report: one palette for light, dark and paper, one style sheet for pages, one
for charts."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT = {
    "ink": "#1d2430",
    "soft": "#5a6473",
    "line": "#e1e5ea",
    "paper": "#fff",
    "back": "#f4f6f8",
    "accent": "#1f4e8c",
    "interval": "#5b7fb5",
    "mark": "#a3430f",
    "mark-interval": "#d08a5a",
    "quiet": "#7b8796",
    "third": "#2c7a4b",
    "warn": "#8a5a00",
    "warn-back": "#fff4d9",
    "none": "#5a6473",
    "none-back": "#eef1f4",
}
DARK = {
    "ink": "#e4e8ee",
    "soft": "#9aa5b4",
    "line": "#2d3542",
    "paper": "#161b23",
    "back": "#0f1319",
    "accent": "#a9c7f2",
    "interval": "#5b85c4",
    "mark": "#f3b58a",
    "mark-interval": "#c9793f",
    "quiet": "#8793a3",
    "third": "#8ed0a8",
    "warn": "#f0c674",
    "warn-back": "#3a2f14",
    "none": "#9aa5b4",
    "none-back": "#232b36",
}
PRINT = LIGHT | {"ink": "#000", "soft": "#444", "line": "#ccc", "back": "#fff", "none": "#444"}
_DARK_SCREEN, _PAPER = "@media screen and (prefers-color-scheme:dark)", "@media print"


def _palette(colours: Mapping[str, str], place: str) -> str:
    return place + "{" + ";".join(f"--{name}:{value}" for name, value in colours.items()) + "}"


def _palettes(place: str) -> str:
    dark, paper = _palette(DARK, place), _palette(PRINT, place)
    return f"{_palette(LIGHT, place)}{_DARK_SCREEN}{{{dark}}}{_PAPER}{{{paper}}}"


_CHART = """
text{font:12px system-ui,sans-serif;fill:var(--ink)}
.number{fill:var(--soft);font-variant-numeric:tabular-nums}
.axis{stroke:var(--soft);stroke-opacity:.5}.grid{stroke:var(--line)}
.reference{stroke:var(--soft);stroke-dasharray:3 3}
.interval{stroke:var(--interval);stroke-width:4;stroke-linecap:round}.dot{fill:var(--accent)}
.bad .interval{stroke:var(--mark-interval)}.bad .dot{fill:var(--mark)}
.quiet .interval{stroke:var(--quiet);stroke-opacity:.55}.quiet .dot{fill:var(--quiet)}
.bar{fill:var(--interval)}.good .bar{fill:var(--accent)}.bad .bar{fill:var(--mark-interval)}
.quiet .bar{fill:var(--quiet);fill-opacity:.55}
.curve{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round}
.cell{fill:var(--accent)}.cell.none{fill:var(--line)}
.s1{stroke:var(--mark)}.s2{stroke:var(--third)}.s3{stroke:var(--quiet)}
"""
CHART = "svg{color-scheme:light dark}" + _palettes("svg") + _CHART.replace("\n", "")

_PAGE = """
*{box-sizing:border-box}html{color-scheme:light dark;scroll-behavior:smooth}
body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:68rem;margin:0 auto;padding:1rem 1.2rem 4rem}
header{padding:2.2rem 0 1rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
header p{color:var(--soft);margin:0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.4rem;margin:1.2rem 0 0}
nav a,nav b{padding:.3rem .8rem;border:1px solid var(--line);border-radius:2rem;
background:var(--paper);text-decoration:none;font-weight:500}
nav b{background:var(--accent);color:var(--paper);border-color:var(--accent)}
section{background:var(--paper);border:1px solid var(--line);border-radius:.8rem;
padding:.4rem 1.4rem 1.2rem;margin:1.2rem 0;overflow-x:auto}
h2{font-size:1.25rem;margin:1rem 0 .5rem}h3{font-size:1.05rem;margin:1.4rem 0 .3rem}
p{margin:.6rem 0}
a{color:var(--accent)}table{border-collapse:collapse;width:100%;margin:.6rem 0;font-size:.93rem}
th,td{padding:.4rem .7rem .4rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}th,td.s{overflow-wrap:normal}
th{color:var(--soft);font-weight:600;font-size:.83rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr:last-child td{border-bottom:0}tr:target td{background:var(--warn-back)}
td{min-width:4.5rem}td.field{width:34%;color:var(--soft)}
code{font:.86em/1.4 ui-monospace,Menlo,Consolas,monospace;background:var(--back);
border-radius:.3rem;padding:.1rem .35rem;overflow-wrap:anywhere}
pre{margin:.6rem 0;padding:.6rem .9rem;background:var(--back);border-radius:.4rem;overflow-x:auto}
pre code{padding:0;overflow-wrap:normal}
blockquote{margin:.6rem 0;padding:.5rem .9rem;border-left:3px solid var(--line);
background:var(--back);border-radius:0 .4rem .4rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
blockquote small{display:block;color:var(--soft)}
.key{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.7rem;
margin:.8rem 0}
.key div{border:1px solid var(--line);border-radius:.6rem;padding:.6rem .9rem}
.key span,.key small{display:block;color:var(--soft);font-size:.85rem}
.key b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.7rem}
.csv{margin:.3rem 0 -.3rem;text-align:right;font-size:.85rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--accent);font-weight:500}
.missing,.unstated{border-radius:.4rem;padding:.08rem .5rem;font-size:.9em}
.missing{color:var(--warn);background:var(--warn-back)}
.missing b:before{content:"\\26A0\\00A0"}.unstated{color:var(--none);background:var(--none-back)}
.good{color:var(--accent);font-weight:600}.bad{color:var(--mark);font-weight:600}
.note{color:var(--soft);font-size:.9rem}
sup{line-height:0}sup a{text-decoration:none;font-size:.8em;padding:0 .1em}
figure{margin:.8rem 0}svg{width:100%;max-width:50rem;height:auto;display:block}
figcaption{color:var(--soft);font-size:.88rem;margin-bottom:.3rem}
ul.pages{list-style:none;padding:0;display:grid;
grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.7rem}
ul.pages a{display:block;height:100%;border:1px solid var(--line);border-radius:.6rem;
padding:.7rem .9rem;text-decoration:none;font-weight:600}
ul.pages span{display:block;color:var(--soft);font-weight:400;font-size:.88rem}
@media(max-width:40rem){section{padding:.2rem .9rem .8rem}td.field{width:40%}h1{font-size:1.5rem}}
@media print{body,section{background:#fff;color:#000}section{border:0;padding:0;overflow:visible}
nav{display:none}tr,figure,.key div{break-inside:avoid}h2,h3{break-after:avoid}
details::details-content{content-visibility:visible;block-size:auto}}
"""
PAGE = (
    _palettes(":root")
    + _PAGE.replace("\n", "")
    + _CHART.replace("\n", "").replace("text{", "svg text{", 1)
)
