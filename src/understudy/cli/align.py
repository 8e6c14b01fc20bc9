"""`understudy align RECIPE OUT`: tune a model on data, into an adapter; goes on when run again.

RECIPE is a `.toml` file, or files of records (`.jsonl`), all of which are learnt. Also under
torchrun: `torchrun --nproc-per-node 2 -m understudy align …`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from understudy.cli.compress import ProgressLine, require_torch
from understudy.errors import UsageError

_TRAINING = ("epochs", "learning_rate", "tokens", "kl", "teacher", "teacher_share")
_ADAPTER = ("rank", "alpha", "targets", "token_rows")
WHOLE_RATE = 2e-5  # where all weights learn, what suits an adapter tears the model apart


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="RECIPE", help="a recipe, or .jsonl files")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder for adapter and report")
    parser.add_argument(
        "--model", help="what is tuned (default: the recipe's, or the embedded one)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(),
        help="where the recipe's data files lie (default: here)",
    )
    parser.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="an evaluation set: what shares 13 words in a row with it is not trained on",
    )
    parser.add_argument(
        "--test",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="records on which base and adapter are compared in the end",
    )
    parser.add_argument(
        "--method",
        default="sft",
        choices=["sft", "dpo", "simpo", "orpo", "grpo"],
        help="imitate (default), prefer (records with chosen and rejected), or reinforce",
    )
    parser.add_argument(
        "--start",
        metavar="ADAPTER",
        help="begin with an adapter; `resident` is the one that ships with the embedded model",
    )
    _add_training(parser)
    _add_loss(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=float, help="passes over the data (files: 3)")
    parser.add_argument("--tokens", type=int, help="at most so many tokens of data")
    parser.add_argument("--learning-rate", type=float, help="the peak (files: 5e-4)")
    parser.add_argument("--rank", type=int, help="rank of the adapter (files: 8)")
    parser.add_argument("--alpha", type=float, help="its strength is alpha / rank (files: 16)")
    parser.add_argument(
        "--targets",
        type=lambda text: tuple(text.split(",")),
        metavar="A,B",
        help="which matrices are adapted (default: the seven of each layer); embed_tokens and "
        "lm_head too",
    )
    parser.add_argument(
        "--token-row",
        dest="token_rows",
        action="append",
        metavar="TOKEN",
        help="a token, a new one say, whose rows of embedding and head are learnt whole",
    )
    parser.add_argument("--rslora", action="store_true", help="… or alpha / sqrt(rank)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:N")
    parser.add_argument("--check", action="store_true", help="say what it will take, then stop")


def _add_loss(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kl", type=float, metavar="WEIGHT", help="hold the model near its base (sft; default 0)"
    )
    parser.add_argument(
        "--teacher",
        metavar="MODEL",
        help="a larger model with the same tokens, to learn from (sft)",
    )
    parser.add_argument(
        "--teacher-share",
        type=float,
        metavar="SHARE",
        help="the teacher's share of the loss (default 0.5)",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="tune all weights, into a model folder, instead of an adapter (sft)",
    )
    parser.add_argument(
        "--shard",
        action="store_true",
        help="under torchrun: split the frozen base over the processes (FSDP2)",
    )


def run(arguments: argparse.Namespace) -> int:
    require_torch()
    from understudy.align.run import AlignRun

    line = ProgressLine()
    job = AlignRun(
        _recipe(arguments),
        arguments.out,
        arguments.data,
        held_out_sets(arguments.held_out),
        arguments.device,
        arguments.test,
        _start(arguments),
        line.say,
    )
    if arguments.method != "sft":
        return _further(job, arguments, line)
    if arguments.check:
        job.prepare(job.mixture())
        return 0
    try:
        findings = job.train(progress=line)
    except KeyboardInterrupt:
        line.say("stopped: the same command goes on from the last checkpoint")
        raise
    for part, (before, after) in sorted(findings.measured.items()):
        print(f"{part:12} loss {before:.3f} -> {after:.3f}")
    for kind, paired in sorted(findings.compared.items()):
        print(
            f"{kind:12} right {paired.base:.1%} -> {paired.adapter:.1%} of {paired.count}, "
            f"{100 * paired.interval.low:+.1f} to {100 * paired.interval.high:+.1f} points, "
            f"p {paired.p_value:.2g}"
        )
    if job.recipe.training.whole:
        print(f"model    {arguments.out / 'model'}")
    else:
        _print_adapter(arguments.out)
    print(f"report   {arguments.out / 'report.html'}")
    return 0


def _start(arguments: argparse.Namespace) -> Path | None:
    from understudy.hub import RESIDENT

    if arguments.start is None:
        return None
    return RESIDENT if arguments.start == "resident" else Path(arguments.start)


def _further(job: Any, arguments: argparse.Namespace, line: ProgressLine) -> int:
    """Preferences or reinforcement on files of records."""
    if arguments.kl is not None:
        raise UsageError("dpo and grpo have a KL term of their own", where="--kl")
    if only := [name for name in ("teacher", "shard") if getattr(arguments, name)]:
        raise UsageError("only for sft", where=f"--{only[0]}", found=arguments.method)
    from understudy.align.files import adapter_of, write_adapter
    from understudy.align.further import FurtherRun
    from understudy.align.start import started
    from understudy.data.records import read_data

    recipe, bench, out = job.recipe, job.bench, arguments.out
    training = recipe.training
    network, adapters = bench.adapted(training.precision, recipe.adapter, arguments.device)
    started(adapters, _start(arguments), bench.spec)
    records = list(read_data([Path(source) for source in arguments.sources]))
    run = FurtherRun(
        bench, network, adapters, records, out / "training", arguments.method, recipe.seed
    )
    run.train(epochs=training.epochs, learning_rate=training.learning_rate, progress=line)
    write_adapter(adapter_of(adapters, recipe, bench, out.name), bench, out)
    _print_adapter(out)
    return 0


def _print_adapter(out: Path) -> None:
    made = [path for name in ("adapter", "adapter.gguf") if (path := out / name).exists()]
    print("adapter", *made, sep="  ")


def _recipe(arguments: argparse.Namespace) -> Any:
    import dataclasses

    from understudy.align.recipe import read_recipe, recipe_of_files
    from understudy.hub import DEFAULT_MODEL

    given = {name: v for name in _TRAINING if (v := getattr(arguments, name)) is not None}
    shape = {name: v for name in _ADAPTER if (v := getattr(arguments, name)) is not None}
    if arguments.rslora:
        shape["rslora"] = True
    if arguments.shard:
        given["shard"] = True
    if arguments.whole:
        if shape or arguments.method != "sft":
            raise UsageError(
                "tuning of all weights has no adapter",
                where="--whole",
                found=", ".join(f"--{name}" for name in shape) or f"--method {arguments.method}",
            )
        given = {"learning_rate": WHOLE_RATE, **given, "whole": True, "precision": "float32"}
    paths = [Path(source) for source in arguments.sources]
    if paths[0].suffix != ".toml":
        if arguments.method != "sft":
            rate = {"grpo": 1e-4, "simpo": 5e-5}.get(arguments.method, 5e-5)
            given = {"epochs": 1.0, "learning_rate": rate, **given}
        return recipe_of_files(
            paths, arguments.model or DEFAULT_MODEL, adapter=shape, training=given
        )
    if arguments.method != "sft":
        raise UsageError("a recipe is for sft; other methods take files of records")
    if len(paths) > 1:
        raise UsageError("one recipe at a time", found=" ".join(arguments.sources))
    recipe = read_recipe(paths[0])
    return dataclasses.replace(
        recipe,
        model=arguments.model or recipe.model,
        training=dataclasses.replace(recipe.training, **given),
        adapter=dataclasses.replace(recipe.adapter, **shape),
    )


def held_out_sets(given: list[str]) -> dict[str, list[Path]]:
    """Evaluation sets by name, out of NAME=PATH."""
    sets: dict[str, list[Path]] = {}
    for one in given:
        name, is_named, path = one.partition("=")
        if not is_named or not name or not path:
            raise UsageError("an evaluation set is NAME=PATH", where="--held-out", found=one)
        sets.setdefault(name, []).append(Path(path))
    return sets
