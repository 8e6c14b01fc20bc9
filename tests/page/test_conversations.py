"""What is said is kept: listed, found, reloaded, branched, exported, imported; and shown as
Markdown, in the reader's language.
"""

from __future__ import annotations

import json

import pytest

from tests.page.support import say, until, wait_for_end
from tests.page.test_form import answer_with

pytestmark = pytest.mark.slow
MARKDOWN = """Some **bold** words.

| Item | Price |
|---|---:|
| Apple | 2 |

```python
def greet(name):
    return f"Hello {name}"
```

So $x^2$ it is, for $5 and $6.
"""


def texts(page, role="assistant"):
    return page.locator(f".message.{role} .text").all_inner_texts()


def titles(page):
    return page.locator("#conversations .conversation").all_inner_texts()


def answered(page, text, answer):
    answer_with(page, answer)
    say(page, text)
    wait_for_end(page)


def test_markdown_is_shown_as_it_is_meant(open_page):
    page = open_page()
    answered(page, "Show it", MARKDOWN)
    assert page.inner_text(".markdown strong") == "bold"
    assert page.locator(".markdown table td").all_inner_texts() == ["Apple", "2"]
    until(page, "!!document.querySelector('.code-block .hljs-keyword')")
    assert page.inner_text(".code-block code").startswith("def greet(name):")
    until(page, "!!document.querySelector('.formula math')")
    assert page.locator(".formula").count() == 1
    assert "for $5 and $6." in page.inner_text(".markdown")


def test_streamed_markdown_is_the_same_as_whole(open_page):
    page = open_page()
    long = "\n\n".join(f"{MARKDOWN}\n- one\n- two {i}\n" for i in range(20))
    answer_with(page, long, 7)
    say(page, "Go")
    wait_for_end(page)
    streamed = page.inner_html(".assistant .text")
    answer_with(page, long, 100_000)
    page.get_by_role("button", name="Retry").click()
    wait_for_end(page)
    page.wait_for_timeout(300)
    count = "document.querySelectorAll('.assistant .text :is(p, table, li, pre)').length"
    assert page.evaluate(count) == 20 * (2 + 1 + 2 + 1)
    assert page.inner_text(".assistant .text").count("two 19") == streamed.count("two 19") == 1


def test_reload_keeps_the_conversation(open_page):
    page = open_page()
    answered(page, "What is a bridge?", "A way over water.")
    answer_with(page, "Of stone, often.")
    say(page, "Of what?")
    wait_for_end(page)
    page.reload()
    until(page, "document.querySelectorAll('.message').length === 4")
    assert texts(page) == ["A way over water.", "Of stone, often."]
    assert titles(page) == ["What is a bridge?"]
    page.click("#list-fresh")
    page.reload()
    until(page, "document.querySelectorAll('#conversations .conversation').length === 1")
    assert texts(page) == []
    page.locator("#conversations .conversation").click()
    until(page, "document.querySelectorAll('.message').length === 4")
    assert texts(page) == ["A way over water.", "Of stone, often."]


def test_variants_are_kept_and_turned_between(open_page):
    page = open_page()
    answered(page, "Say a word", "One")
    answer_with(page, "Two")
    page.get_by_role("button", name="Retry").click()
    wait_for_end(page)
    assert texts(page) == ["Two"]
    assert page.inner_text(".assistant .variants .figure") == "2/2"
    page.get_by_role("button", name="The variant before").click()
    assert texts(page) == ["One"]
    say(page, "Go on")
    wait_for_end(page)
    assert texts(page) == ["One", "Two"]
    page.get_by_role("button", name="The next variant").first.click()
    assert texts(page) == ["Two"]
    page.get_by_role("button", name="The variant before").click()
    assert texts(page) == ["One", "Two"]  # what was said behind it is there again


def test_answer_goes_on_where_it_ended(open_page):
    page = open_page()
    answered(page, "Count", "one, two,")
    answer_with(page, " three")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Continue").click()
    assert asked.value.post_data_json["messages"][-1] == {
        "role": "assistant",
        "content": "one, two,",
    }
    wait_for_end(page)
    assert texts(page) == ["one, two, three"]


def test_branch_is_a_conversation_of_its_own(open_page):
    page = open_page()
    answered(page, "First", "Answer")
    say(page, "Second")
    wait_for_end(page)
    page.get_by_role("button", name="Branch").nth(1).click()
    assert texts(page, "user") == ["First"]
    until(page, "document.querySelectorAll('#conversations .conversation').length === 2")


