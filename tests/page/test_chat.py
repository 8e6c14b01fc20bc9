"""Chat: streaming, stop, edit, retry, tools, ledger, speed, key."""

from __future__ import annotations

import pytest

import understudy
from tests.page.support import say, until, wait_for_end
from tests.serve.conftest import MODEL, live
from understudy.serve.keys import new_key

pytestmark = pytest.mark.slow


def answers(page):
    return page.locator(".message.assistant .text").all_inner_texts()


def test_answer_is_streamed_and_measured(open_page):
    page = open_page()
    say(page, "Write a long story about a ship.", max_tokens=200)
    until(page, "document.querySelector('.assistant .text').textContent.length > 0")
    assert page.is_visible("#stop")  # text is there before the end
    early = len(answers(page)[0])
    wait_for_end(page)
    assert len(answers(page)[0]) > early
    assert "tokens/s" in page.inner_text("#rate")
    assert "…" not in page.inner_text("#rate")
    assert page.inner_text("#first").startswith("first token ")
    assert "–" not in page.inner_text("#first")
    label = page.get_attribute("#bar", "aria-label")
    assert "your message" in label
    assert "of 1024 tokens" in label
    page.click("#ledger summary")
    rows = page.locator("#legend li b").all_inner_texts()
    assert (
        sum(int(row.replace(",", "")) for row in rows) == 1024
    )  # every token of the context is accounted for


def test_stop_keeps_what_came_and_the_server_ends(open_page, served):
    page = open_page()
    say(page, "Write a very long story about a ship.", max_tokens=900)
    until(page, "document.querySelector('.assistant .text').textContent.length > 10")
    page.press("#say", "Escape")
    wait_for_end(page)
    assert len(answers(page)[0]) > 10
    assert "Stopped." in page.inner_text(".message.assistant")
    until(
        page,
        "async () => (await (await fetch('/ps')).json()).models.every((model) => model.running === 0)",
        5.0,
    )


def test_retry_and_edit_ask_again(open_page):
    page = open_page()
    say(page, "Say hello.", max_tokens=24)
    wait_for_end(page)
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Retry").click()
    assert [message["content"] for message in asked.value.post_data_json["messages"]] == [
        "Say hello."
    ]
    wait_for_end(page)
    assert page.locator(".message").count() == 2
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_role("textbox", name="Edit your message").fill("Say goodbye.")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Say this instead").click()
    assert [message["content"] for message in asked.value.post_data_json["messages"]] == [
        "Say goodbye."
    ]
    wait_for_end(page)
    say(page, "And again.")
    wait_for_end(page)
    assert page.locator(".message").count() == 4
    page.click("#fresh")
    assert page.locator(".message").count() == 0
    assert page.is_visible("#welcome")


def test_call_is_shown_and_its_result_used(open_page):
    page = open_page()
    page.evaluate("document.querySelector('#temperature').value = 0")
    page.get_by_role("link", name="Tools").click()
    page.fill("#tools-text", "[{")
    assert "cannot be read" in page.inner_text("#tools-status")
    page.get_by_role("button", name="Put in an example").click()
    page.select_option("#tools-choice", "required")
    page.get_by_role("link", name="Chat").click()
    say(page, "What is the price of 4 apples?")
    wait_for_end(page)
    assert "price" in page.inner_text(".call-name")
    assert '"item"' in page.inner_text(".call .arguments")
    page.get_by_label("price returned").first.fill("4 apples cost 8 silver coins")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Give the result").click()
    messages = asked.value.post_data_json["messages"]
    assert [message["role"] for message in messages[:3]] == ["user", "assistant", "tool"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]
    wait_for_end(page)
    assert page.locator(".message.assistant").count() == 2
    assert page.locator(".fault").all_inner_texts() == []


def test_key_is_asked_for_and_used(open_page, tmp_path):
    key = new_key(tmp_path / "keys", "anna")
    with (
        understudy.load(MODEL, context=256) as model,
        live(model, key_file=tmp_path / "keys") as guarded,
    ):
        page = open_page(guarded.url)
        assert "asks for a key" in page.inner_text("#settings")
        page.fill("#key", key)
        page.get_by_role("button", name="Done").click()
        until(page, "document.querySelector('#model').options.length > 0")
        say(page, "Hello", max_tokens=8)
        wait_for_end(page)
        assert answers(page)[0]
        assert key not in page.evaluate("JSON.stringify(localStorage)")
        page.context.close()


def test_error_is_told_and_the_chat_goes_on(open_page):
    page = open_page()
    say(page, "word " * 3000)
    wait_for_end(page)
    assert page.locator(".message .fault").inner_text()
    page.click("#fresh")
    say(page, "Hello", max_tokens=8)
    wait_for_end(page)
    assert answers(page)[-1]
