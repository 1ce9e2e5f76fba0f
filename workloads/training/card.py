"""The model card: README.md of a published folder, as Hugging Face reads it, made from the run's own record.

It contains times and costs, so no two runs have the same card. The manifest does not list it: the folder's digest is
the same for the same settings, data and code.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from workloads.training.config import TrainConfig

ABOUT = """\
A language model of {parameters:,} parameters in Llama's layout, trained by `workloads.training` of Skerry.
`transformers` loads this folder as it is. Nobody has looked at what it says beyond the numbers below. Its licence
depends on the data, which this card does not know."""
PLACES = ("output", "data", "checkpoints", "fallback", "log", "metrics_port", "metrics_address", "mlflow_uri")
"""Settings that tell of machines and not of the model."""
METRICS = {
    "bits_per_byte": "bits per byte, held out",
    "bigram_bits_per_byte": "the same of a bigram model of the training side",
    "train_loss": "training loss, nats per token",
    "heldout_bytes": "held-out bytes scored",
}
FACTS = {
    "parameters": "parameters",
    "steps": "optimizer steps",
    "tokens": "tokens seen",
    "world_size": "workers, at the end",
    "device_name": "device",
    "precision": "precision",
    "changes": "settings changed on the way: step, name, before, now",
    "lives": "lives: 1, and 1 each time that it went on",
    "tokens_per_second": "tokens per second, last life",
    "data_digest": "data",
    "init": "first weights from",
    "init_digest": "their digest",
    "commit": "code, commit",
    "code_digest": "code, digest of the sources",
    "torch": "torch",
}


def model_card(name: str, config: TrainConfig, record: Mapping[str, Any]) -> str:
    """The card of the model that this run, called `name`, made; `record` is what record.json holds."""
    settings = {key: value for key, value in asdict(config).items() if key not in PLACES}
    front = (
        f"{key}: {json.dumps(value)}" for key, value in front_matter(name, record).items()
    )  # JSON is YAML
    sections = [
        "\n".join(["---", *front, "---"]),
        f"# {name}",
        ABOUT.format(**record),
        table("Numbers", METRICS, record),
        table("How it was made", FACTS, record),
        f"## Cost\n\n{cost(record)}",
        f"## Settings\n\n```json\n{json.dumps(settings, indent=2)}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def front_matter(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What Hugging Face's hub reads: how to load the model, and its number."""
    data = {"name": f"held-out side of {record['data_digest'][:19]}", "type": "text"}
    metric = {"name": "bits per byte", "type": "bits_per_byte", "value": record["bits_per_byte"]}
    result = {"task": {"type": "text-generation"}, "dataset": data, "metrics": [metric]}
    return {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["skerry", "llama"],
        "model-index": [{"name": name, "results": [result]}],
    }


def table(title: str, rows: Mapping[str, str], record: Mapping[str, Any]) -> str:
    """A section with a row for each of `rows` that the record knows."""
    known = [f"| {words} | {shown(record[key])} |" for key, words in rows.items() if record.get(key)]
    return "\n".join([f"## {title}", "", "| what | value |", "| --- | --- |", *known])


def shown(value: Any) -> str:
    return (
        f"{value:,.4f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def cost(record: Mapping[str, Any]) -> str:
    """What the run took, over all its lives."""
    hours = f"{record['device_hours']:.4f}"
    spent = f"{hours} accelerator hours on {record['device_name']}"
    if record["device"] == "cpu":
        spent = f"No accelerator hours: it ran on CPUs, for {hours} hours times workers"
    return (
        f"{spent}. Counted are all lives of the run, each from the start of its workers' training. Of a life that was "
        "killed only the time up to the checkpoint that was gone on from is known."
    )