def test_rename_find_and_delete(open_page):
    page = open_page()
    answered(page, "About whales", "They sing.")
    page.click("#fresh")
    answered(page, "About owls", "They listen.")
    until(page, "document.querySelectorAll('#conversations .conversation').length === 2")
    page.fill("#find", "SING")
    until(page, "document.querySelectorAll('#conversations .conversation').length === 1")
    assert titles(page) == ["About whales"]
    page.locator("#conversations .menu summary").click()
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New title").fill("Whales")
    page.press("[aria-label='New title']", "Enter")
    page.fill("#find", "")
    until(page, "document.querySelectorAll('#conversations .conversation').length === 2")
    assert set(titles(page)) == {"Whales", "About owls"}
    row = page.locator("#conversations li", has_text="Whales")
    row.locator("summary").click()
    row.get_by_role("button", name="Delete").click()
    until(page, "document.querySelectorAll('#conversations .conversation').length === 1")


@pytest.mark.parametrize("kind", ["as JSON", "for SillyTavern"])
def test_export_and_import(open_page, kind, tmp_path):
    page = open_page()
    answered(page, "Say a word", "One")
    answer_with(page, "Two")
    page.get_by_role("button", name="Retry").click()
    wait_for_end(page)
    page.locator("#conversations .menu summary").click()
    with page.expect_download() as asked:
        page.get_by_role("button", name=f"Export {kind}").click()
    file = tmp_path / asked.value.suggested_filename
    asked.value.save_as(file)
    if kind == "for SillyTavern":
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert lines[0]["user_name"] == "You"
        assert lines[2]["swipes"] == ["One", "Two"]
        assert lines[2]["swipe_id"] == 1
    page.click("#fresh")
    page.set_input_files("#import-file", str(file))
    until(page, "document.querySelectorAll('.message').length === 2")
    assert texts(page) == ["Two"]
    page.get_by_role("button", name="The variant before").click()
    assert texts(page) == ["One"]


def test_file_that_is_no_conversation_is_told(open_page, tmp_path):
    page = open_page()
    (tmp_path / "other.json").write_text('{"rows": 3}')
    page.set_input_files("#import-file", str(tmp_path / "other.json"))
    until(page, "document.querySelector('#list-status').textContent.includes('other.json')")


def test_kept_on_the_server_another_browser_sees_it(open_page):
    first = open_page()
    first.click("#open-settings")
    first.check("#on-server")
    first.get_by_role("button", name="Done").click()
    answered(first, "Kept on the server", "Yes.")
    second = open_page()
    assert "Kept on the server" not in titles(second)
    second.click("#open-settings")
    second.check("#on-server")
    second.get_by_role("button", name="Done").click()
    until(
        second,
        "document.querySelector('#conversations').textContent.includes('Kept on the server')",
    )
    second.locator("#conversations .conversation").first.click()
    until(second, "document.querySelectorAll('.message').length === 2")


def test_settings_beside_the_chat_are_sent(open_page):
    page = open_page()
    page.click("#open-panel")
    page.fill("#system", "Be brief.")
    page.select_option("#preset", "Creative")
    answer_with(page, "Yes.")
    with page.expect_request("**/v1/chat/completions") as asked:
        say(page, "Hello")
    body = asked.value.post_data_json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["min_p"], body["repeat_penalty"]) == (1.1, 0.05, 1.1)
    page.fill("#preset-name", "Mine")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.reload()
    assert "Mine" in page.locator("#preset option").all_inner_texts()


@pytest.mark.parametrize(
    ("locale", "word"), [("de-DE", "Senden"), ("ja-JP", "送信"), ("pt-BR", "Send")]
)
def test_language_of_the_reader(open_page, locale, word):
    page = open_page(locale=locale)
    until(page, f"document.querySelector('#send').textContent === '{word}'")


def test_thoughts_are_apart(open_page):
    page = open_page()
    deltas = [{"reasoning_content": "Let me think."}, {"content": "Four."}]
    lines = [
        json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        for delta in deltas
    ]
    body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(body=body, content_type="text/event-stream"),
    )
    say(page, "Two and two?")
    wait_for_end(page)
    assert page.inner_text(".markdown") == "Four."
    page.click(".thoughts summary")
    assert "Let me think." in page.inner_text(".thoughts")
