"""Compiled layers are a faster way to the plain answers, and a server that lacks them answers all the same."""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.workloads.serving.batches import admit, new_tokens, run, scheduler
from tests.workloads.serving.serving import ROOT, Running, until
from workloads.serving.artifact import open_artifact
from workloads.serving.compile import (
    NO_COMPILER,
    REFUSED,
    FastLayers,
    compiled,
    constant,
    has_compiler,
    loaded_by_torch,
    main,
    owned,
    read,
)
from workloads.serving.flags import flags
from workloads.serving.model import Pass
from workloads.serving.publish import main as publish_main
from workloads.serving.publish import publish
from workloads.serving.quality import Gate

Serve = Callable[..., Running]
TEXT = [index * 7 % 256 for index in range(60)]
UNEQUAL = ((50, 30), (3, 9), (20, 50))  # tokens of a prompt and of its answer


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return publish(str(tiny), "none", str(tmp_path_factory.mktemp("plain") / "tiny"))


def said(server: Running, words: tuple[str, ...]) -> str:
    """The one of `words` that the server's log holds first."""

    def found() -> list[str]:
        held = [word for word in words if word in server.log()]
        assert held or server.process.poll() is None, server.log()
        return held

    return until(found, server.log)[0]


def test_attention_in_sums_is_that_of_torch() -> None:
    torch.manual_seed(1)
    q, keys, values = torch.randn(3, 6, 8), torch.randn(3, 11, 2, 8), torch.randn(3, 11, 2, 8)
    positions = torch.tensor([10, 4, 0])
    mask = (torch.arange(11) <= positions[:, None])[:, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(
        q[:, :, None], keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, enable_gqa=True
    )
    torch.testing.assert_close(read(q, keys, values, positions), expected.reshape(3, 48))


def test_servers_of_one_machine_compile_once_behind_their_first_answers_and_give_the_plain_ones_afterwards(
    serve: Serve, plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, elsewhere = tmp_path / "of servers", tmp_path / "of compilers"
    temporary.mkdir()
    cache = tmp_path / "a câche"  # torch cuts the compiler's command at spaces
    flags = ("--compile-cache", str(cache))
    environment = {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(elsewhere)}
    servers = [serve(plain, *flags, **environment) for _ in range(2)]
    before = {server.wait_ready().complete(max_tokens=40).json()["choices"][0]["text"] for server in servers}
    ends = {said(server, ("layers compiled", "no C++ compiler", "answers go on")) for server in servers}
    assert ends == {"layers compiled" if has_compiler() else "no C++ compiler"}
    assert sum("compiling layers" in server.log() for server in servers) == has_compiler()
    assert {server.complete(max_tokens=40).json()["choices"][0]["text"] for server in servers} == before
    left = [*temporary.iterdir(), *(path for path in elsewhere.rglob("*") if path.is_file())]
    assert len(before) == 1 and not left, "what compiling left lies elsewhere"
    for server in servers:
        server.kill()
    if not has_compiler():
        return  # nothing to find again
    assert {path.suffix for path in cache.iterdir()} <= {".pt2", ".lock"}
    again = serve(plain, "--compile-cache", str(cache)).wait_ready()
    assert said(again, ("compiling", "layers compiled")) == "layers compiled", "it lies in the folder"
    batch = scheduler(plain)
    (file,) = cache.glob("*.pt2")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    fast = batch.decoder.fast = FastLayers(file, batch.decoder)
    assert not list((tmp_path / "temporary").iterdir()), "what was unpacked to load it is left"
    sequences = [admit(batch, TEXT[:size], made) for size, made in UNEQUAL]
    run(batch, *sequences)
    assert batch.counts.fast_steps == batch.counts.decode_steps >= 49
    assert other_threads_run_meanwhile(fast, monkeypatch, lambda: run(batch, admit(batch, TEXT, 2)))
    # as on a GPU
    fast._layers = [loaded_by_torch(file, partial(constant, layer)) for layer in batch.decoder.layers]
    by_torch = [admit(batch, TEXT[:size], made) for size, made in UNEQUAL]
    run(batch, *by_torch)
    slow = scheduler(plain)
    expected = [admit(slow, TEXT[:size], made) for size, made in UNEQUAL]
    run(slow, *expected)
    assert slow.counts.fast_steps == 0
    for made in (sequences, by_torch):
        assert [new_tokens(one) for one in made] == [new_tokens(one) for one in expected]


def test_four_bit_layers_take_the_constants_that_their_compiler_adds(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    four = publish(str(tiny), "int4-weight-only", str(tmp_path / "four"), Gate(100.0, 2000, ("def f(",)))
    decoder = scheduler(four).decoder
    if not has_compiler():
        return  # that a server says so, another test shows
    artifact = open_artifact(tmp_path / "four", four["digest"])
    file = compiled(artifact, decoder, torch.get_num_threads(), owned(tmp_path / "layers"))
    at, table = torch.tensor([1, 1]), torch.tensor([[0, 1], [10, 11]])
    step = Pass(torch.tensor([65, 70]), at, table[:, 1], table, None, [], torch.arange(2))
    plain = decoder.forward(step, decoder.new_cache(16))
    decoder.fast = FastLayers(file, decoder)
    assert decoder.fast_for(step) is not None
    fast = decoder.forward(step, decoder.new_cache(16))
    torch.testing.assert_close(fast, plain, atol=0.1 * float(plain.std()), rtol=0.0)
    assert float((plain[0] - plain[1]).abs().max()) > float(plain.std()), "or any answer would do"


def other_threads_run_meanwhile(
    fast: FastLayers, monkeypatch: pytest.MonkeyPatch, use: Callable[[], object]
) -> bool:
    """Whether the event loop can go on while a layer computes: here no thread is ever asked to make room."""
    layer, seen = fast._layers[0], []
    first = lambda inputs: seen.append(list(inputs)) or layer(inputs)  # noqa: E731
    monkeypatch.setattr(fast, "_layers", [first, *fast._layers[1:]])
    use()
    interval, go, ran = sys.getswitchinterval(), threading.Event(), []
    other = threading.Thread(target=lambda: go.wait() and ran.append(True))
    other.start()
    sys.setswitchinterval(1e6)
    try:
        go.set()
        for _ in range(5000):
            if ran:
                break
            layer(seen[0])
        return bool(ran)
    finally:
        sys.setswitchinterval(interval)
        other.join()


def test_a_server_that_is_killed_while_it_compiles_takes_its_compiler_with_it(
    serve: Serve, plain: dict[str, Any], tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    server = serve(plain, "--compile-cache", cache)

    def compilers() -> list[list[str]]:
        lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        return [line for line in lines if any(cache in word for word in line)]

    if said(server, ("compiling layers", "no C++ compiler")) == "compiling layers":
        until(lambda: len(compilers()) > 1)  # the server's own line is one of them
    server.kill()
    until(lambda: not compilers())
    assert not list((tmp_path / "cache").glob("*.pt2")), "it went on to its end"


def test_without_a_compiler_a_server_says_so_and_answers(
    serve: Serve, plain: dict[str, Any], tmp_path: Path
) -> None:
    flags = ("--compile-cache", str(tmp_path / "cache"))
    server = serve(plain, *flags, CXX="/nothing/here/g++").wait_ready()
    said(server, ("no C++ compiler",))
    assert server.complete().status_code == 200


def test_the_command_without_a_compiler_says_what_to_install(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nothing/here/g++")
    place = ["--model-uri", plain["uri"], "--digest", plain["digest"]]
    assert main([*place, "--threads", "1", "--output", str(tmp_path / "cache")]) == NO_COMPILER
    assert "g++" in capsys.readouterr().err and not (tmp_path / "cache").exists()


def test_the_commands_of_the_how_to_are_understood_and_mean_the_same_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "how-to" / "publish-a-model.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    publish_it, compile_it, serve_it = (
        shlex.split(line.replace("$digest", "sha256:" + "0" * 64))[3:] for line in block.splitlines()
    )
    publish_it = publish_it[: publish_it.index("|")]
    assert publish_main([*publish_it, "--judge-bytes", "1"]) == REFUSED  # so the flags were taken
    assert "--judge-bytes 1: must be" in capsys.readouterr().err
    published = Path(publish_it[publish_it.index("--output") + 1])
    assert (
        flags(serve_it).models[0].place == Path(compile_it[compile_it.index("--model-uri") + 1]) == published
    )
    monkeypatch.setenv("CXX", "/nothing/here/g++")
    assert main(compile_it) == NO_COMPILER  # so the flags were taken
    assert flags(serve_it).compile_cache == Path(compile_it[-1]).absolute()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--digest", "sha256:" + "0" * 64], "expected digest sha256:0000"),
        (["--model-uri", "/no/such/folder"], "/no/such/folder/manifest.json"),
    ],
)
def test_the_command_refuses_another_model_than_the_one_it_was_told_and_leaves_nothing(
    plain: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: list[str],
    words: str,
) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # it is not reached
    place = ["--model-uri", plain["uri"], "--digest", plain["digest"], "--threads", "1"]
    assert main([*place, "--output", str(tmp_path / "cache"), *change]) == REFUSED
    assert words in capsys.readouterr().err and not (tmp_path / "cache").exists()


def test_the_command_refuses_a_gpu_that_is_not_there_and_leaves_nothing(
    plain: dict[str, Any], tmp_path: Path
) -> None:
    place = ["--model-uri", plain["uri"], "--digest", plain["digest"], "--output", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "workloads.serving.compile", *place, "--threads", "1", "--device", "cuda"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "CXX": sys.executable},  # no compiler is reached
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr.startswith("compile: --device cuda: torch sees no NVIDIA GPU here")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "cache").exists()


def test_the_command_refuses_to_compile_for_no_thread(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--model-uri", plain["uri"], "--digest", plain["digest"], "--output", str(tmp_path / "cache")]
    with pytest.raises(SystemExit) as ended:
        main([*place, "--threads", "0"])
    assert ended.value.code == REFUSED and "--threads 0: write a whole number" in capsys.readouterr().err


def test_a_folder_that_others_may_write_to_is_refused_since_code_is_run_from_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod go-w"):
        owned(tmp_path)
