"""Which stacks a rehearsal takes, in what order, and the copy of a stack file that it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.engine import EngineError
from cli.rehearsal.plan import PLACEHOLDER, StackFile, cloud_stacks, plan
from cli.rehearse import rehearse


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
    (tmp_path / "stacks").mkdir()
    write(tmp_path, "local", target="local")
    return tmp_path


def write(project: Path, name: str, *refers_to: str, target: str = "aws") -> None:
    regions = [{"name": f"r{index}", "stack": other} for index, other in enumerate(refers_to)]
    settings = {"target": {"name": target}, "regions": regions or [{"name": "here"}]}
    path = project / "stacks" / f"Pulumi.{name}.yaml"
    path.write_text(yaml.safe_dump({"config": {"skerry:stack": settings}}))


def names(project: Path, *asked: str) -> list[str]:
    return [file.name for file in plan(project, asked)]


def test_a_stack_comes_after_those_that_it_refers_to_and_each_comes_once(project: Path) -> None:
    write(project, "world", "global", "b")
    write(project, "global", "a", "b")
    write(project, "a")
    write(project, "b")
    order = names(project, "world", "a")
    assert sorted(order) == ["a", "b", "global", "world"]
    assert order.index("a") < order.index("global") < order.index("world")
    assert order.index("b") < order.index("global")


def test_all_means_every_stack_but_the_embedded_one(project: Path) -> None:
    write(project, "dev-aws")
    write(project, "dev.gcp", target="gcp")
    write(project, "mine", target="local")
    assert cloud_stacks(project) == ["dev-aws", "dev.gcp"]


def test_all_without_a_stack_of_a_cloud_is_refused(project: Path) -> None:
    with pytest.raises(EngineError, match="--all: stacks/ holds no stack of a cloud"):
        cloud_stacks(project)


def test_a_stack_without_a_file_is_answered_with_those_that_exist(project: Path) -> None:
    with pytest.raises(
        EngineError, match="'nobody' has no file stacks/Pulumi.nobody.yaml.*this project: local"
    ):
        plan(project, ["nobody"])


def test_a_referenced_stack_without_a_file_is_named_with_the_file_that_refers_to_it(project: Path) -> None:
    write(project, "global", "gone")
    message = r"stacks/Pulumi.global.yaml: regions: stack: 'gone' has no file stacks/Pulumi.gone.yaml"
    with pytest.raises(EngineError, match=message):
        plan(project, ["global"])


def test_a_circle_is_named_in_the_order_of_its_references(project: Path) -> None:
    write(project, "a", "b")
    write(project, "b", "c")
    write(project, "c", "a")
    with pytest.raises(
        EngineError, match="(a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c): .*in a circle"
    ):
        plan(project, ["a"])


def test_the_embedded_stack_is_sent_to_make_up(project: Path) -> None:
    with pytest.raises(
        EngineError, match="'local' has target.name: 'local' and needs no rehearsal: `make up`"
    ):
        plan(project, ["local"])


def test_a_folder_that_is_no_project_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"--project: {tmp_path} holds no Pulumi.yaml"):
        plan(tmp_path, ["any"])


def test_a_file_that_is_no_yaml_is_named_with_the_line(project: Path) -> None:
    (project / "stacks" / "Pulumi.odd.yaml").write_text("config:\n  - a\n b: [")
    with pytest.raises(EngineError, match=r"stacks/Pulumi.odd.yaml, line 3: is no YAML"):
        plan(project, ["odd"])


@pytest.mark.parametrize(
    "text", ["", "config:", "config: [1]", "config: {'skerry:stack': {regions: 7}}", "- 1"]
)
def test_what_is_wrong_in_a_file_is_left_to_the_program_to_say(project: Path, text: str) -> None:
    (project / "stacks" / "Pulumi.odd.yaml").write_text(text)
    assert names(project, "odd") == ["odd"]
    assert StackFile(project, "odd").copy() == text


FILE = """\
# encryptionsalt: in a comment
secretsprovider: awskms://alias/mine
config:
  a:switch: yes # a word, for the engine
  a:list:
    - secure: v1:first
    - {name: "x", key: {secure: "v1:second"}}
  a:block:
    token:
      secure: v1:third
    after: 1
  a:encryptionsalt: kept
  a:last:
    secure: v1:fourth
encryptionsalt: v1:salt
encryptedkey: a2V5
"""
COPY = f"""\
# encryptionsalt: in a comment

config:
  a:switch: yes # a word, for the engine
  a:list:
    - {PLACEHOLDER}
    - {{name: "x", key: {PLACEHOLDER}}}
  a:block:
    token:
      {PLACEHOLDER}
    after: 1
  a:encryptionsalt: kept
  a:last:
    {PLACEHOLDER}


"""


def test_the_copy_holds_a_placeholder_for_each_secret_and_else_the_files_own_letters(project: Path) -> None:
    (project / "stacks" / "Pulumi.prod.yaml").write_text(FILE)
    assert StackFile(project, "prod").copy() == COPY


def test_a_rehearsal_of_nothing_asks_for_names(project: Path) -> None:
    for stacks, every in ([], False), (["a"], True):
        with pytest.raises(EngineError, match="name the stacks, or say --all"):
            rehearse(project, stacks, every)
