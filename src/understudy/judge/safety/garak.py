"""garak's offline probes over an OpenAI endpoint, run by a Python that has garak, one probe after
the other.

    target = Target("http://127.0.0.1:8080/v1", "smollm2-135m-instruct", fingerprint)
    run = GarakRun(Path("garak-venv/bin/python"), target, folder, store)
    run.probe("encoding.InjectBase64")   # its findings are lines of the store, in AEGIS's taxonomy

`OFFLINE` lists the probes whose prompts lie in garak's wheel and whose detectors match strings, so
that neither needs a network. Each probe is a process of its own: what was interrupted goes on with
the next probe, and one that fails takes none with it. garak is never imported here; its report is
read as data (`garak_report`).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import MissingError, UnderstudyError, UsageError
from understudy.judge.safety.garak_report import lines_of, read_attempts
from understudy.judge.safety.run import read_store
from understudy.report.lines import append_line

GENERATOR = "openai.OpenAICompatible"
KEY_VARIABLE = "OPENAICOMPATIBLE_API_KEY"  # garak's own name
CHECKED_VERSION = "0.17.1"

_ENCODINGS = (
    "Ascii85",
    "Atbash",
    "Base16",
    "Base2048",
    "Base32",
    "Base64",
    "Braille",
    "Ecoji",
    "Hex",
    "Morse",
    "Nato",
    "ROT13",
    "UU",
    "UnicodeTagChars",
    "Zalgo",
)
_BY_CATEGORY: dict[
    str, tuple[str, ...]
] = {  # what a fault of the probe is, in the names of AEGIS 2.0
    "Hate/Identity Hate": (
        *(f"encoding.Inject{name}" for name in _ENCODINGS),
        "continuation.ContinueSlursReclaimedSlurs",
        "grandma.Slurs",
        "lmrc.Deadnaming",
        "lmrc.SlurUsage",
        "promptinject.HijackHateHumans",
    ),
    "Threat": ("promptinject.HijackKillHumans",),
    "Sexual": ("lmrc.SexualContent", "lmrc.Sexualisation"),
    "Controlled/Regulated Substances": ("grandma.Substances",),
    "Unauthorized Advice": ("lmrc.QuackMedicine",),
    "Copyright/Trademark/Plagiarism": (
        *(
            f"leakreplay.{text}{how}"
            for text in ("Guardian", "Literature", "NYT", "Potter")
            for how in ("Cloze", "Complete")
        ),
        "grandma.Win10",
        "grandma.Win11",
    ),
    "PII/Privacy": (
        "divergence.Repeat",
        "web_injection.ColabAIDataLeakage",
        "web_injection.MarkdownImageExfil",
        "web_injection.MarkdownURIImageExfilExtended",
        "web_injection.MarkdownURINonImageExfilExtended",
        "web_injection.PlaygroundMarkdownExfil",
        "web_injection.StringAssemblyDataExfil",
    ),
    "Malware": (
        "ansiescape.AnsiEscaped",
        "ansiescape.AnsiRaw",
        "exploitation.JinjaTemplatePythonInjection",
        "exploitation.SQLInjectionEcho",
        "malwaregen.Evasion",
        "malwaregen.Payload",
        "malwaregen.SubFunctions",
        "malwaregen.TopLevel",
        "web_injection.MarkdownXSS",
        "web_injection.TaskXSS",
    ),
    "Fraud/Deception": ("apikey.CompleteKey", "apikey.GetKey"),
    "Illegal Activity": (
        "adaptive_attacks.AdaptiveAttacks",
        "badchars.BadCharacters",
        "dra.DRA",
        "phrasing.FutureTense",
        "phrasing.PastTense",
        "suffix.GCGCached",
        "tap.TAPCached",
    ),
    "Manipulation": (
        "dan.Ablation_Dan_11_0",
        "dan.AutoDANCached",
        "dan.DanInTheWild",
        "goodside.Tag",
        "latentinjection.LatentInjectionFactSnippetEiffel",
        "latentinjection.LatentInjectionFactSnippetLegal",
        "latentinjection.LatentInjectionReport",
        "latentinjection.LatentInjectionResume",
        "latentinjection.LatentInjectionTranslationEnFr",
        "latentinjection.LatentInjectionTranslationEnZh",
        "latentinjection.LatentWhois",
        "latentinjection.LatentWhoisSnippet",
        "promptinject.HijackLongPrompt",
    ),
    "Political/Misinformation/Conspiracy": ("goodside.WhoIsRiley", "snowball.GraphConnectivity"),
    "Other": ("divergence.RepeatedToken", "goodside.ThreatenJSON"),
}
OFFLINE: dict[str, str] = {
    probe: category for category, probes in _BY_CATEGORY.items() for probe in sorted(probes)
}


@dataclass(frozen=True, slots=True)
class Target:
    """An OpenAI endpoint, the name that it serves the model by, and what the model is known by;
    `record` is the run's."""

    url: str
    model: str
    fingerprint: str
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GarakSettings:
    """`cap`: at most so many prompts of each probe, drawn by garak's seed. Greedy, so that a run
    can be repeated."""

    cap: int = 16
    generations: int = 1
    max_tokens: int = 96
    temperature: float = 0.0
    seed: int = 0
    timeout_s: float = 7200.0

    def __post_init__(self) -> None:
        for name in ("cap", "generations", "max_tokens"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise UsageError(
                    "setting is out of range",
                    where=name,
                    expected="at least 1",
                    found=getattr(self, name),
                )


class GarakRun:
    """garak for one target; its own files go to `folder`, its findings to `store`.

    Raises:
        MissingError: that Python has no garak.
    """

    def __init__(
        self,
        python: Path,
        target: Target,
        folder: Path,
        store: Path,
        settings: GarakSettings | None = None,
    ) -> None:
        self.python, self.target, self.folder, self.store = python, target, folder, store
        self.settings = settings or GarakSettings()
        self.version = garak_version(python)

    def probe(self, name: str) -> int:
        """Runs a probe, unless its finished report with these settings lies there; returns how many
        answers it has.

        Raises:
            UsageError: no probe of `OFFLINE`.
            UnderstudyError: garak failed; its log says how.
        """
        if name not in OFFLINE:
            raise UsageError("no offline probe of garak", where=name, expected=" ".join(OFFLINE))
        self.folder.mkdir(parents=True, exist_ok=True)
        config, report = self.folder / f"{name}.json", self.folder / f"{name}.report.jsonl"
        wanted = self._config(name)
        if not (is_finished(report) and _asks_the_same(config, wanted)):
            config.write_text(json.dumps(wanted, indent=1) + "\n", "utf-8")
            report.unlink(missing_ok=True)
            self._run(name, config)
            if not is_finished(report):
                raise UnderstudyError(
                    "garak ended without a finished report",
                    where=name,
                    do=f"read {self._log(name)}",
                )
        return self._take(name, report)

    def _config(self, name: str) -> dict[str, Any]:
        settings = self.settings
        generator = {
            "uri": self.target.url.rstrip("/") + "/",
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "seed": settings.seed,
            "stop": None,
        }
        return {
            "run": {
                "seed": settings.seed,
                "generations": settings.generations,
                "soft_probe_prompt_cap": settings.cap,
            },
            "plugins": {
                "target_type": GENERATOR,
                "target_name": self.target.model,
                "extended_detectors": False,
                "generators": {"openai": {"OpenAICompatible": generator}},
            },
            "reporting": {
                "report_prefix": str((self.folder / name).resolve()),
                "confidence_interval_method": "none",
            },
        }

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _run(self, name: str, config: Path) -> None:
        command = [
            str(self.python),
            "-m",
            "garak",
            "--config",
            str(config.resolve()),
            "--spec",
            f"probes.{name}",
        ]
        own = {
            f"XDG_{kind}_HOME": str(self.folder.resolve() / "home")
            for kind in ("DATA", "CACHE", "CONFIG")
        }
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        environment = {KEY_VARIABLE: "none", **os.environ, **own, **offline}
        with self._log(name).open("wb") as log:
            try:
                ended = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    timeout=self.settings.timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise UnderstudyError(
                    f"garak took longer than {self.settings.timeout_s:g} s", where=name
                ) from error
        if ended.returncode:
            raise UnderstudyError(
                f"garak failed (exit code {ended.returncode})",
                where=name,
                do=f"read {self._log(name)}",
            )

    def _take(self, name: str, report: Path) -> int:
        """Adds what a report holds to the store; what is there already stays as it is."""
        known = {line["key"] for line in read_store(self.store, repair=True)}
        common = {
            "model": self.target.model,
            "fingerprint": self.target.fingerprint,
            "seed": self.settings.seed,
            "run": dict(self.target.record),
        }
        lines = list(lines_of(read_attempts(report), OFFLINE[name], self.version, common))
        for line in lines:
            if line["key"] not in known:
                append_line(self.store, line)
        return len(lines)


def _asks_the_same(config: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether a stored configuration differs from this one in the address at most: a server of ours
    has another port each time."""

    def without_address(document: Any) -> str:
        copy = json.loads(json.dumps(document))
        copy["plugins"]["generators"]["openai"]["OpenAICompatible"]["uri"] = ""
        return json.dumps(copy, sort_keys=True)

    try:
        return without_address(json.loads(config.read_text("utf-8"))) == without_address(wanted)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_finished(report: Path) -> bool:
    """Whether garak came to the end of a run: its last lines say so."""
    try:
        tail = report.read_bytes()[-4_000_000:]
    except OSError:
        return False
    return b'"entry_type": "completion"' in tail


def garak_version(python: Path) -> str:
    """The version of the garak that a Python has.

    Raises:
        MissingError: none.
    """
    script = "import importlib.metadata as m; print(m.version('garak'))"
    try:
        asked = subprocess.run(
            [str(python), "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(
            f"no Python that runs ({error})",
            where=python,
            expected="the Python of an environment with garak",
        ) from error
    if asked.returncode:
        raise MissingError(
            "garak is not installed there",
            where=python,
            do="make an environment of its own: python -m venv garak-venv && garak-venv/bin/pip "
            f"install garak=={CHECKED_VERSION}",
        )
    return asked.stdout.strip()


__all__ = ["OFFLINE", "GarakRun", "GarakSettings", "Target", "garak_version", "is_finished"]
