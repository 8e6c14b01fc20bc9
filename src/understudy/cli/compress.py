"""`understudy compress RECIPE.toml`: the whole pipeline. Also what prune, distill and quantize
share."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from understudy.report.text import duration


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    require_torch()
    from understudy.compress.recipe import read_recipe

    return run_recipe(read_recipe(arguments.recipe), arguments)


def add_data(
    parser: argparse.ArgumentParser, *, calibration_sequences: int = 64, is_required: bool = True
) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        nargs="+",
        required=is_required,
        metavar="FILE",
        help="text, or .jsonl or .json records; either may be .gz",
    )
    group.add_argument(
        "--auxiliary",
        nargs="+",
        default=[],
        metavar="FILE",
        help="other kinds of text for half of the calibration",
    )
    group.add_argument(
        "--held-out",
        nargs="+",
        default=[],
        metavar="FILE",
        help="default: the last sequences of --data",
    )
    group.add_argument("--length", type=int, default=512, help="tokens of a sequence (default 512)")
    group.add_argument(
        "--calibration-sequences", type=int, default=calibration_sequences, metavar="N"
    )
    group.add_argument("--held-out-sequences", type=int, default=32, metavar="N")
    add_former(group, "--calibration-rows", "calibration_sequences")
    add_former(group, "--held-out-rows", "held_out_sequences")
    parser.add_argument(
        "--dtype", choices=["bf16", "f32"], default="bf16", help="of the folder that is written"
    )
    add_running(parser)


def add_former(parser: Any, name: str, now: str, kind: type = int) -> None:
    """The name that an option had before: still obeyed, no longer listed."""
    parser.add_argument(
        name, dest=now, type=kind, default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda or cuda:N (default: the GPU where torch finds one)",
    )
    parser.add_argument("--check", action="store_true", help="say what would be made, then stop")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")


def raw_recipe(
    arguments: argparse.Namespace, model: str, out: Path, **tables: dict[str, Any]
) -> dict[str, Any]:
    """The recipe that the arguments of one stage amount to."""
    data = {
        "train": arguments.data,
        "auxiliary": arguments.auxiliary,
        "held_out": arguments.held_out,
        "length": arguments.length,
        "calibration_sequences": arguments.calibration_sequences,
        "held_out_sequences": arguments.held_out_sequences,
    }
    output = {"folder": str(out), "dtype": arguments.dtype, "gguf": "quantize" in tables}
    return {"source": {"model": model}, "data": data, "output": output} | tables


def run_raw(raw: dict[str, Any], arguments: argparse.Namespace) -> int:
    from understudy.compress.recipe import parse_recipe

    return run_recipe(parse_recipe(raw, "arguments"), arguments)


def run_recipe(recipe: Any, arguments: argparse.Namespace) -> int:
    """Run it with a progress line; print where things lie and how good they are."""
    from understudy.compress.pipeline import Pipeline

    line = ProgressLine()
    pipeline = Pipeline(recipe, line, arguments.device, line.say)
    if arguments.check:
        pipeline.check()
        print_outlook(pipeline.outlook(), as_json=arguments.json)
        return 0
    try:
        result = pipeline.run()
    except KeyboardInterrupt:
        line.say("stopped: what is finished is kept, and the same command goes on from there")
        raise
    if not pipeline.world.is_first:
        return 0
    for warning in result.warnings:
        line.say(f"warning: {warning}")
    if arguments.json:
        print(json.dumps({r.stage: r.figures for r in result.reports}, indent=1))
    else:
        print_result(result, pipeline.out)
    return 0


def print_outlook(outlook: dict[str, Any], *, as_json: bool) -> None:
    """What `--check` says."""
    if as_json:
        print(json.dumps(outlook, indent=1))
        return
    before, after = (outlook["parameters"][name]["total"] for name in ("teacher", "student"))
    print(f"stages      {', '.join(outlook['stages']) or 'none: the model is converted alone'}")
    print(
        f"parameters  {before / 1e6:.1f}M before, {after / 1e6:.1f}M after ({after / before:.0%})"
    )
    train, held_out = outlook["sequences"]["train"], outlook["sequences"]["held_out"]
    print(f"data        {train:,} sequences to learn from, {held_out:,} held out")
    print(f"memory      about {outlook['memory_bytes'] / 1e9:.1f} GB at the peak")
    print(f"disk        about {outlook['disk_bytes'] / 1e9:.1f} GB")
    print(f"folder      {outlook['folder']}")


def print_result(result: Any, out: Path) -> None:
    for report in result.reports:
        quality = report.figures.get("quality") or report.figures["final"]
        print(
            f"{report.stage:8} perplexity {quality['perplexity']:.2f} "
            f"(teacher {quality['teacher_perplexity']:.2f})  "
            f"KL {quality['kl']:.4f}  same top-1 {quality['agreement']:.1%}"
        )
    print(f"folder   {result.folder}")
    figures = result.reports[-1].figures
    for name, path in (("gguf", result.gguf), ("packed", out / "model-packed")):
        if found := figures.get(name):
            print(
                f"{name:8} {path}  {found['bytes'] / 1e6:.1f} MB  "
                f"perplexity {found['perplexity']:.2f}  KL to the float student {found['kl']:.4f}"
            )
    print(f"report   {out / 'report.html'}")


class ProgressLine:
    """One line on stderr with an estimate: redrawn on a terminal, every half minute elsewhere."""

    def __init__(self) -> None:
        self.what, self.started, self.shown, self.first = "", 0.0, 0.0, 0
        self.is_open = False  # a line on the terminal that has no end yet

    def say(self, text: str) -> None:
        """A line of its own, below what was shown."""
        end = "\n" if self.is_open else ""
        self.is_open = False
        print(f"{end}{text}", file=sys.stderr, flush=True)

    def __call__(self, done: int, total: int, what: str) -> None:
        now, kind = time.monotonic(), what.split(",")[0].rstrip("0123456789 of")
        if kind != self.what:
            self.what, self.started, self.shown, self.first = kind, now, 0.0, done
        is_terminal = sys.stderr.isatty()
        if now - self.shown < (0.2 if is_terminal else 30) and done < total:
            return
        self.shown = now
        moved = done - self.first
        left = (now - self.started) / moved * (total - done) if moved > 0 else None
        text = f"{what}  {done}/{total}" + ("" if left is None else f"  {duration(left)} left")
        end = "\n" if not is_terminal or done >= total else ""
        self.is_open = not end
        print(f"\r{text:<78}{end}" if is_terminal else text, end=end, file=sys.stderr, flush=True)


def require_torch() -> None:
    """Raises MissingError in a line if the workshop's extra is not installed."""
    import importlib.util

    from understudy.errors import MissingError

    if importlib.util.find_spec("torch") is None:
        raise MissingError("torch is not installed", do='run `pip install "understudy[compress]"`')
