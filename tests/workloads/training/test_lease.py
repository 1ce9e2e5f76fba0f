import json
import os
import time
from pathlib import Path

import pytest

from tests.waiting import until
from tests.workloads.training.runs import TINY
from workloads.training.flags import ConfigError
from workloads.training.lease import LEASE, Lease, LeaseLost
from workloads.training.store import Store, Unreachable, open_stores
from workloads.training.train import main


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "place"), patience=0.1)


def leave_behind(store: Store, age: float) -> None:
    """The lease of a run called dead, whose heart stopped `age` seconds ago, on a machine whose clock is wrong."""
    lease = {"run": "dead", "token": "x", "beat": 12.0, "seconds": 60.0}
    store.write(LEASE, json.dumps(lease).encode())
    then = time.time() - age
    os.utime(f"{store.root}/{LEASE}", (then, then))


def test_a_second_run_is_refused_with_the_holder_and_the_remedy(store: Store) -> None:
    first = Lease(store, "first", seconds=60)
    with pytest.raises(ConfigError, match="run 'first' works here.*holds for 60 s.*give --run-id first"):
        Lease(store, "second", seconds=60)
    first.check()
    first.release()


def test_a_lease_that_was_given_back_is_free_at_once(store: Store) -> None:
    Lease(store, "first", seconds=60).release()
    Lease(store, "second", seconds=60).release()
    assert store.names() == []


@pytest.mark.parametrize(("age", "free"), [(59, False), (61, True)])
def test_a_dead_runs_lease_lapses_when_its_heart_was_silent_for_long(
    store: Store, age: float, free: bool
) -> None:
    leave_behind(store, age)
    if free:
        Lease(store, "second", seconds=60).release()
    else:
        with pytest.raises(ConfigError, match="run 'dead' works here"):
            Lease(store, "second", seconds=60)


def test_the_same_run_takes_over_at_once_and_its_former_self_finds_out(store: Store) -> None:
    former = Lease(store, "one", seconds=60)
    latter = Lease(store, "one", seconds=60)
    with pytest.raises(LeaseLost, match="the lease of run one is now with one"):
        former.check()
    former.release()
    latter.check()
    latter.release()


def test_a_run_is_refused_a_fallback_where_another_works_and_gives_its_own_place_back(
    store: Store, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, own = Lease(store, "one", seconds=60), tmp_path / "own"
    given = ["--data", str(corpus), "--output", str(tmp_path / "model"), "--run-id", "two"]
    assert main([*TINY, *given, "--checkpoints", str(own), "--fallback", store.uri]) == 2
    assert f"{store.uri}: run 'one' works here" in capsys.readouterr().err
    assert list(own.iterdir()) == []
    other.check()
    other.release()


NO_LEASES = [b'{"run": "a", "token": "b", "seconds": "long"}', b'{"run": "a", "token": "b", "seconds": null}']


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"run": "first"}', b'{"run": "fi', *NO_LEASES])
def test_a_file_that_is_no_lease_holds_nobody_up_and_a_holder_finds_out(store: Store, content: bytes) -> None:
    store.write(LEASE, content)
    lease = Lease(store, "second", seconds=60)
    lease.check()
    store.write(LEASE, content)
    with pytest.raises(LeaseLost, match="the lease of run second is now with nobody"):
        lease.check()
    lease.release()


def test_a_lease_that_the_former_holder_removed_in_passing_is_taken_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workloads.training.lease.time.sleep", lambda seconds: store.remove(LEASE))
    lease = Lease(store, "one", seconds=60)
    lease.check()
    lease.release()


def test_the_heart_beats_on_its_own(store: Store) -> None:
    lease = Lease(store, "one", seconds=0.2)
    before = store.read_json(LEASE)["beat"]
    until(lambda: store.read_json(LEASE)["beat"] != before)
    lease.release()


def test_a_store_that_cannot_be_written_is_tried_and_then_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match="file/place: cannot read lease.json: NotADirectoryError"):
        Lease(Store(str(tmp_path / "file" / "place"), patience=0.1), "one", seconds=60)


def test_an_address_that_nothing_serves_is_refused_with_what_would_do() -> None:
    with pytest.raises(
        ConfigError, match="Protocol not known: nowhere.*give a path, file://, s3:// or gs://"
    ):
        open_stores("nowhere://bucket/x", "", patience=1)


def test_a_place_with_quoted_letters_in_its_address_is_the_folder_so_called(tmp_path: Path) -> None:
    folder = tmp_path / "Ort ä"
    store = Store(folder.as_uri(), patience=0.1)
    store.write("one", b"1")
    assert (folder / "one").read_bytes() == b"1"
    assert store.within("one") == str(folder / "one")
