"""The command line of the server."""

import argparse
import ipaddress
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workloads.remote import is_remote, open_address
from workloads.serving.device import DEVICES

ENGINES = ("torch", "vllm")
CACHE_MIB = 256  # of engine torch
DECIDED_HERE = {
    "--uds", "--host", "--port", "--served-model-name", "--max-num-seqs", "--dtype", "--load-format", "--api-key",
    "--model", "--generation-config", "--enable-log-requests", "--disable-uvicorn-access-log", "--config",
    "--kv-cache-memory-bytes",
}  # fmt: skip
"""Arguments of vLLM that the contract fixes, or that have a flag here."""


def flags(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; ends the process with code 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.serving.server", description="Serve one model, or several."
    )
    parser.add_argument("--model-uri", type=_folder, help="a path, file://, s3:// or gs:// folder")
    parser.add_argument("--model-name", help="the name clients ask for")
    parser.add_argument("--digest", type=_digest, help="sha256:<hex> that publish printed")
    parser.add_argument(
        "--model",
        action="append",
        type=_source,
        dest="models",
        metavar="NAME=URI@DIGEST",
        help="those three in one, and again for each further model; queue, slots and cache are each model's own",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; the default is this machine only"
    )
    parser.add_argument("--port", type=int, default=8000, help="port; 0 takes a free one and says which")
    parser.add_argument(
        "--metrics-port",
        type=int,
        help="another port, which answers GET /metrics only, for who may scrape and not ask; 0 takes a free one. "
        "Default: none, metrics are served on --port alone",
    )
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="torch for CPUs, vllm for GPUs")
    parser.add_argument(
        "--device", choices=DEVICES, help="where models are computed. Default: a GPU where there is one"
    )
    parser.add_argument(
        "--threads",
        type=_count,
        default=1,
        help="threads per pass; models that compute at the same time take as many each",
    )
    parser.add_argument(
        "--queue", type=_count, default=8, help="requests that may wait beside the running ones"
    )
    parser.add_argument("--slots", type=_count, default=8, help="requests answered at the same time")
    parser.add_argument(
        "--cache-mib",
        type=_count,
        help="memory for keys and values of all answers of a model. Default: 256, with vllm what it finds free",
    )
    parser.add_argument(
        "--compile-cache",
        type=lambda value: Path(value).absolute(),  # the process that compiles runs elsewhere
        help="folder of compiled layers; what it lacks is compiled behind the first answers. On a CPU they take up "
        "to 16 answers at once. Default: none",
    )
    parser.add_argument(
        "--drain-seconds",
        type=lambda value: 0.0 if value == "0" else _seconds(value),
        help="longest wait for answers at SIGTERM; 0 does not wait. A client that does not read its own may add 5. "
        "Default: --answer-seconds, so that no answer is cut",
    )
    parser.add_argument(
        "--probe-seconds",
        type=_seconds,
        help="between two measurements of the model's quality, made while nobody asks. Default: none, since replicas "
        "that share cores pay for it and only a rollout's gate reads it",
    )
    other = parser.add_argument_group("engine vllm")
    other.add_argument(
        "--vllm",
        type=Path,
        default=Path(sys.executable).with_name("vllm"),
        help="its command. Default: the one beside this Python",
    )
    other.add_argument(
        "--vllm-arguments",
        type=shlex.split,
        default=[],
        help="what else `vllm serve` is told, in one word: --vllm-arguments='--tensor-parallel-size 2'",
    )
    limits = parser.add_argument_group("limits of one request")
    limits.add_argument(
        "--answer-seconds",
        type=_seconds,
        default=600.0,
        help="from an accepted request to its last token, waiting included; longer than anybody reads",
    )
    limits.add_argument(
        "--answer-tokens", type=_count, help="most new tokens. Default: what context and cache hold"
    )
    limits.add_argument(
        "--client-seconds",
        type=_seconds,
        default=30.0,
        help="longest wait for a client to send a request's head, or its body, or to take its answer",
    )
    access = parser.add_argument_group("who may ask; needed where --host is not this machine alone")
    access.add_argument(
        "--api-keys-file", type=Path, help="lines of a name and a key; send it as a bearer token"
    )
    access.add_argument("--jwt-jwks-file", type=Path, help="public keys of an issuer of signed tokens")
    access.add_argument("--jwt-issuer", help="what a token's iss must be")
    access.add_argument("--jwt-audience", help="what a token's aud must hold")
    access.add_argument(
        "--requests-per-minute", type=_count, help="of one key, or of all together without keys"
    )
    access.add_argument(
        "--no-auth",
        action="store_true",
        help="anybody who reaches the port may ask: a gateway stands in front",
    )
    args = parser.parse_args(argv)
    if args.drain_seconds is None:
        args.drain_seconds = args.answer_seconds
    args.models = _models(parser, args)
    _check_access(parser, args)
    _check_engine(parser, args)
    return args


