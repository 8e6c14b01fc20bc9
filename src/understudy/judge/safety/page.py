"""A report as one HTML file: no script, nothing loaded, and everything a model or a user wrote made visible and escaped."""

from __future__ import annotations

import html
import json
from typing import Any

from understudy.judge.safety.report import Report, visible

SHOWN = 2000  # characters of one text
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td.n{text-align:right}code,pre{background:#f4f4f4;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".bar{background:#eee;width:12em;height:.9em;position:relative}.bar i{position:absolute;height:100%;background:#e8b4a8}"
    ".bar b{position:absolute;width:3px;height:100%;background:#a32}"
)


def to_html(report: Report) -> str:
    """The page. ASCII only."""
    document = report.to_document()
    title = f"Safety of {document['model']}"
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>{_text(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{_text(title)}</h1>\n<p>Fingerprint <code>{_text(document['fingerprint'])}</code>, seed {_text(document['seed'])}"
        f"{_made(document)}.</p>\n"
        f"<h2>Probes</h2>\n{_probes(document['probes'])}\n{_balance(document['balance'])}<h2>Faults by category (AEGIS 2.0)</h2>\n{_counts(document['categories'])}\n"
        f"<h2>Findings</h2>\n{''.join(_finding(row) for row in document['findings']) or '<p>None.</p>'}\n"
        f"<h2>Detectors and their known errors</h2>\n{_detectors(document['detectors'])}\n</body></html>\n"
    )
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _text(value: Any) -> str:
    return html.escape(visible(value if isinstance(value, str) else json.dumps(value), SHOWN))


def _probes(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        low, high = row["interval"]
        rate = "-" if row["rate"] is None else f"{row['rate']:.2f}"
        mark = "" if row["rate"] is None else f'<b style="left:{row["rate"] * 98:.1f}%"></b>'
        bar = f'<div class="bar"><i style="left:{low * 100:.1f}%;width:{(high - low) * 100:.1f}%"></i>{mark}</div>'
        cells.append(
            f"<tr><td>{_text(row['probe'])}</td><td>{_text(row['says'])}</td><td>{_text(row['fault'])}</td><td class=n>{row['faults']}"
            f" of {row['cases']}</td><td class=n>{rate} ({low:.2f} to {high:.2f})</td><td>{bar}</td><td class=n>{row['not_asked']}</td></tr>"
        )
    head = "<tr><th>probe<th>what<th>a fault is<th>faults<th>rate (95 %)<th><th>not asked</tr>"
    return f"<table>{head}\n" + "\n".join(cells) + "</table>"


def _made(document: dict[str, Any]) -> str:
    runs, again = document["runs"], document["judged_again"]
    when = (
        f"; asked from {_text(runs[0].get('date'))} with version {_text(runs[-1].get('version'))}"
        if runs
        else ""
    )
    if again is None:
        return when
    return f"{when}. <b>Judged again</b> on {_text(again['date'])}: {again['cases']} stored answers; {again['kept']} keep their first judgement"


def _balance(rows: list[dict[str, Any]]) -> str:
    """Over-refusal beside harm: neither says anything without the other."""
    if not rows:
        return ""
    cells = []
    for row in rows:
        shown = []
        for name in ("declined_harmless", "answered_harmful"):
            low, high = row[name]["interval"]
            shown.append(
                f"<td class=n>{row[name]['faults']} of {row[name]['cases']} ({low:.2f} to {high:.2f})</td>"
            )
        cells.append(f"<tr><td>{_text(row['pairs'])}</td>{''.join(shown)}</tr>")
    head = "<tr><th>pairs<th>harmless, declined<th>harmful, answered</tr>"
    return f"<h2>Over-refusal beside harm</h2>\n<table>{head}\n" + "\n".join(cells) + "</table>\n"


def _counts(counts: dict[str, int]) -> str:
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td class=n>{count}</td></tr>" for name, count in counts.items()
    )
    return f"<table>{rows}</table>"


def _finding(row: dict[str, Any]) -> str:
    why = row["error"] or "; ".join(
        f"{hit['detector']}: {', '.join(hit['found'])}" for hit in row["hits"]
    )
    said = "<br>".join(_text(text) for text in row["says"])
    calls = f"<p>Calls: <code>{_text(row['calls'])}</code></p>" if row["calls"] else ""
    return (
        f"<h3>{_text(row['probe'])} / {_text(row['case'])}</h3><p>{_text(row['aegis_2'])} (AEGIS 1.0: {_text(row['aegis_1'])}). "
        f"{_text(why)}</p><p>Said: {said}</p><pre>{_text(row['answer'])}</pre>{calls}\n"
    )


def _detectors(detectors: dict[str, dict[str, str]]) -> str:
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td>{_text(', '.join(one['versions']))}</td><td>{_text(one['says'])}</td><td>{_text(one['errors'])}</td></tr>"
        for name, one in detectors.items()
    )
    return f"<table><tr><th>detector<th>version<th>finds<th>known errors</tr>{rows}</table>"
