"""What the tests of the page do again and again."""

from __future__ import annotations

import time


def until(page, script, seconds=60.0):
    """Waits for a script to be true. (Playwright's own wait runs in the page with eval, which the
    page's policy forbids.)
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < deadline, f"never true: {script}"
        page.wait_for_timeout(30)


def say(page, text, *, max_tokens=None):
    if max_tokens is not None:
        page.evaluate(
            "(most) => { document.querySelector('#max-tokens').value = most; }", max_tokens
        )
    page.fill("#say", text)
    page.press("#say", "Enter")


def wait_for_end(page):
    page.wait_for_selector("#send:visible")
