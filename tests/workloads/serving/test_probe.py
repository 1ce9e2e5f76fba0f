"""A model's quality, measured again where it serves."""

import json
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tokenizers import Tokenizer

from tests.workloads.serving.batches import scheduler
from tests.workloads.serving.serving import NAME, Running, until
from workloads.held_out import is_held_out
from workloads.manifest import verify_manifest, write_manifest
from workloads.serving.artifact import open_artifact
from workloads.serving.canary import TEXT_BYTES, WINDOW
from workloads.serving.probe import round_of
from workloads.serving.storage import write_tensors

Serve = Callable[..., Running]
MEASURED, PUBLISHED = "skerry_quality_bits_per_byte", "skerry_quality_published_bits_per_byte"


def republished(
    artifact: dict[str, Any], folder: Path, change: Callable[[Path, dict[str, Any]], None]
) -> Any:
    """A copy of the artifact, changed, under a digest of its own: nothing that loading verifies is wrong with it."""
    source = Path(artifact["uri"].removeprefix("file://"))
    shutil.copytree(source, folder)
    facts = verify_manifest(folder)
    del facts["files"]
    (folder / "manifest.json").unlink()
    change(folder, facts)
    return {"uri": folder.as_uri(), "digest": write_manifest(folder, **facts)}


def test_a_server_measures_what_publishing_recorded(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve(tiny_int8, "--probe-seconds", "600").wait_ready()
    found = until(lambda: server.metric(MEASURED, model=NAME))
    assert found == pytest.approx(tiny_int8["canary"]["value"], abs=0.002)
    assert server.metric(PUBLISHED, version=tiny_int8["digest"][7:19]) == tiny_int8["canary"]["value"]
    assert server.metric("skerry_quality_timestamp_seconds") > 1.7e9


def test_scales_that_were_altered_after_the_gate_show_in_the_figure_beside_the_published_one(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    def spoil(folder: Path, facts: dict[str, Any]) -> None:
        weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
        weights["model.layers.1.mlp.down_proj.weight_scale"] *= 30
        write_tensors(folder / "model.safetensors", weights)

    server = serve(republished(tiny_int8, tmp_path / "spoiled", spoil), "--probe-seconds", "600").wait_ready()
    found = until(lambda: server.metric(MEASURED))
    assert server.metric(PUBLISHED) == tiny_int8["canary"]["value"] < found - 0.1


def test_no_pass_begins_while_somebody_asks(tiny_int8: dict[str, Any]) -> None:
    folder = Path(tiny_int8["uri"].removeprefix("file://"))
    opened = open_artifact(folder, tiny_int8["digest"])
    decoder = scheduler(folder).decoder
    passes = 0
    plain = decoder.all_logits

    def counted(tokens: Any) -> Any:
        nonlocal passes
        passes += 1
        assert len(tokens) <= WINDOW
        return plain(tokens)

    decoder.all_logits = counted  # type: ignore[method-assign]
    asked: list[int] = []

    def idle() -> bool:
        """Somebody asks at the fourth question, and until the seventh."""
        asked.append(passes)
        return not 4 <= len(asked) < 7

    value = round_of(decoder, Tokenizer.from_str(opened.tokenizer), opened.canary, idle)
    assert value == pytest.approx(tiny_int8["canary"]["value"], abs=0.002)
    assert asked[:7] == [0, 1, 2, 3, 3, 3, 3] and passes > TEXT_BYTES / WINDOW


def test_a_request_that_is_open_stops_the_measuring_and_its_end_lets_it_go_on(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8, "--probe-seconds", "0.001").wait_ready()
    until(lambda: server.metric(MEASURED))
    with server.stream(60_000) as answer:
        lines = answer.iter_lines()
        for _ in range(20):
            next(lines)
        # a pass that was on its way may have been the last of a round
        times = {server.metric("skerry_quality_timestamp_seconds") for _ in range(200) if next(lines) or True}
    assert len(times) <= 2
    until(lambda: server.metric("skerry_quality_timestamp_seconds") not in times)


def test_without_the_flag_only_the_published_figure_is_told(shared: Running) -> None:
    assert shared.metric(PUBLISHED) > 0
    assert (
        shared.metric(MEASURED) == 0
        and "skerry_quality_bits_per_byte{" not in shared.client.get("/metrics").text
    )


def test_an_artifact_without_a_canary_serves_and_the_log_says_that_nothing_is_measured(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    def older(folder: Path, facts: dict[str, Any]) -> None:
        (folder / "canary.json").unlink()
        del facts["canary"]

    server = serve(republished(tiny_int8, tmp_path / "older", older), "--probe-seconds", "600").wait_ready()
    assert server.complete().status_code == 200
    until(lambda: "no canary; publish it again" in server.log())


def test_the_canary_is_text_that_no_run_learns_from(tiny_int8: dict[str, Any]) -> None:
    folder = Path(tiny_int8["uri"].removeprefix("file://"))
    texts = json.loads((folder / "canary.json").read_text())["texts"]
    assert sum(map(len, texts)) >= TEXT_BYTES
    library = Path(sysconfig.get_paths()["stdlib"])
    kept = "\n".join(
        path.read_text(errors="ignore")
        for path in library.rglob("*.py")
        if "-packages" not in str(path) and is_held_out(path.relative_to(library).as_posix())
    )
    assert all(text in kept for text in texts)
