"""Draw a run from the lines that it kept.

    python -m workloads.training.report out/run.jsonl --output out/run.svg

The first argument is the file that a run was given as --log (or its stderr in a file), or a folder with one such file
(*.jsonl). The picture's kind, SVG or PNG, is told by its ending. Exit codes: 0 drawn, 2 nothing to draw.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from workloads.training.lines import Line

BLUE, ORANGE, GREY, RED = "#1f5fa8", "#d9822b", "#b8bec6", "#c0392b"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e9ed",
    "svg.hashsalt": "skerry",  # so that the same run gives the same file
}


ABOUT = {"run", "parameters", "of_steps", "world_size", "device", "precision", "data_digest", "from_step"}
"""What the line that begins a life tells, and a line of another program's does not."""


class NothingToDraw(Exception):
    """The lines hold no step."""


@dataclass
class Life:
    """What was told between a run's start, or going on, and its end."""

    about: Line
    steps: list[Line] = field(default_factory=list)
    evaluations: list[Line] = field(default_factory=list)
    checkpoints: list[Line] = field(default_factory=list)


def read_lives(path: Path) -> list[Life]:
    """The lives of the run whose lines lie at `path`; what is no line of a run is passed over.

    Raises NothingToDraw.
    """
    if path.is_dir():
        found = sorted(path.glob("*.jsonl"))
        if len(found) != 1:
            raise NothingToDraw(f"{path}: holds {len(found)} files *.jsonl; name the one to draw")
        path = found[0]
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NothingToDraw(f"{path}: {error.strerror}; give the file that the run had as --log") from error
    lives: list[Life] = []
    for line in filter(None, map(parsed, text.splitlines())):
        if line.keys() >= ABOUT:
            lives.append(Life(line))
        elif not lives:
            continue
        elif "step" in line:
            lives[-1].steps.append(line)
        elif "evaluation" in line:
            lives[-1].evaluations.append(line)
        elif line.get("checkpoint") in ("published", "failed"):
            lives[-1].checkpoints.append(line)
    if not any(life.steps for life in lives):
        raise NothingToDraw(f"{path}: holds no step of a run; give the file that the run had as --log")
    return lives


