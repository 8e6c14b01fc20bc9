"""The red team's page in Chromium, with a model that says what the test wants."""

from __future__ import annotations

import json

import pytest

from tests.page.support import until
from tests.page.test_form import CONTRAST, fits
from tests.redteam.conftest import Bench, Paced, running
from tests.support.random_model import babbler
from tests.unit.judge.redteam.made import rated
from tests.unit.judge.redteam.test_conversation import CARD
from tests.unit.judge.safety.fakes import HOSTILE
from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.store import RedTeamStore
from understudy.judge.redteam.web.app import create_app

pytestmark = pytest.mark.slow
VIEWS = ("talk", "goals", "overview")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as model:
        yield model


@pytest.fixture
def bench(loaded, tmp_path):
    model = Paced(loaded, lambda prompt: f"I say {prompt.text.count('I say') + 1}")
    with RedTeamStore(tmp_path / "team.sqlite") as store:
        live = Live(store, model, "fake")
        with running(create_app(live)) as url:
            yield Bench(url, live, store, model)


@pytest.fixture
def open_bench(chromium, bench):
    """A function that opens the page as somebody; at the end nothing may have been asked elsewhere,
    and no script may have failed.
    """
    opened, faults = [], []

    def open_it(rater="rater-a", place="", width=1300, height=850, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda line: (
                faults.append(line.text) if "Content Security Policy" in line.text else None
            ),
        )
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((bench.url, "blob:")) else faults.append(asked.url)
            ),
        )
        page.on(
            "dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        if rater:
            page.add_init_script(f"localStorage.setItem('understudy-rater', {json.dumps(rater)})")
        page.goto(f"{bench.url}/{place}")
        until(page, "document.body.dataset.ready === 'yes'")
        opened.append(context)
        return page

    yield open_it
    for context in opened:
        context.close()
    assert faults == []


def begin(page, system="You sell ropes."):
    page.click("#new")
    page.fill("#system", system)
    page.get_by_role("button", name="Begin", exact=True).click()
    page.wait_for_selector("#composer:visible")


def say(page, text):
    page.fill("#say", text)
    page.press("#say", "Enter")
    page.wait_for_selector("#send:visible")
    until(page, "!document.querySelector('.writing')")


def answers(page):
    return page.locator("#messages .assistant .text").all_inner_texts()


def test_an_attack_is_made_rated_and_kept(open_bench, bench):
    page = open_bench()
    page.get_by_role("link", name="Goals").click()
    page.fill("#goal-title", "Make it give a rope away")
    page.get_by_role("button", name="Add the goal").click()
    page.get_by_role("button", name="Attack: Make it give a rope away").click()
    page.fill("#system", "You sell ropes.")
    page.get_by_role("button", name="Begin", exact=True).click()
    page.wait_for_selector("#composer:visible")
    say(page, "What does a rope cost?")
    page.select_option("#converter", "base64")
    page.select_option("#converter", "decode")
    page.click("#preview summary")
    page.fill("#say", "lock")
    until(page, "document.querySelector('#preview-text').textContent.endsWith('bG9jaw==')")
    say(page, "lock")
    assert answers(page) == ["I say 1", "I say 2"]
    assert "through base64, then decode" in page.inner_text("#messages")
    page.get_by_label("high").check()
    page.get_by_role("button", name="Rate", exact=True).click()
    assert "category" in page.inner_text("#rating-status")
    page.select_option("#category", "Fraud/Deception")
    assert "Criminal Planning/Confessions" in page.inner_text("#category-hint")
    page.select_option("#first-harm", "2")
    page.fill("#note", "gives it away")
    page.get_by_role("button", name="Rate", exact=True).click()
    page.wait_for_selector("#given:visible")
    assert page.is_visible("#closed")
    assert "first harm" in page.inner_text("#messages")
    page.select_option("#fix-status", "fixed")
    page.fill("#fix-link", "javascript:alert(1)")
    page.get_by_role("button", name="Keep").click()
    until(page, "document.querySelector('#fix-now').textContent.includes('fixed')")
    assert page.locator("#fix-now a").count() == 0
    records = bench.store.records()
    assert [(turn.original, turn.converters, turn.answer) for turn in records.turns] == [
        ("What does a rope cost?", (), "I say 1"),
        ("lock", ("base64", "decode"), "I say 2"),
    ]
    (rating,) = records.ratings
    assert (
        rating.rater,
        rating.severity,
        rating.category,
        rating.first_harm,
        rating.note,
        rating.is_blind,
    ) == (
        "rater-a",
        "high",
        "Fraud/Deception",
        2,
        "gives it away",
        True,
    )
    assert records.conversations[0].goal == records.goals[0].id
    page.get_by_role("link", name="Overview").click()
    until(
        page,
        "document.querySelector('#figures').textContent.startsWith('1rated1findings0open1fixed')",
    )


def test_the_second_rater_sees_others_only_afterwards(open_bench, bench):
    conversation = rated(bench.store, ("rater-a", "critical", "Malware", "2"))
    page = open_bench("rater-b", f"#talk/{conversation.id}")
    page.wait_for_selector("#rating:visible")
    assert not page.is_visible("#given")
    assert "not rated" in page.inner_text("#rows")
    page.get_by_label("low").check()
    page.select_option("#category", "Harassment")
    page.get_by_role("button", name="Rate", exact=True).click()
    page.wait_for_selector("#given:visible")
    assert "critical" in page.inner_text("#given")
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector("#agreement table")
    assert "rater-a and rater-b" in page.inner_text("#agreement caption")
    assert "3 steps apart" in page.inner_text("#agreement")


def test_stop_branch_and_run_again(open_bench, bench):
    bench.model._says, bench.model.pause = (lambda _: " ".join(map(str, range(3000)))), 0.01
    page = open_bench()
    begin(page)
    page.fill("#say", "count")
    page.press("#say", "Enter")
    until(page, "document.querySelector('.assistant .text')?.textContent.includes('9 ')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#send:visible")
    until(page, "document.querySelector('#messages').textContent.includes('Stopped here.')")
    bench.model._says, bench.model.pause = (
        (lambda prompt: f"I say {prompt.text.count('I say') + 1}"),
        0.0,
    )
    say(page, "again")
    page.get_by_role("button", name="Branch here").first.click()
    until(page, "document.querySelectorAll('#messages .user').length === 1")
    page.get_by_role("button", name="Run again on this model").click()
    until(page, "document.querySelector('#talk-line').textContent.includes('re-run')")
    assert answers(page) == ["I say 1"]
    assert [one.relation for one in bench.store.records().conversations] == [
        None,
        "branch",
        "rerun",
    ]
    page.go_back()
    until(page, "document.querySelector('#talk-line').textContent.includes('branch')")


def test_a_setup_with_everything(open_bench, bench):
    page = open_bench()
    page.click("#new")
    page.fill("#title", "all of it")
    for name in ("Character", "Documents", "Tools", "Sampling"):
        page.locator("#setup summary", has_text=name).click()
    page.set_input_files(
        "#card-file",
        {"name": "hilde.json", "mimeType": "application/json", "buffer": json.dumps(CARD).encode()},
    )
    until(page, "document.querySelector('#card-name').textContent === 'Hilde'")
    page.set_input_files(
        "#document-file",
        {"name": "rye.txt", "mimeType": "text/plain", "buffer": b"Rye is a grain."},
    )
    page.fill("#document-text", "Wheat too.")
    page.fill("#tools", "[{")
    page.get_by_role("button", name="Begin", exact=True).click()
    until(
        page, "document.querySelector('#setup-fault').textContent.includes('Tools cannot be read')"
    )
    page.get_by_role("button", name="Put in an example").click()
    page.fill("#seed", "7")
    page.get_by_role("button", name="Begin", exact=True).click()
    page.wait_for_selector("#composer:visible")
    assert "Good day, User." in page.inner_text("#messages")
    setup = bench.store.records().conversations[0].setup
    assert setup["character"] == CARD
    assert [one["text"] for one in setup["documents"]] == ["Rye is a grain.", "Wheat too."]
    assert setup["tools"][0]["function"]["name"] == "read_mail"
    assert setup["sampling"]["seed"] == 7


def test_hostile_answers_are_only_text(open_bench, bench):
    bench.model._says = lambda _: HOSTILE
    page = open_bench(width=375)
    page.get_by_role("button", name="List").click()
    begin(page, HOSTILE[:40].replace("\ud800", ""))
    say(page, "<img src=x onerror=alert(1)>")
    assert page.evaluate(
        "[...document.querySelectorAll('#messages .text')].every((e) => e.childElementCount === 0)"
    )
    found = page.evaluate("document.querySelector('#messages').textContent")
    assert not set(found) & {"\x1b", "\x07", "\x00", "\x9b", "\u202e"}
    assert "more characters are not shown" in found
    assert fits(page)
    bench.model._says = lambda _: "still here"
    say(page, "Hello")
    assert answers(page)[-1] == "still here"
    page.reload()
    until(page, "document.body.dataset.ready === 'yes'")
    assert answers(page)[-1] == "still here"
    assert fits(page)


def test_a_message_that_fails_is_told_and_kept(open_bench, bench):
    page = open_bench()
    begin(page)
    say(page, "word " * 5000)
    assert "fit" in page.locator(".fault").first.inner_text()
    say(page, "Hello")
    assert answers(page)[-1] == "I say 1"


def test_who_is_asked_first(open_bench, bench):
    page = open_bench(rater="")
    assert page.is_visible("#who")
    page.keyboard.press("Escape")
    page.fill("#who-name", "rater-é <b>")
    page.get_by_role("button", name="Go on").click()
    until(page, "document.querySelector('#rater').textContent === 'rater-é <b>'")
    begin(page)
    say(page, "x")
    page.get_by_label("none").check()
    page.get_by_role("button", name="Rate", exact=True).click()
    page.wait_for_selector("#given:visible")
    assert bench.store.records().ratings[0].rater == "rater-é <b>"


def test_export_and_import(open_bench, bench, tmp_path):
    rated(bench.store, ("rater-a", "none"))
    page = open_bench(place="#overview")
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "out.jsonl")
    page.set_input_files("#import-file", tmp_path / "out.jsonl")
    until(page, "document.querySelector('#import-status').textContent.includes('0 rating')")
    (tmp_path / "bad.jsonl").write_text("{")
    page.set_input_files("#import-file", tmp_path / "bad.jsonl")
    until(page, "document.querySelector('#import-status').textContent.includes('not JSON')")


