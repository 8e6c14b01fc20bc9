"""Draws result files of `bench/peers.py` as one SVG: for every situation how much of the machine's
limit each engine reaches.

    python bench/peer_plot.py bench/results/peers-4b.json … --out peers.svg

A bar's length is the share of what read bandwidth (decode) or int8 arithmetic (prefill) allowed in
the same seconds, the figure in it tokens per second; on the right stands the median of the rounds'
ratios and its spread.
"""

from __future__ import annotations

import argparse
import json
import statistics
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, BAR = 880, 190, 490  # of the picture; labels, bars at 100 %; ratios take the rest
ROW, BAND, HEAD, LEGEND = (
    46,
    16,
    54,
    40,
)  # heights: a situation, one engine's bar, a file's heading, the legend
OURS, THEIRS, GRID, INK, FAINT = "#2f6f4f", "#b9b4a7", "#e4e0d8", "#24231f", "#6d6a62"


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    fill: str = INK,
    size: int = 13,
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.0f}" if tokens_per_second >= 100 else f"{tokens_per_second:.1f}"


def bar(y: float, share: float, words: str, fill: str) -> list[str]:
    """One engine's bar; its figure stands inside where there is room, else behind."""
    length = min(share, 1.0) * BAR
    is_inside = length > 70
    x, anchor = (LEFT + length - 6, "end") if is_inside else (LEFT + length + 6, "start")
    ink = "#ffffff" if is_inside and fill == OURS else INK
    return [
        f'<rect x="{LEFT}" y="{y:.0f}" width="{length:.1f}" height="{BAND}" rx="2" fill="{fill}"/>',
        text(x, y + 12, words, anchor=anchor, fill=ink, size=11),
    ]


def situation(row: dict[str, Any], y: float) -> list[str]:
    ratio = row["ratio"]
    return [
        text(LEFT - 10, y + 22, row["label"], anchor="end"),
        *bar(y + 3, row["share_of_limit"], rate(statistics.median(row["ours"])), OURS),
        *bar(
            y + 3 + BAND + 2,
            row["peer_share_of_limit"],
            rate(statistics.median(row["theirs"])),
            THEIRS,
        ),
        text(LEFT + BAR + 20, y + 23, f"{ratio['median']:.2f}×", size=16, weight="bold"),
        text(
            LEFT + BAR + 94, y + 22, f"{ratio['min']:.2f} … {ratio['max']:.2f}", fill=FAINT, size=11
        ),
    ]


def grid(top: float, bottom: float) -> list[str]:
    lines = []
    for percent in (0, 25, 50, 75, 100):
        x = LEFT + BAR * percent / 100
        lines.append(
            f'<line x1="{x:.0f}" y1="{top:.0f}" x2="{x:.0f}" y2="{bottom:.0f}" stroke="{GRID}"/>'
        )
        lines.append(text(x, top - 6, f"{percent} %", anchor="middle", fill=FAINT, size=11))
    return lines


def draw(results: list[dict[str, Any]]) -> str:
    """The whole picture of some result files, one below the other."""
    parts, y = [], float(LEGEND)
    for result in results:
        setting, rows = result["setting"], result["situations"]
        cache = f" · {setting['kv']} caches" if setting.get("kv", "f16") != "f16" else ""
        heading = f"{setting['model']}{cache} · {setting['threads']} threads · {setting['isa']} · {setting['processor']}"
        parts.append(text(20, y + 20, heading, weight="bold"))
        top, bottom = y + HEAD, y + HEAD + ROW * len(rows)
        parts += grid(top, bottom)
        for index, row in enumerate(rows):
            parts += situation(row, top + ROW * index)
        y = bottom + 20
    legend = [
        f'<rect x="20" y="14" width="14" height="14" rx="2" fill="{OURS}"/>',
        text(40, 26, "understudy"),
        f'<rect x="130" y="14" width="14" height="14" rx="2" fill="{THEIRS}"/>',
        text(150, 26, "llama.cpp"),
        text(
            230,
            26,
            "tokens per second; length: share of the machine's limit in the same seconds; right: ratio",
            fill=FAINT,
            size=12,
        ),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" font-family="system-ui, sans-serif">'
        f'<rect width="100%" height="100%" fill="#fdfcf9"/>'
        + "".join([*legend, *parts])
        + "</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.write_text(draw([json.loads(path.read_text()) for path in arguments.results]))
    print(f"{arguments.out}: {len(arguments.results)} models")


if __name__ == "__main__":
    main()
