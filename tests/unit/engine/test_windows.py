"""Pages behind the window: given back by the layers with one, and never missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import understudy
from tests.support.families import FAMILIES, made_checkpoint
from tests.unit.engine.fake import VOCAB, FakeRunner, continuation, letters
from understudy.checkpoint.convert import save_checkpoint
from understudy.engine import Engine, Request, SamplingParams
from understudy.engine.loading import kv_bytes_of, kv_bytes_per_token
from understudy.engine.sequence import Sequence
from understudy.engine.windows import NOWHERE, WindowKeeper, num_kept_places
from understudy.judge.benchmark.shapes import SHAPES
from understudy.spec import QuantSpec

WINDOW, SIZE = 6, 4
SPEC = FAMILIES["gemma3"].replace(max_positions=4096, vocab_size=64)  # windows of 9


class WindowedRunner(FakeRunner):
    """Beside the cells of all tokens those of a window, by place: whoever looks at a page without
    one, or at another's, fails."""

    def __init__(self, num_pages: int) -> None:
        super().__init__(num_pages, SIZE)
        self.places = [NOWHERE] * num_pages
        self.near = np.full((num_pages, SIZE), 255, np.int64)

    def set_place(self, page: int, place: int) -> None:
        self.places[page] = place

    def copy_page(self, source: int, target: int) -> None:
        super().copy_page(source, target)
        if self.places[source] != NOWHERE:
            self.near[self.places[target]] = self.near[self.places[source]]

    def step(self, sequences: list[Sequence], logit_counts: list[int]) -> np.ndarray:
        for sequence in sequences:
            for position in self._computed(sequence):
                self.near[self._cell(sequence, position)] = self._tokens(sequence)[position]
        for sequence in sequences:
            tokens = self._tokens(sequence)
            for last in self._computed(sequence):
                for position in range(max(0, last - WINDOW + 1), last + 1):
                    assert self.near[self._cell(sequence, position)] == tokens[position]
        return super().step(sequences, logit_counts)

    def _tokens(self, sequence: Sequence) -> list[int]:
        return sequence.tokens + sequence.drafts

    def _computed(self, sequence: Sequence) -> range:
        count = sequence.num_scheduled + len(sequence.drafts)
        return range(sequence.num_computed, sequence.num_computed + count)

    def _cell(self, sequence: Sequence, position: int) -> tuple[int, int]:
        place = self.places[sequence.pages[position // SIZE]]
        assert place != NOWHERE
        return place, position % SIZE


def make(num_pages: int, num_kept: int, **options) -> Engine:
    runner = WindowedRunner(num_pages)
    engine = Engine(runner, letters(), context=64, **options)
    engine.pool.windows = WindowKeeper(num_pages, SIZE, WINDOW, num_kept, runner.set_place)
    return engine


STEMS = [[(7 * i + k) % VOCAB for i in range(30)] for k in range(2)]
prompts = st.builds(
    lambda stem, length, tail: STEMS[stem][:length] + tail,
    st.integers(0, 1),
    st.integers(0, 30),
    st.lists(st.integers(1, 2), min_size=1, max_size=4),
)


@settings(deadline=None)
@given(
    waves=st.lists(st.lists(prompts, min_size=1, max_size=4), min_size=1, max_size=4),
    num_pages=st.integers(12, 40),
    num_kept=st.integers(0, 12),
    batch=st.integers(1, 16),
    speculate=st.sampled_from([0, 3]),
)
def test_answers_never_miss_what_is_given_back(waves, num_pages, num_kept, batch, speculate):
    engine = make(num_pages, num_kept, max_batch_tokens=batch, speculate=speculate)
    for wave in waves:
        ids = {
            engine.add(Request(list(prompt), SamplingParams(max_tokens=8))): prompt
            for prompt in wave
        }
        found: dict[int, list[int]] = {id: [] for id in ids}
        while engine.has_work:
            for output in engine.step():
                found[output.id] += output.new_tokens
        assert found == {id: continuation(prompt, 8) for id, prompt in ids.items()}
        keeper = engine.pool.windows
        assert not any(keeper._readers)
        assert sum(keeper.has(page) for page in range(num_pages)) <= num_kept
    assert engine.pool.num_free == num_pages


def test_a_long_text_has_no_more_places_than_its_window_and_a_step_need():
    engine = make(16, 0, max_batch_tokens=8)
    engine.add(Request(STEMS[0], SamplingParams(max_tokens=30)))
    while engine.has_work:
        engine.step()
    assert engine.pool.windows.num_places <= (WINDOW + 8) // SIZE + 2


def test_a_beginning_is_gone_on_from_where_the_window_before_it_is_left():
    engine = make(16, 6)
    text = STEMS[0] + continuation(STEMS[0], 10)

    def cached(prompt: list[int]) -> int:
        engine.add(Request(prompt, SamplingParams(max_tokens=1)))
        outputs = []
        while engine.has_work:
            outputs += engine.step()
        return outputs[-1].usage.cached_tokens

    cached(text)
    assert cached([*text, 1]) == 40  # goes on at the end
    assert cached([*text[:9], 63]) == 0  # what the window sees there was given to others
    assert cached([*text[:9], 63, 2]) == 10  # and has been read anew
    assert cached([*text, 1, 2]) == 41


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("windows") / "model.gguf"
    save_checkpoint(made_checkpoint(SPEC), path, QuantSpec("q8"))
    return path


def _load(file):
    return understudy.load(file, context=1024, num_threads=1, use_cache=False, max_batch_tokens=64)


def _answer(model, prompt: list[int], count: int = 12) -> tuple[list[int], int]:
    params = SamplingParams(max_tokens=count, temperature=0.0, ignore_eos=True)
    outputs = list(model.driver.outputs(Request(prompt, params)))
    answer = [token for output in outputs for token in output.new_tokens]
    return answer, outputs[-1].usage.cached_tokens


def test_turns_edits_and_swipes_give_the_text_of_a_run_that_reads_all(file) -> None:
    rng = np.random.default_rng(0)
    with _load(file) as model:
        assert model.engine.pool.windows is not None
        text = rng.integers(0, 64, 100).tolist()
        for turn in range(24):
            known = list(text)
            match turn % 3:
                case 0:
                    text = text + rng.integers(0, 64, int(rng.integers(1, 90))).tolist()
                case 1:
                    text = (
                        text[: int(rng.integers(1, len(text)))] + rng.integers(0, 64, 20).tolist()
                    )
            if len(text) > 900:
                text = text[:90]
            answer, cached = _answer(model, text)
            rows = model.logits(text + answer)[len(text) - 1 : -1]
            assert answer == rows.argmax(axis=-1).tolist()
            if turn and turn % 3 == 0 and text[: len(known)] == known:
                assert cached >= len(known) - 1  # a turn reads what is new
            text = text + answer


def test_a_saved_session_goes_on_where_it_was(file, tmp_path) -> None:
    prompt = np.random.default_rng(2).integers(0, 64, 700).tolist()
    with _load(file) as model:
        answer, _ = _answer(model, prompt)
        count = model.save_state(tmp_path / "state", prompt + answer[:-1])
        after, cached = _answer(model, prompt + answer)
        assert cached == count == len(prompt) + 11
    with _load(file) as again:
        again.load_state(tmp_path / "state")
        assert _answer(again, prompt + answer) == (after, count)
        assert again.engine.pool.windows.num_places < 12  # of 23 pages
        assert _answer(again, prompt) == (answer, 0)  # 700 lies behind what is left of the window


def test_memory_is_counted_as_it_is_taken() -> None:
    spec, kv = SHAPES["gemma-3-270m"], "f16"
    plain = kv_bytes_per_token(spec, kv) * 32768
    assert kv_bytes_of(spec, kv, 32768, 512) < 0.5 * plain
    assert kv_bytes_of(spec, kv, 1024, 512) == plain // 32  # shorter than what is kept
    assert num_kept_places(SHAPES["qwen3-0.6b"], 1024, 32) == 0
