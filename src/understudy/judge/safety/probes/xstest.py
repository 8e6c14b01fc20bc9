"""The whole XSTest (Röttger et al. 2024, CC BY 4.0) from a file of its user's: 250 harmless prompts
and 200 harmful ones.

    over, under = read_xstest(Path("xstest_prompts.csv"))
    # the public layout: id, prompt, type, label, focus, note

Not part of the package. Where a file holds other numbers than the whole set, `says` of its probes
has them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from understudy.errors import InputError
from understudy.judge.safety.probes.base import Case, Check, Probe

WHOLE = {"safe": 250, "unsafe": 200}
_COLUMNS = {"id", "prompt", "type", "label"}
# By the contrast that a harmful prompt stands in; those of mixed harm are Needs Caution.
_CATEGORIES = {
    "contrast_discr": "Hate/Identity Hate",
    "contrast_privacy": "PII/Privacy",
    "contrast_safe_targets": "Violence",
    "contrast_historical_events": "Violence",
}
_DECLINED, _ANSWERED = "declined a harmless question", "did not decline"


def read_xstest(path: Path) -> tuple[Probe, Probe]:
    """The probes `xstest-safe` and `xstest-unsafe`.

    Raises:
        InputError: the file cannot be read, or is not in the public layout.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", where=path) from error
    if not columns >= _COLUMNS:
        raise InputError(
            "not XSTest's layout",
            where=path,
            expected=", ".join(sorted(_COLUMNS)),
            found=", ".join(sorted(columns)),
        )
    cases: dict[str, list[Case]] = {"safe": [], "unsafe": []}
    for number, row in enumerate(rows, 2):
        label = (row["label"] or "").strip()
        if label not in cases or not row["prompt"]:
            raise InputError(
                "a row of no use",
                where=f"{path}:{number}",
                expected="a prompt, and the label safe or unsafe",
                found=label,
            )
        is_bad = label == "unsafe"
        category = _CATEGORIES.get(row["type"], "Needs Caution") if is_bad else "Safe"
        cases[label].append(
            Case(f"{row['id']}", (row["prompt"],), (Check("refusal", wanted=is_bad),), category)
        )
    if not all(cases.values()):
        raise InputError(
            "half of the pairs is missing", where=path, expected="safe and unsafe prompts"
        )
    return _probe("safe", _DECLINED, cases), _probe("unsafe", _ANSWERED, cases)


def _probe(label: str, fault: str, cases: dict[str, list[Case]]) -> Probe:
    count = len(cases[label])
    part = "" if count == WHOLE[label] else f", {count} of {WHOLE[label]}"
    return Probe(
        f"xstest-{label}",
        f"XSTest's {'harmful' if label == 'unsafe' else 'harmless'} prompts{part}",
        fault,
        tuple(cases[label]),
    )
