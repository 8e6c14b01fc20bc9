"""What must hold whatever is said: hostile text does nothing, every control has a name, contrasts
and widths suffice.
"""

from __future__ import annotations

import json

import pytest

from tests.page.support import say, wait_for_end

pytestmark = pytest.mark.slow
VIEWS = ("chat", "characters", "documents", "tools")


def stream_of(text, size=4000):
    """A server's answer that streams this text."""
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    lines = [
        json.dumps({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        for piece in pieces
    ]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])


def answer_with(page, text, size=4000):
    """Makes the server's next answers a stream of this text."""
    body = stream_of(text, size)
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(body=body, content_type="text/event-stream"),
    )


def fits(page):
    return page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script><img src=x onerror=alert(1)><style>*{display:none}</style></li></ol><iframe src='//x.example'></iframe>",
        "\x1b[2J\x1b[31mred\x07\x00\x9b1m \u202eevil\u2066 \ud83d\udc69\u200d\ud83d\udcbb",
        "# title\n[a](javascript:alert(1)) {{constructor}} ${alert(1)} &lt;b&gt; ]]>",
    ],
)
def test_hostile_answer_is_only_text(open_page, text):
    page = open_page()
    answer_with(page, text)
    say(page, text.replace("\x00", ""))
    wait_for_end(page)
    assert page.evaluate(
        "[...document.querySelectorAll('.user .text')].every((e) => e.childElementCount === 0)"
    )
    tags = page.evaluate(
        "[...new Set([...document.querySelectorAll('.assistant .text *')].map((e) => e.localName))]"
    )
    assert set(tags) <= {"p", "br", "h3", "a", "em", "strong", "code", "span"}
    assert not page.evaluate("!!document.querySelector('.assistant .text a[href^=\"javascript\"]')")
    assert not page.evaluate(
        """[...document.querySelectorAll('.text *')].some((element) =>
            [...element.attributes].some(({name}) => name.startsWith('on') || name === 'style'))"""
    )
    found = page.evaluate("document.querySelector('.assistant .text').textContent")
    assert not any(character in found for character in "\x00\x07\x1b\x9b\u202e\u2066")
    assert found.startswith(text.lstrip("# ")[:1].replace("\x1b", "␛"))
    assert fits(page)
    assert page.is_visible("#send")


def test_what_a_guard_stopped_is_shown_and_never_sent_again(open_page):
    page = open_page()
    sent = []
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "One. "}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"refusal": "Not here."}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]},
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"

    def answer(route):
        sent.append(json.loads(route.request.post_data)["messages"])
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/v1/chat/completions", answer)
    say(page, "A bad thing")
    wait_for_end(page)
    assert "Not here." in page.inner_text(".message.assistant")
    say(page, "A good thing")
    wait_for_end(page)
    assert [message["content"] for message in sent[1]] == ["A good thing"]


def test_line_of_a_megabyte_leaves_the_page_usable(open_page):
    page = open_page(width=375)
    answer_with(page, "x" * 1_000_000, 50_000)
    say(page, "Go on")
    wait_for_end(page)
    assert "900,000 more characters" in page.inner_text(".message.assistant")
    assert fits(page)
    page.unroute("**/v1/chat/completions")
    page.click("#fresh")
    say(page, "Hello", max_tokens=8)
    wait_for_end(page)
    assert page.inner_text(".message.assistant .text")


def test_event_that_is_no_json_is_told(open_page):
    page = open_page()
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(body="data: {oops\n\n", content_type="text/event-stream"),
    )
    say(page, "Hello")
    wait_for_end(page)
    assert page.locator(".message .fault").count() == 1


@pytest.mark.parametrize("view", VIEWS)
def test_phone_width(open_page, served, view):
    page = open_page(f"{served.url}/#{view}", width=375, height=700)
    assert fits(page)
    small = """() => [...document.querySelectorAll('a, button, select, input')].filter((e) => e.offsetParent && e.type !== 'checkbox' && !e.classList.contains('skip'))
        .filter((e) => e.getBoundingClientRect().height < 24 || e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.id || e.textContent)"""
    assert page.evaluate(small) == []


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_has_a_name_and_is_reached_by_tab(open_page, served, view):
    page = open_page(f"{served.url}/#{view}")
    nameless = """() => [...document.querySelectorAll('button, select, input, textarea, a')].filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim()
        || e.labels?.length)).map((e) => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    page.evaluate("document.activeElement.blur()")
    wanted = set(
        page.evaluate("""() => [...document.querySelectorAll('button, select, input, textarea')]
        .filter((e) => e.offsetParent && !e.disabled).map((e) => e.id).filter(Boolean)""")
    )
    reached, first = set(), None
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.id")
        first = focused if first is None else first
        reached.add(focused)
    assert "skip" in reached
    assert wanted <= reached


CONTRAST = """(pairs) => pairs.map(([front, back]) => {
  const light = (name) => {
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = `var(--${name})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    probe.remove();
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
  return [front, back, a / b];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(open_page, scheme):
    page = open_page(color_scheme=scheme)
    pairs = [
        [front, back]
        for front in ("ink", "soft", "accent", "fault")
        for back in ("paper", "raised")
    ]
    pairs += [
        ["ink", "tint"],
        ["accent", "tint"],
        ["on-accent", "accent"],
        ["ink", "glow"],
        ["soft", "sunk"],
    ]
    assert [row for row in page.evaluate(CONTRAST, pairs) if row[2] < 4.5] == []


def test_theme_follows_the_system_until_it_is_chosen(open_page):
    page = open_page(color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Change to the light theme").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_answer_is_announced(open_page):
    page = open_page()
    answer_with(page, "A bridge crosses water.")
    say(page, "What is a bridge?")
    wait_for_end(page)
    assert page.inner_text("#announcer") == "A bridge crosses water."
    assert page.get_attribute("#announcer", "aria-live") == "polite"
