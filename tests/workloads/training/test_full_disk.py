"""A disk that is really full: a small one of memory, in a namespace where any user may mount it."""

from pathlib import Path

from tests.workloads.training.lives import lived, told
from tests.workloads.training.runs import TINY

MOUNT = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'


def test_a_full_disk_is_named_with_the_remedy_and_the_last_good_checkpoint_is_loaded_afterwards(
    corpus: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    given = [*TINY, "--steps", "40", "--checkpoint-every", "10", "--data", str(corpus), "--run-id", "one"]
    given += [
        "--store-patience",
        "0.3",
        "--checkpoints",
        f"{disk}/place",
        "--output",
        str(tmp_path / "model"),
    ]
    events = {
        "fills and is killed": [("published", 1, "fill volume"), ("step", 32, "kill")],
        "still full": [],
        "freed": [("start", 1, "free volume")],
    }
    keys = ("point", "occurrence", "act")
    lives = [
        {"arguments": given, "events": [dict(zip(keys, event, strict=True)) for event in each]}
        for each in events.values()
    ]
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(disk)]
    full, still, freed = lived(*lives, within=within)
    assert (full["code"], full["latest"]) == (-9, "step-00000010"), full
    [failed] = [line for line in told(full) if line.get("checkpoint") == "failed"]
    assert f"step 20 could not be kept at {disk}/place" in failed["why"]
    assert "No space left on device" in failed["why"] and "make room there" in failed["why"]
    assert still["code"] == 1
    assert f"{disk}/place: cannot write lease.json" in still["said"] and "No space left" in still["said"]
    assert freed["code"] == 0, freed
    assert any(line.get("checkpoint") == "loaded" and line["at_step"] == 10 for line in told(freed)), freed