def parsed(text: str) -> Line | None:
    """The JSON object in a line; None for anything else, as a killed run leaves half a line."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def draw(lines: Path, output: Path) -> None:
    """Draw the run whose lines lie at `lines` into the file `output`. Raises NothingToDraw, OSError."""
    lives = read_lives(lines)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 8.2), layout="constrained")
        figure.suptitle(title(lives), x=0.01, ha="left", fontsize=11, linespacing=1.5)
        panels = figure.subplots(3, 2, sharex=True).ravel()
        for panel, paint in zip(panels, PANELS, strict=True):
            paint(panel, lives)
            mark_restarts(panel, lives)
        for panel in panels[-2:]:
            panel.set_xlabel("optimizer step")
        panels[-1].set_xlim(left=0)
        metadata = {"Date": None} if output.suffix == ".svg" else None
        figure.savefig(output, dpi=100, metadata=metadata)


def title(lives: list[Life]) -> str:
    """Who ran on what, in two lines."""
    first, last = lives[0].about, lives[-1].about
    workers = " then ".join(dict.fromkeys(str(life.about["world_size"]) for life in lives))
    return (
        f"run {first['run']}: {first['parameters']:,} parameters, {last['of_steps']:,} steps, lives: {len(lives)}\n"
        f"data {first['data_digest'][:19]}…, workers: {workers}, {last['device']}, {last['precision']}"
    )


def series(lives: list[Life], key: str) -> tuple[list[int], list[float], list[int], list[float]]:
    """Steps and values that count, then those that a later life took again."""
    kept: dict[int, float] = {}
    again: dict[int, float] = {}
    for life in lives:
        undone = {step: value for step, value in kept.items() if step > life.about["from_step"]}
        again |= undone
        kept = {step: value for step, value in kept.items() if step not in undone}
        kept |= {line["step"]: line[key] for line in life.steps if line.get(key) is not None}
    return list(kept), list(kept.values()), list(again), list(again.values())


def curve(panel: Axes, lives: list[Life], key: str) -> None:
    """A line of what counts, and dots in grey where a step was taken again."""
    steps, values, again, lost = series(lives, key)
    if again:
        panel.plot(again, lost, ".", color=GREY, markersize=4, label="taken again after a restart")
        panel.legend(frameon=False, fontsize=8)
    panel.plot(steps, values, color=BLUE, linewidth=1.2)


def loss(panel: Axes, lives: list[Life]) -> None:
    panel.set_title("training loss")
    panel.set_ylabel("nats per token")
    curve(panel, lives, "loss")


def bits_per_byte(panel: Axes, lives: list[Life]) -> None:
    panel.set_title("bits per byte, held out")
    panel.set_ylabel("bits per byte")
    found = {line["at_step"]: line["bits_per_byte"] for life in lives for line in life.evaluations}
    points = sorted(found.items())
    panel.plot([at for at, _ in points], [bits for _, bits in points], "o-", color=BLUE, markersize=4)
    if points:
        panel.annotate(
            f"{points[-1][1]:.3f}", points[-1], xytext=(0, 7), textcoords="offset points", ha="right"
        )
    else:
        panel.text(0.5, 0.5, "not evaluated yet", transform=panel.transAxes, ha="center", color=GREY)


def tokens_per_second(panel: Axes, lives: list[Life]) -> None:
    panel.set_title("speed")
    panel.set_ylabel("tokens per second")
    curve(panel, lives, "tokens_per_second")
    panel.set_ylim(bottom=0)
    about = lives[-1].about
    if "peak_flops" in about:
        to_percent = 100 * about["flops_per_token"] / (about["peak_flops"] * about["world_size"])
        right = panel.secondary_yaxis("right", functions=(lambda x: x * to_percent, lambda x: x / to_percent))
        right.set_ylabel("MFU, %, with the last workers")
    else:
        panel.set_title("MFU: no peak known for this device", loc="right", fontsize=8, color="#7a828c")


def gradient_norm(panel: Axes, lives: list[Life]) -> None:
    panel.set_title("gradient norm, before clipping")
    panel.set_ylabel("norm (log scale)")
    panel.set_yscale("log")
    curve(panel, lives, "grad_norm")
    for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
        axis(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))


def learning_rate(panel: Axes, lives: list[Life]) -> None:
    panel.set_title("learning rate")
    panel.set_ylabel("learning rate")
    curve(panel, lives, "learning_rate")
    panel.set_ylim(bottom=0)


def time_lost(panel: Axes, lives: list[Life]) -> None:
    """Seconds of each life so far: they begin at zero again when a run goes on."""
    panel.set_title("time stood still, of each life so far")
    panel.set_ylabel("seconds")
    for key, colour, words in (
        ("checkpoint_stall_seconds", BLUE, "for checkpoints"),
        ("data_wait_seconds", ORANGE, "for data"),
    ):
        label: str | None = words
        for life in lives:
            points = [(line["step"], line[key]) for line in life.steps if key in line]
            if points:
                panel.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, label=label)
                label = None
    for outcome, colour, mark in (("published", BLUE, "|"), ("failed", RED, "x")):
        at = [line["at_step"] for life in lives for line in life.checkpoints if line["checkpoint"] == outcome]
        at = [step for step in at if step is not None]
        if at:
            panel.plot(
                at,
                [0] * len(at),
                mark,
                color=colour,
                markersize=9,
                label=f"checkpoint {outcome}",
                clip_on=False,
            )
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False, fontsize=8)


def mark_restarts(panel: Axes, lives: list[Life]) -> None:
    for life in lives[1:]:
        panel.axvline(life.about["from_step"], color=RED, linewidth=0.9, linestyle=(0, (4, 3)))
    if lives[1:] and panel.get_title(loc="left") == "training loss":
        where = (lives[1].about["from_step"], 0.97)
        panel.annotate(" went on", where, xycoords=("data", "axes fraction"), color=RED, fontsize=8, va="top")


PANELS: tuple[Callable[[Axes, list[Life]], None], ...] = (
    loss,
    bits_per_byte,
    tokens_per_second,
    gradient_norm,
    learning_rate,
    time_lost,
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "workloads.training.report", description="Draw a run from the lines that it kept."
    )
    parser.add_argument("lines", type=Path, help="the run's log, or a folder with one *.jsonl")
    parser.add_argument("--output", type=Path, required=True, help="a file ending in .svg or .png")
    given: Any = parser.parse_args(arguments)
    if given.output.suffix not in (".svg", ".png"):
        parser.error(f"--output {given.output}: must end in .svg or .png")
    try:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        draw(given.lines, given.output)
    except (NothingToDraw, OSError) as error:
        print(f"workloads.training.report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
