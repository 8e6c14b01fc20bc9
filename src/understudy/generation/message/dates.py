"""Dates that a text names, and how a parameter wants them written.

find_dates("from May 3rd 2022 to tomorrow; today is 2022-05-01")   # [(2022, 5, 3), (2022, 5, 2)]
pattern = date_pattern("The date, in the format YYYY-MM-DD")        # "YYYY-MM-DD"
write_date((2022, 5, 3), pattern)                                   # "2022-05-03"
"""

from __future__ import annotations

import datetime
import re

Date = tuple[int, int, int]  # year, month, day
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_SHAPES = tuple(
    re.compile(rf"(?<![\w.]){shape}(?!\w)", re.IGNORECASE)
    for shape in (
        rf"{_YEAR}[-./](?P<month>\d{{1,2}})[-./](?P<day>\d{{1,2}})",
        rf"(?P<month>\d{{1,2}})[-./](?P<day>\d{{1,2}})[-./]{_YEAR}",
        rf"{_MONTH}\s*{_DAY}(?:\s*,?\s*{_YEAR})?",
        rf"{_DAY}\s+(?:of\s+)?{_MONTH}(?:\s*,?\s*{_YEAR})?",
        rf"{_YEAR}\s+{_MONTH}\s+{_DAY}",
    )
)
_LONE_YEAR = re.compile(r"(?<![\d.])(?:19|20)\d\d(?![\d.])")
_TODAY = re.compile(r"\btoday(?:'s date)?\s*(?:is|:|,)\s*(?:[a-z]+day,?\s*)?", re.IGNORECASE)
_NEAR = [("day after tomorrow", 2), ("tomorrow", 1), ("day before yesterday", -2)]
_NEAR += [("yesterday", -1), ("today", 0)]
_PATTERN = re.compile(
    r"\b(?:YYYY[-/.]MM[-/.]DD|MM[-/.]DD[-/.]YYYY|DD[-/.]MM[-/.]YYYY|month-day-year)\b",
    re.IGNORECASE,
)
_TIME_OF_DAY = re.compile(r"hh:mm|DDT|\dT\d\d:|date and time|timestamp", re.IGNORECASE)
_RANGE = re.compile(r"(?:YYYY|DD)['\"]?\s*(?:to|-|–|,|/)\s*['\"]?(?:YYYY|MM|DD)", re.IGNORECASE)
_EXAMPLE = re.compile(r"(?<!\d)(?:(?:19|20)\d\d-\d\d-\d\d)(?!\d)")


def find_dates(text: str) -> list[Date]:
    """The days that a text names, once each, in their order. Words such as "tomorrow" count where
    the text says which day it is; a year that is missing is the text's only one.
    """
    base = _today(text)
    found = {start: date for start, _, date in _written_dates(text, base)}
    if base is not None:
        found = {at: d for at, d in found.items() if d != (base.year, base.month, base.day)}
        found |= dict(_near(text, base))
    return list(dict.fromkeys(found[at] for at in sorted(found)))


def date_places(text: str) -> list[tuple[int, int, Date]]:
    """Where dates of a day stand in a text, as start, end and day."""
    return _written_dates(text, _today(text))


def _written_dates(text: str, base: datetime.date | None) -> list[tuple[int, int, Date]]:
    years = {int(year) for year in _LONE_YEAR.findall(text)}
    year = years.pop() if len(years) == 1 else base.year if base is not None else None
    found: list[tuple[int, int, Date]] = []
    for shape in _SHAPES:
        for match in shape.finditer(text):
            date = _date(match, year)
            if date is not None and not any(a <= match.start() < a + 8 for a, _, _ in found):
                found.append((match.start(), match.end(), date))
    return found


def date_pattern(description: str) -> str | None:
    """How a description wants dates written; None where it does not say."""
    if match := _PATTERN.search(description):
        said = match[0].upper()
        return "MM-DD-YYYY" if said == "MONTH-DAY-YEAR" else said
    return "YYYY-MM-DD" if _EXAMPLE.search(description) else None


def date_keywords(description: str, said: str) -> dict[str, list[str] | str] | None:
    """What a text may be that a description wants as a date, as keywords of a schema; {} where it
    is more than a day, or none was said. None: it wants none.
    """
    form = date_pattern(description)
    if form is None:
        return None
    days = [write_date(date, form) for date in find_dates(said)]
    if not days or (len(_PATTERN.findall(description)) > 1 and _RANGE.search(description)):
        return {}
    if _TIME_OF_DAY.search(description):
        ends = "|".join(re.escape(day) for day in days)
        return {"pattern": f"^(?:{ends})[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9])?Z?$"}
    return {"enum": days}


def write_date(date: Date, pattern: str) -> str:
    year, month, day = date
    said = pattern.replace("YYYY", f"{year:04}").replace("MM", f"{month:02}")
    return said.replace("DD", f"{day:02}")


def _today(text: str) -> datetime.date | None:
    """The day that a text says it is."""
    for match in _TODAY.finditer(text):
        for shape in _SHAPES:
            if (said := shape.match(text, match.end())) and (date := _date(said, None)):
                return datetime.date(*date)
    return None


def _near(text: str, base: datetime.date) -> list[tuple[int, Date]]:
    """Places of words such as "tomorrow", and their days."""
    found, low = [], text.lower()
    for words, days in _NEAR:
        at = low.find(words)
        if at >= 0 and not (days == 0 and _TODAY.match(text, at)):
            day = base + datetime.timedelta(days)
            found.append((at, (day.year, day.month, day.day)))
            low = low.replace(words, " " * len(words))
    return found


def _date(match: re.Match[str], year: int | None) -> Date | None:
    """The day of a match; None where there is none, or no year is known."""
    month = match["month"].lower()
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3]) + 1
    named = match.groupdict().get("year")
    whole = int(named) if named else year
    if whole is None:
        return None
    try:
        day = datetime.date(whole, number, int(match["day"]))
    except ValueError:
        return None
    return day.year, day.month, day.day
