"""The switches of calls as people write them."""

from __future__ import annotations

import pytest

from understudy.errors import UsageError
from understudy.generation.call_switches import call_switches
from understudy.generation.intent import CallPolicy


def test_switches_have_the_names_of_the_settings():
    found = call_switches("gate=off, copy_values=on,check_results=numbers,chain=auto,")
    assert found == {"gate": False, "copy_values": True, "check_results": "numbers", "chain": None}
    settings = CallPolicy(1e8).switched(found).settings
    assert (settings.gate, settings.copy_values, settings.split) == (False, True, True)
    assert call_switches("") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gat=on", "no such switch; expected gate split .* found gat"),
        ("gate=maybe", "calls: gate: no such value; expected on . off; found maybe"),
        ("copy_values", "expected on . off . auto; found "),
        ("check_results=on", "expected off . numbers . complete; found on"),
    ],
)
def test_what_is_no_switch_is_said(text, said):
    with pytest.raises(UsageError, match=said):
        call_switches(text)