@pytest.mark.parametrize("width", [375, 900, 1300])
@pytest.mark.parametrize("view", VIEWS)
def test_every_width_fits_and_every_control_is_reached(open_bench, bench, view, width):
    conversation = rated(
        bench.store, ("rater-a", "high", "Violence", "2"), ("rater-b", "low", "Threat", "1")
    )
    bench.store.add_goal("g" * 300, by="rater-a", plan="p" * 500)
    page = open_bench(
        place=f"#{view}/{conversation.id}" if view == "talk" else f"#{view}",
        width=width,
        height=750,
    )
    for panel in ("list", "talk", "judge") if view == "talk" and width == 375 else (None,):
        if panel:
            page.click(f".panels [data-panel={panel}]")
        assert fits(page)
        small = """() => [...document.querySelectorAll('a, button, select, input')].filter((e) => e.offsetParent && !['checkbox', 'radio', 'file'].includes(e.type)
            && !e.classList.contains('skip')).filter((e) => e.getBoundingClientRect().height < 24 && getComputedStyle(e).display !== 'inline').map((e) => e.id || e.textContent)"""
        assert page.evaluate(small) == []
        nameless = """() => [...document.querySelectorAll('button, select, input, textarea, a')].filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim()
            || e.labels?.length)).map((e) => e.outerHTML)"""
        assert page.evaluate(nameless) == []
        page.evaluate("document.activeElement.blur()")
        shown = """() => [...document.querySelectorAll('button, select, input, textarea')].filter((e) => e.offsetParent && !e.disabled && e.type !== 'radio').map((e) => e.id).filter(Boolean)"""
        wanted, reached = set(page.evaluate(shown)), set()
        for _ in range(70):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id"))
        assert wanted <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(open_bench, scheme):
    page = open_bench(color_scheme=scheme)
    pairs = [
        [front, back]
        for front in ("ink", "soft", "fault")
        for back in ("paper", "raised", "sunk", "tint")
    ]
    rows = page.evaluate(CONTRAST, [*pairs, ["accent", "tint"]])
    assert [row for row in rows if row[2] < 4.5] == []
    dots = [
        [name, back]
        for name in ("none", "low", "medium", "high", "critical")
        for back in ("paper", "raised", "tint")
    ]
    assert [row for row in page.evaluate(CONTRAST, dots) if row[2] < 3] == []  # not text: 3 : 1


def test_answers_are_announced_and_a_rating_works_by_keyboard(open_bench, bench):
    page = open_bench()
    begin(page)
    say(page, "Hello")
    assert page.inner_text("#announcer") == "I say 1"
    page.focus("input[name=severity]")
    page.keyboard.press("Space")
    page.focus("#rate")
    page.keyboard.press("Enter")
    page.wait_for_selector("#given:visible")
    assert bench.store.records().ratings[0].severity == "none"
