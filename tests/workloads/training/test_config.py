from pathlib import Path
from typing import Any

import pytest

from workloads.training.config import TrainConfig, local_path, parse
from workloads.training.export import destination
from workloads.training.flags import ConfigError
from workloads.training.model import ModelConfig
from workloads.training.train import main


def test_no_flags_give_the_defaults_and_they_break_no_rule() -> None:
    assert parse([], world=2) == TrainConfig()


def test_flags_set_the_fields_of_run_and_model() -> None:
    config = parse(["--learning-rate", "0.5", "--tied", "false", "--width=64", "--output", "x"], world=1)
    assert (config.learning_rate, config.model.tied, config.model.width, config.output) == (
        0.5,
        False,
        64,
        "x",
    )


def test_every_mistake_is_reported_at_once() -> None:
    given = [
        "--steps",
        "0",
        "--batch",
        "1",
        "--heads",
        "3",
        "--colour",
        "red",
        "--learning-rate",
        "fast",
        "--output",
        "az://bucket/m",
        "--clip",
        "nan",
    ]
    with pytest.raises(ConfigError) as error:
        parse(given, world=2)
    text = str(error.value)
    for part in (
        "8 settings cannot be used",
        "steps=0: must be at least 1; the default is 500",
        "batch=1: must be at least 1 sequence for each of the 2 workers; try 2 or more, or fewer workers",
        "heads=3: width / heads must be an even whole number",
        "key_value_heads=2: must divide heads=3",
        "--colour: is no setting",
        "learning_rate='fast': must be a number",
        "output='az://bucket/m': must be a path, file:///",
        "mount any other store",
        "clip=nan: must be above 0",
    ):
        assert part in text


def test_the_entry_exits_with_2_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--steps", "-5", "--output", str(tmp_path / "model")]) == 2
    assert "steps=-5: must be at least 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_file_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").write_text("precious")
    assert main(["--output", str(tmp_path / "model"), "--data", str(tmp_path / "nowhere")]) == 2
    assert "is a file, a folder is published; remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("out/model", "out/model"),
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("/a/b", "/a/b"),
    ],
)
def test_a_path_or_file_uri_names_a_local_folder(given: str, path: str) -> None:
    assert local_path("output", given) == Path(path)


@pytest.mark.parametrize("given", ["gs://bucket/m", "file://host/a", "file:relative", "memory://x"])
def test_any_other_uri_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="must be a path, file:///absolute/path.*mount any other store"):
        local_path("output", given)


def test_a_preset_gives_the_shape_and_a_flag_changes_one_field_of_it() -> None:
    model = parse(["--preset", "124m", "--context", "64"], world=1).model
    assert (model.width, model.layers, model.context) == (768, 12, 64)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="preset='7b': must be one of tiny, 124m, 1b5"):
        parse(["--preset", "7b"], world=1)


def test_a_batch_with_fewer_sequences_than_the_workers_have_parts_is_refused_with_the_least_that_fits() -> (
    None
):
    refusal = "batch=5: .* each of the 2 workers times accumulate=3; try 6 or more"
    with pytest.raises(ConfigError, match=refusal):
        parse(["--accumulate", "3", "--batch", "5"], world=2)
    assert parse(["--accumulate", "3", "--batch", "7"], world=2).batch == 7


@pytest.mark.parametrize(
    ("setting", "other"),
    [
        ("checkpoints", "model"),
        ("data", "."),
        ("fallback", "model/deep"),
        ("log", "model/log"),
        ("init", "link"),
    ],
)
def test_an_output_that_meets_another_place_of_the_run_is_refused_before_anything_is_read(
    tmp_path: Path, setting: str, other: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "model")
    given: dict[str, Any] = {
        "checkpoints": str(tmp_path / "elsewhere"),
        setting: (tmp_path / other).as_uri(),
    }
    config = TrainConfig(output=str(tmp_path / "model"), **given)
    [problem] = config.problems(world=1)
    assert f"/model': is, holds or lies in {setting}='{given[setting]}'" in problem


def test_an_output_with_something_that_was_not_published_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert main(["--output", str(tmp_path / "mine"), "--data", str(tmp_path / "nowhere")]) == 2
    assert "holds thesis.txt, which was not published there" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_run_whose_name_the_tracking_server_cannot_be_asked_for_is_refused() -> None:
    assert TrainConfig(run_id="team/pre-train:1.0").problems(world=1) == []
    [problem] = TrainConfig(run_id="it's").problems(world=1)
    assert 'run_id="it\'s": must be of letters, digits and . _ : / + -' in problem


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("/proc/skerry/model", "nothing can be written in /proc (No such file or directory)"),
        (
            "/proc",
            "is where a volume is mounted, and publishing renames a folder into its place; give a folder in it",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, said: str
) -> None:
    assert main(["--output", output, "--data", str(tmp_path / "nowhere")]) == 2
    assert f"output='{output}': {said}" in capsys.readouterr().err


def test_looking_whether_an_output_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    destination(str(tmp_path / "deep" / "model"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 2**70}, "seed=1180591620717411303424: must be at most 9223372036854775807"),
        ({"steps": 10**30}, "must be at most 99999999"),
        ({"batch": 10**12}, "batch=1000000000000: must be at most 1048576"),
        ({"model": ModelConfig(width=2**40)}, "width=1099511627776: must be at most 1048576"),
        ({"model": ModelConfig(layers=10**6)}, "layers=1000000: must be at most 4096"),
    ],
)
def test_a_number_that_no_machine_takes_is_refused_with_the_most(given: dict[str, Any], said: str) -> None:
    [problem] = TrainConfig(**given).problems(world=1)
    assert said in problem


def test_a_time_to_stop_at_without_a_place_for_checkpoints_is_refused(tmp_path: Path) -> None:
    [problem] = TrainConfig(stop_at=1.0).problems(world=1)
    assert "stop_at=1.0: must be 0 (never) where checkpoints is empty: give one" in problem
    assert TrainConfig(stop_at=1.0, checkpoints=str(tmp_path)).problems(world=1) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gs://bucket/a", "gcs://bucket/a"),
        ("s3://bucket/a", "s3a://bucket/a"),
        ("./a", "a"),
        ("a", "local://a"),
    ],
)
def test_one_place_by_two_names_is_one_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one: str, other: str
) -> None:
    monkeypatch.chdir(tmp_path)
    other = other.replace("local://", f"local://{tmp_path}/")
    [problem] = TrainConfig(checkpoints=one, fallback=other).problems(world=1)
    assert f"fallback={other!r}: must be another place than checkpoints" in problem
    [problem] = TrainConfig(output=one, checkpoints=other).problems(world=1)
    assert f"is, holds or lies in checkpoints={other!r}" in problem
