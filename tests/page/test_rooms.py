"""Characters and documents, through the files that people drop."""

from __future__ import annotations

import json

import pytest

from tests.page.support import say, until, wait_for_end

pytestmark = pytest.mark.slow

HOSTILE = '<img src=x onerror="alert(1)">'
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": f"Ada {HOSTILE}",
        "description": "A lighthouse keeper.",
        "personality": "warm",
        "scenario": "",
        "first_mes": f"Come in {HOSTILE} out of the storm.",
        "mes_example": "",
    },
}
# Characters beyond the first plane come before the quote: the server counts them once, a JavaScript
# string twice.
TEXT = f"🦀🦀🦀 {HOSTILE} The island.\n\nThe lighthouse on the island was built in 1812 from grey granite.\n\nThe ferry to the mainland leaves from the pier."


def drop(page, selector, name, data, kind):
    """Drops a file on an element, as a person does."""
    script = """([name, text, kind]) => { const bag = new DataTransfer(); bag.items.add(new File([text], name, {type: kind})); return bag; }"""
    bag = page.evaluate_handle(script, [name, data, kind])
    page.dispatch_event(selector, "drop", {"dataTransfer": bag})


def test_card_is_dropped_and_played(open_page):
    page = open_page()
    page.get_by_role("link", name="Characters").click()
    drop(page, "#card-drop", "ada.json", json.dumps(CARD), "application/json")
    page.wait_for_selector("#cards .person")
    assert HOSTILE in page.inner_text("#cards")
    assert page.locator("#cards img").count() == 0
    page.fill("#scene", "A storm at night.")
    page.get_by_role("button", name="Play with").click()
    page.wait_for_selector("#banner:visible")
    assert "out of the storm" in page.inner_text("#messages")
    say(page, "Good evening. What is the light for?")
    wait_for_end(page)
    assert page.locator(".message.assistant").count() == 2
    assert not page.locator(".fault").count()
    assert page.locator(".message.assistant .text").last.inner_text()
    assert "character" in page.get_attribute("#bar", "aria-label")
    page.get_by_role("button", name="End the scene").click()
    assert page.locator(".message").count() == 0


def test_broken_card_is_told(open_page):
    page = open_page()
    page.get_by_role("link", name="Characters").click()
    drop(page, "#card-drop", "broken.json", "{", "application/json")
    until(page, "document.querySelector('#card-status').textContent.startsWith('broken.json')")


def test_quote_is_marked_in_its_source(open_page):
    pytest.importorskip("wordllama")
    page = open_page()
    page.get_by_role("link", name="Documents").click()
    drop(page, "#document-drop", "island.md", TEXT, "text/markdown")
    page.wait_for_selector("#names button")
    page.fill("#question", "When was the lighthouse built?")
    page.press("#question", "Enter")
    page.wait_for_selector("#answer .quote")
    assert "1812" in page.inner_text("#answer")
    quotes = page.locator("#answer .quote q").all_inner_texts()
    page.locator("#answer .quote").first.click()
    page.wait_for_selector("#source mark.current")
    assert page.inner_text("#source mark.current") == quotes[0].strip('“”"')
    assert HOSTILE in page.inner_text("#source")
    assert page.locator("#source img").count() == 0
    page.fill("#question", "Who won the chess olympiad in Dresden?")
    page.press("#question", "Enter")
    until(page, "document.querySelector('#answer').textContent.includes('do not say')")


def test_file_without_reader_is_told(open_page):
    pytest.importorskip("wordllama")
    page = open_page()
    page.get_by_role("link", name="Documents").click()
    drop(page, "#document-drop", "song.mp3", "x", "audio/mpeg")
    until(page, "document.querySelector('#document-status').textContent.includes('song.mp3')")


def test_interrupted_character_keeps_what_was_heard(open_page, served):
    page = open_page()
    page.get_by_role("link", name="Characters").click()
    drop(page, "#card-drop", "ada.json", json.dumps(CARD), "application/json")
    page.wait_for_selector("#cards .person")
    page.get_by_role("button", name="Play with").click()
    page.wait_for_selector("#banner:visible")
    say(page, "Tell me the whole story of the light.")
    page.wait_for_selector("#stop:visible")
    page.click("#stop")
    wait_for_end(page)
    assert page.locator(".fault").all_inner_texts() == []
    say(page, "Go on.")  # the session is free for the next turn
    wait_for_end(page)
    assert page.locator(".fault").all_inner_texts() == []


def test_nothing_is_changed_while_an_answer_is_under_way(open_page):
    page = open_page()
    say(page, "Write a very long story about a ship.", max_tokens=600)
    page.wait_for_selector("#stop:visible")
    assert page.get_by_role("button", name="Edit").count() == 0
    assert page.get_by_role("button", name="Retry").count() == 0
    page.click("#fresh")
    wait_for_end(page)
    assert page.locator(".message").count() == 0
