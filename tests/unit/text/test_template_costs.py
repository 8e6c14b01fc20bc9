"""What a chat template may ask for in one step, and in all: memory and time are bounded."""

from __future__ import annotations

import datetime
import time

import pytest

from understudy.errors import TemplateError
from understudy.text.templates import sandbox
from understudy.text.templates.budget import Run
from understudy.text.templates.costs import written

DEEP = (
    "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(40) %}"
    "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}"
)
LONG = "{% set s = 'ab ' * 1000000 %}"


def rendered(source: str, **values: object) -> str:
    run = Run(datetime.datetime.now())
    return sandbox.render(sandbox.compile_template(source), run, values)


@pytest.mark.parametrize(
    "source",
    [
        DEEP + "{{ ns.a }}",
        DEEP + "{{ ns.a | tojson }}",
        DEEP + "{% if ns.a == ns.b %}{% endif %}",
        DEEP + "{% if ns.a in [ns.b] %}{% endif %}",
        DEEP + "{% if ns.a is eq(ns.b) %}{% endif %}",
        DEEP + "{{ [ns.a].index(ns.b) }}",
        DEEP + "{{ [ns.a] | select('equalto', ns.b) | list }}",
        "{% set ns = namespace(a=(1, 1)) %}{% for i in range(60) %}{% set ns.a = (ns.a, ns.a) %}"
        "{% endfor %}{% set d = {ns.a: 1} %}",
        LONG + "{{ ('{0}' * 100000).format(s) }}",
        LONG + "{{ '%(a)s' * 100000 % {'a': s} }}",
        LONG + "{{ '%s' * 100000 % ((s,) * 100000) }}",
        LONG + "{{ ','.join([s] * 100000) }}",
        LONG + "{{ [s] * 100000 ~ '' }}",
        LONG + "{% set x = s | list %}",
        LONG + "{% set x = s.split() %}{% set y = s.split() %}",
        LONG + "{% set x = s | title %}",
        LONG + "{% set x = s | wordwrap(5) %}",
        LONG + "{% set x = s.translate({97: 'x' * 1000}) %}",
        LONG + "{% for i in range(100) %}{% set x = s[1:] %}{% endfor %}",
        LONG + "{% for i in range(100) %}{% set x = s.upper() %}{% endfor %}",
        LONG + "{% for i in range(100) %}{% set x = s | e %}{% endfor %}",
        "{% set l = ['ab ' * 1000000] * 100000 %}{{ l | map('string') | list | length }}",
    ],
)
def test_a_step_that_would_take_gigabytes_or_years_is_refused(source):
    started = time.process_time()
    with pytest.raises(TemplateError, match=r"too much text|no bound|to an end"):
        rendered(source)
    assert time.process_time() - started < 15


def test_what_templates_do_with_long_conversations_is_paid_for():
    messages = [{"role": "user", "content": "word " * 200} for _ in range(1000)]
    source = (
        "{% for m in messages[::-1] %}{% if m.content == '' or m.role in ['tool'] %}{% endif %}"
        "{% endfor %}{% for m in messages %}{{ m.role | upper ~ ': ' ~ m.content | trim }}"
        "{% if m.content.startswith('<x>') and '</x>' in m.content %}"
        "{{ m.content.split('</x>')[-1] }}"
        "{% endif %}{% if messages | length > loop.index %},{% endif %}{% endfor %}"
    )
    assert rendered(source, messages=messages).count("USER: word") == 1000


def test_values_are_written_as_ever():
    values = {"n": None, "f": 1.5, "l": [1, "a"], "t": True}
    assert rendered("{{ n }} {{ f }} {{ l }} {{ t }} {{ 1 < 2 < 3 }}", **values) == (
        "None 1.5 [1, 'a'] True True"
    )
    assert rendered("{{ '%s-%d' % ('a', 3) }} {{ '{}-{x}'.format(1, x=2) }}") == "a-3 1-2"
    assert rendered("{{ [3, 1, 2] | sort | join(',') }} {{ ['b', 'a'] | unique | list }}") == (
        "1,2,3 ['b', 'a']"
    )


def test_counting_ends_early():
    shared: list[object] = [1]
    for _ in range(60):
        shared = [shared, shared]
    started = time.process_time()
    assert written(shared, 1 << 20) > 1 << 20
    assert time.process_time() - started < 5