@dataclass(frozen=True, slots=True)
class Source:
    """A model to serve: the name clients ask for, its folder, and the digest to insist on."""

    name: str
    place: Path | str
    digest: str


def _models(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[Source]:
    single = [args.model_name, args.model_uri, args.digest]
    if args.models and any(single):
        parser.error(
            "--model stands in place of --model-uri, --model-name and --digest; give the one or the others"
        )
    if not args.models and not all(single):
        parser.error(
            "give --model-uri, --model-name and --digest, or --model NAME=URI@sha256:... for each model"
        )
    models = args.models or [Source(*single)]
    for index, model in enumerate(models):
        if model.name in [other.name for other in models[:index]]:
            parser.error(f"--model {model.name}=...: that name is given twice; clients tell models by it")
    return models


def _source(value: str) -> Source:
    name, equals, rest = value.partition("=")
    place, at, digest = rest.rpartition("@")
    if not (name and equals and place and at):
        raise argparse.ArgumentTypeError(
            f"{value!r}: write NAME=URI@sha256:..., as --model-name, --model-uri and --digest"
        )
    return Source(name, _folder(place), _digest(digest))


def _check_access(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    tokens = [args.jwt_jwks_file, args.jwt_issuer, args.jwt_audience]
    ways = [args.api_keys_file is not None, any(tokens), args.no_auth]
    if any(tokens) and not all(tokens):
        parser.error("--jwt-jwks-file, --jwt-issuer and --jwt-audience belong together; give all three")
    if sum(ways) > 1:
        parser.error("choose one of --api-keys-file, --jwt-jwks-file and --no-auth")
    if not any(ways) and not _loopback(args.host):
        parser.error(
            f"--host {args.host} can be reached from other machines, and anybody there could ask; give "
            "--api-keys-file or --jwt-jwks-file, or --no-auth where a gateway stands in front"
        )


def _check_engine(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.engine == "torch":
        args.cache_mib = args.cache_mib or CACHE_MIB
        if args.vllm_arguments:
            parser.error("--vllm-arguments is for --engine vllm; leave it out")
        return
    if len(args.models) > 1:
        parser.error("--engine vllm serves one model; start one server for each, or take --engine torch")
    for flag in ("compile_cache", "probe_seconds", "device"):
        if getattr(args, flag):
            parser.error(f"--{flag.replace('_', '-')} is for --engine torch; leave it out")
    if not os.access(args.vllm, os.X_OK):
        parser.error(
            f"--vllm {args.vllm}: no such command; install vLLM beside this Python, or say where it is"
        )
    for word in args.vllm_arguments:
        if decided := _decided(word):
            name = re.split("[=.]", word)[0]
            parser.error(
                f"--vllm-arguments {name}: vLLM takes it for {' or '.join(decided)}, and this server decides it; "
                "leave it out"
            )


def _decided(word: str) -> list[str]:
    """Those of DECIDED_HERE that vLLM may take `word` for: it reads `_` as `-`, any beginning of a name as the name,
    `--no-NAME` as its opposite, and `--NAME.KEY` as a part of its value."""
    name = re.split("[=.]", word)[0].replace("_", "-").replace("--no-", "--", 1)
    return sorted(one for one in DECIDED_HERE if name.startswith("--") and one.startswith(name))


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: nobody knows where it leads


def _folder(value: str) -> Path | str:
    if is_remote(value):
        try:
            open_address(value)
        except (ValueError, ImportError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise argparse.ArgumentTypeError(
            f"{value!r}: a published model is a path, file://, s3:// or gs:// folder"
        )
    return Path(unquote(parts.path)) if parts.scheme else Path(value)


def _digest(value: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise argparse.ArgumentTypeError(f"{value!r}: write sha256: and 64 hex digits, as publish printed it")
    return value


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r}: write a whole number of at least 1")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{value!r}: write seconds, more than 0")
    return seconds
