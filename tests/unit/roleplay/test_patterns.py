"""Keys that are patterns of JavaScript's; the answers are Node's (20), see tests/others."""

from __future__ import annotations

import pytest

from understudy.roleplay.pattern_characters import UntranslatableError
from understudy.roleplay.patterns import read_pattern


@pytest.mark.parametrize(
    ("key", "text", "is_found"),
    [
        ("/(?<a>o)r\\k<a>/", "oro", True),
        ("/\\k<a>/", "k<a>", True),  # without a group of that name it is only letters
        ("/(a)|b\\1/", "b", True),  # a group that took no part is empty
        ("/\\d/", "٣", False),
        ("/\\w/", "é", False),
        ("/\\bé/", "aé", True),
        ("/\\s/", "\ufeff", True),
        ("/a.b/", "a\u2028b", False),
        ("/a.b/s", "a\nb", True),
        ("/a$/", "a\n", False),
        ("/a$/m", "a\nb", True),
        ("/^b/m", "a\u2028b", True),
        ("/^.$/", "😀", False),  # two units without the flag u
        ("/^.$/u", "😀", True),
        ("/[😀]$/u", "😀", True),
        ("/ſ/i", "s", False),
        ("/ſ/iu", "s", True),
        ("/ß/i", "ẞ", False),
        ("/Σ/i", "ς", True),
        ("/i/i", "İ", False),
        ("/a{,2}/", "a{,2}", True),
        ("/[^]/", "\n", True),
        ("/[]/", "a", False),
        ("/[[]/", "[", True),
        ("/[a&&b]/", "&", True),
        ("/\\8/", "8", True),
        ("/\\101/", "A", True),
        ("/\\u{2}/", "uu", True),
        ("/\\u{41}/u", "A", True),
        ("/\\cA/", "\x01", True),
        ("/\\p{L}/u", "猫", True),
        ("/\\p{Script=Han}/u", "猫", True),
        ("/\\p{L}/", "p{L}", True),
        ("/(?=a)*b/", "b", True),
        ("/(?<=\\$)\\d+/", "$100", True),
        ("/a/y", "ba", False),
        ("/a\\/b/", "a/b", True),
    ],
)
def test_as_in_javascript(key, text, is_found):
    pattern = read_pattern(key)
    assert pattern is not None
    assert pattern.matches(text, 1.0) is is_found


@pytest.mark.parametrize(
    "key",
    [
        "orc",
        "/",
        "//",
        "/a/b/",
        "/a/x",
        "/a/gg",
        "/(/",
        "/a++/",
        "/*/",
        "/a{2,1}/",
        "/[b-a]/",
        "/\\p{X}/x",
        "/}/u",
    ],
)
def test_what_javascript_takes_for_no_pattern(key):
    assert read_pattern(key) is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("/(?:(a)|b)*\\1/", "repeated"),
        ("/(?<=(a))\\1/", "lookbehind"),
        ("/a{1,9999}/", "counts further"),
        ("/(?i:a)/", "flags inside"),
        ("/\\p{Emoji}/u", "Emoji"),
        ("/" + "(" * 80 + ")" * 80 + "/", "nested"),
        ("/" + "a" * 3000 + "/", "longer"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(key, reason):
    with pytest.raises(UntranslatableError, match=reason):
        read_pattern(key)
