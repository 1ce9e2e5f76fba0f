"""Keys that change while the server runs, in a file that is replaced as kubelet replaces a mounted Secret."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.workloads.serving.serving import Running, running
from tests.workloads.serving.test_access import (
    AUDIENCE,
    ISSUER,
    KEY,
    OTHER,
    SIGNER,
    STRANGER,
    ask,
    token,
    web_key,
)

Serve = Callable[..., Running]


class Mounted:
    """A mounted Secret of one entry: ENTRY -> ..data/ENTRY, and ..data -> a folder, which an update swaps at once."""

    def __init__(self, folder: Path, entry: str, content: str) -> None:
        self._folder, self._entry, self._updates = folder, entry, 0
        self.file = folder / entry
        self.update(content)
        self.file.symlink_to(Path("..data") / entry)

    def update(self, content: str | None) -> None:
        """Swap in another content; None for a Secret without the entry."""
        self._updates += 1
        data = self._folder / f"..{self._updates}"
        data.mkdir()
        if content is not None:
            (data / self._entry).write_text(content)
        swap = self._folder / "..data_tmp"
        swap.symlink_to(data.name)
        os.replace(swap, self._folder / "..data")


@pytest.fixture
def secret(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path, "keys", f"anna {KEY}\nben {OTHER}\n")


@pytest.fixture
def guarded(tiny_int8: dict[str, Any], secret: Mounted) -> Iterator[Running]:
    with running(tiny_int8, "--api-keys-file", str(secret.file)) as server:
        yield server


def statuses(server: Running, *keys: str) -> list[int]:
    return [ask(server, f"Bearer {key}").status_code for key in keys]


def test_a_revoked_key_is_refused_and_a_new_one_let_in_by_the_next_request(
    guarded: Running, secret: Mounted
) -> None:
    assert statuses(guarded, KEY, OTHER, "n" * 24) == [200, 200, 401]
    secret.update(f"ben {OTHER}\nnora {'n' * 24}\n")
    assert statuses(guarded, KEY, OTHER, "n" * 24) == [401, 200, 200]
    assert guarded.process.poll() is None


def test_a_file_of_keys_that_is_written_in_place_is_read_again(
    tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"anna {KEY}\nben {OTHER}\n")
    with running(tiny_int8, "--api-keys-file", str(file)) as server:
        assert statuses(server, KEY, OTHER) == [200, 200]
        file.write_text(f"ben {OTHER}\n")
        assert statuses(server, KEY, OTHER) == [401, 200]


@pytest.mark.parametrize("content", ["anna short", "", None], ids=["malformed", "empty", "missing"])
def test_keys_that_cannot_be_used_leave_the_last_good_ones_in_force_and_are_logged_once(
    guarded: Running, secret: Mounted, content: str | None
) -> None:
    secret.update(content)
    assert statuses(guarded, KEY, OTHER, "x" * 24) == [200, 200, 401]
    told = [line for line in guarded.log().splitlines() if "the keys read before stay in force" in line]
    assert len(told) == 1 and str(secret.file) in told[0]
    secret.update(f"ben {OTHER}\n")
    assert statuses(guarded, KEY, OTHER) == [401, 200]


def test_a_public_key_that_its_issuer_withdraws_signs_nobody_in_any_more(
    tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    def jwks(**keys: rsa.RSAPrivateKey) -> str:
        return json.dumps({"keys": [web_key(key.public_key(), kid=kid) for kid, key in keys.items()]})

    secret = Mounted(tmp_path, "jwks.json", jwks(old=SIGNER))
    flags = ("--jwt-jwks-file", str(secret.file), "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)
    old, new = token(kid="old"), token(STRANGER, kid="new")
    with running(tiny_int8, *flags) as server:
        assert statuses(server, old, new) == [200, 401]
        secret.update(jwks(new=STRANGER))
        assert statuses(server, old, new) == [401, 200]


def test_a_server_whose_secret_is_missing_ends_at_once_and_says_what_to_make(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path
) -> None:
    server = serve(tiny_int8, "--api-keys-file", str(tmp_path / "keys"))
    assert server.exit_code() == 2
    log = server.log()
    assert f"{tmp_path / 'keys'}: cannot be read" in log
    assert "make that Secret with an entry 'keys': kubectl create secret generic NAME" in log
