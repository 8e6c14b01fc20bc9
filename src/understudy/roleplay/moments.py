"""Dates and spans of time as the JavaScript library moment writes them in English (2.30), which
macros are made of.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

_TOKEN = re.compile(
    r"\[[^\[\]]*\]|\\.|LTS|LT|L{1,4}|l{1,4}|YYYYYY|YYYYY|YYYY|YY|Mo|M{1,4}|DDDD|DDDo|DDD|Do|DD|D|"
    r"d{3,4}"
    r"|dd|do|d|wo|ww|w|Wo|WW|W|GGGG|GG|Qo|Q|E|e|HH|H|hh|h|kk|k|mm|m|ss|s|S{1,9}|A|a|ZZ|Z|X|x|.",
    re.DOTALL,
)
_LONG = {
    "LTS": "h:mm:ss A",
    "LT": "h:mm A",
    "L": "MM/DD/YYYY",
    "LL": "MMMM D, YYYY",
    "LLL": "MMMM D, YYYY h:mm A",
    "LLLL": "dddd, MMMM D, YYYY h:mm A",
    "l": "M/D/YYYY",
    "ll": "MMM D, YYYY",
    "lll": "MMM D, YYYY h:mm A",
    "llll": "ddd, MMM D, YYYY h:mm A",
}
_UNITS: dict[str, Callable[[datetime], object]] = {
    "YYYYYY": lambda t: f"{t.year:+07d}",
    "YYYYY": lambda t: f"{t.year:05d}",
    "YYYY": lambda t: f"{t.year:04d}",
    "YY": lambda t: f"{t.year % 100:02d}",
    "M": lambda t: t.month,
    "Mo": lambda t: ordinal(t.month),
    "MM": lambda t: f"{t.month:02d}",
    "MMM": lambda t: calendar.month_abbr[t.month],
    "MMMM": lambda t: calendar.month_name[t.month],
    "D": lambda t: t.day,
    "Do": lambda t: ordinal(t.day),
    "DD": lambda t: f"{t.day:02d}",
    "DDD": lambda t: t.timetuple().tm_yday,
    "DDDo": lambda t: ordinal(t.timetuple().tm_yday),
    "DDDD": lambda t: f"{t.timetuple().tm_yday:03d}",
    "d": lambda t: t.isoweekday() % 7,
    "do": lambda t: ordinal(t.isoweekday() % 7),
    "dd": lambda t: calendar.day_name[t.weekday()][:2],
    "ddd": lambda t: calendar.day_abbr[t.weekday()],
    "dddd": lambda t: calendar.day_name[t.weekday()],
    "e": lambda t: t.isoweekday() % 7,
    "E": lambda t: t.isoweekday(),
    "w": lambda t: _week(t),
    "wo": lambda t: ordinal(_week(t)),
    "ww": lambda t: f"{_week(t):02d}",
    "W": lambda t: t.isocalendar().week,
    "Wo": lambda t: ordinal(t.isocalendar().week),
    "WW": lambda t: f"{t.isocalendar().week:02d}",
    "GG": lambda t: f"{t.isocalendar().year % 100:02d}",
    "GGGG": lambda t: f"{t.isocalendar().year:04d}",
    "Q": lambda t: (t.month + 2) // 3,
    "Qo": lambda t: ordinal((t.month + 2) // 3),
    "H": lambda t: t.hour,
    "HH": lambda t: f"{t.hour:02d}",
    "h": lambda t: t.hour % 12 or 12,
    "hh": lambda t: f"{t.hour % 12 or 12:02d}",
    "k": lambda t: t.hour or 24,
    "kk": lambda t: f"{t.hour or 24:02d}",
    "m": lambda t: t.minute,
    "mm": lambda t: f"{t.minute:02d}",
    "s": lambda t: t.second,
    "ss": lambda t: f"{t.second:02d}",
    "A": lambda t: "PM" if t.hour >= 12 else "AM",
    "a": lambda t: "pm" if t.hour >= 12 else "am",
    "X": lambda t: int(t.timestamp()),
    "x": lambda t: int(t.timestamp() * 1000),
    "Z": lambda t: _offset(t, ":"),
    "ZZ": lambda t: _offset(t, ""),
}
_ISO = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d([.,]\d{1,9})?)?)?(Z|[+-]\d\d:?\d\d)?)?)?")
_STEPS = (  # one of a unit, several, and how many are called by the next one: moment's thresholds
    ("a few seconds", "", 45),
    ("a minute", "minutes", 45),
    ("an hour", "hours", 22),
    ("a day", "days", 26),
    ("a month", "months", 11),
    ("a year", "years", 10**12),
)


def format_time(time: datetime, form: str) -> str:
    return "".join(_format_token(time, token) for token in _TOKEN.findall(form))


def _format_token(time: datetime, token: str) -> str:
    if token in _LONG:
        return format_time(time, _LONG[token])
    if token[0] == "S":
        return f"{time.microsecond:06d}000"[: len(token)]
    if token[0] == "[" and token[-1] == "]":
        return token[1:-1]
    if token[0] == "\\":
        return token[1:]
    return str(_UNITS[token](time)) if token in _UNITS else token


def _week(time: datetime) -> int:
    """Weeks begin on Sunday, the first is that of the first of January."""
    first = datetime(time.year, 1, 1).isoweekday() % 7
    week = (time.timetuple().tm_yday - 1 + first) // 7 + 1
    next_first = datetime(time.year + 1, 1, 1).isoweekday() % 7 if time.year < 9999 else 0
    is_next = time.month == 12 and time.day > 31 - next_first
    return 1 if is_next else week


def ordinal(number: int) -> str:
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _offset(time: datetime, between: str) -> str:
    offset = time.astimezone().utcoffset() or timedelta()
    minutes = round(abs(offset).total_seconds() / 60)
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02d}{between}{minutes % 60:02d}"


def at_offset(time: datetime, offset: int) -> datetime:
    """The time at a distance from UTC: in hours, and in minutes from 16 on."""
    minutes = offset * 60 if abs(offset) < 16 else offset
    if abs(minutes) >= 24 * 60:
        return time.astimezone(UTC) + timedelta(minutes=minutes)
    return time.astimezone(timezone(timedelta(minutes=minutes)))


def read_time(text: str) -> datetime | None:
    """A date of ISO 8601, in local time where it names no other; None for anything else."""
    match = _ISO.fullmatch(text)
    try:
        if match is None:
            return None
        whole = text + "-01" if match[1] is None else text
        return datetime.fromisoformat(whole.replace(",", ".")).astimezone()
    except (ValueError, OverflowError):
        return None


def in_words(span: timedelta) -> str:
    """How long, roughly, without a direction."""
    seconds = abs(span).total_seconds()
    days = seconds / 86400
    months = days * 4800 / 146097
    amounts = (seconds, seconds / 60, seconds / 3600, days, months, months / 12)
    for (one, many, limit), amount in zip(_STEPS, amounts, strict=True):
        number = int(amount + 0.5)
        if number < limit:
            return f"{number} {many}" if many and number > 1 else one
    raise AssertionError("years have no limit")


def until(left: datetime, right: datetime) -> str:
    """How far `left` lies from `right`, with its direction."""
    words = in_words(left - right)
    return (
        f"in {words}" if left > right else f"{words} ago" if left < right else "a few seconds ago"
    )
