"""Keys that change while the server runs, in a file that is replaced as kubelet replaces a mounted Secret."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
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
from workloads.serving.auth import api_keys, signed_tokens
from workloads.serving.reread import reread

Serve = Callable[..., Running]
NEW = "n" * 24


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
            (data / self._entry).write_text(content, encoding="utf-8", errors="surrogateescape")
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
    assert statuses(guarded, KEY, OTHER, NEW) == [200, 200, 401]
    secret.update(f"ben {OTHER}\nnora {NEW}\n")
    assert statuses(guarded, KEY, OTHER, NEW) == [401, 200, 200]
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


def complaints(server: Running) -> list[str]:
    """Lines of the log about credentials that could not be taken as they are."""
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [
        line["message"]
        for line in lines
        if line["event"] == "credentials" and line["level"] in ("warning", "error")
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no key"),
        ("# nobody at the moment\n", "holds no key"),
        (None, "cannot be read (No such file or directory)"),
    ],
    ids=["empty", "comment", "missing"],
)
def test_a_file_without_keys_and_a_deleted_secret_let_nobody_in_until_there_are_keys(
    guarded: Running, secret: Mounted, content: str | None, reason: str
) -> None:
    secret.update(content)
    assert statuses(guarded, KEY, OTHER, NEW) == [401, 401, 401]
    (line,) = complaints(guarded)
    assert line.startswith(f"{secret.file}: {reason}")
    secret.update(f"ben {OTHER}\n")
    assert statuses(guarded, KEY, OTHER, NEW) == [401, 200, 401]


@pytest.mark.parametrize(
    ("content", "good", "number", "rule"),
    [
        (f"ben {OTHER}\nnora short\n", [401, 200, 401], 2, "at least 16 characters"),
        (f"nora short\nnina {NEW}\nanna {KEY}", [200, 401, 401], 1, "at least 16 characters"),
        (f"anna {KEY} more\nben {OTHER}\n", [401, 200, 401], 1, "write a name and a key"),
        (f"anna {KEY[:-1]}\nben{OTHER}\n", [401, 401, 401], 2, "write a name and a key"),
        ("nora short", [401, 401, 401], 1, "at least 16 characters"),
        (f"# anna {KEY}\nben {OTHER}\nben {OTHER}\n", [401, 200, 401], 3, "given above already"),
        (f"anna {KEY}\nben {OTHER} # \udcff", [200, 401, 401], 2, "is not UTF-8"),
    ],
)
def test_of_a_file_with_a_mistake_only_old_keys_in_good_lines_of_it_stay_in_force(
    guarded: Running, secret: Mounted, content: str, good: list[int], number: int, rule: str
) -> None:
    secret.update(content)
    assert statuses(guarded, KEY, OTHER, NEW) == good
    (line,) = complaints(guarded)
    assert line.startswith(f"{secret.file}, line {number}: ") and rule in line
    assert not any(key in guarded.log() for key in (KEY[:-1], OTHER, NEW))
    secret.update(f"ben {OTHER}\nnina {NEW}\n")
    assert statuses(guarded, KEY, OTHER, NEW) == [401, 200, 200]


def test_a_file_of_keys_that_cannot_be_read_for_a_while_is_tried_with_every_request(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"anna {KEY}\n")
    identify = reread(file, api_keys)
    file.write_text(f"anna {KEY}\nben {OTHER}\n")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))  # as a server with too many connections
    try:
        assert [identify(KEY), identify(OTHER)] == [None, None]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [identify(KEY), identify(OTHER)] == ["anna", "ben"]


def test_of_a_key_set_that_cannot_be_used_no_withdrawn_key_stays_in_force(
    tmp_path: Path,
) -> None:
    def changed(*keys: object) -> list[str | None]:
        secret.update(json.dumps({"keys": keys}))
        return [identify(token(kid="one")), identify(token(STRANGER, kid="two"))]

    one, two = web_key(kid="one"), web_key(STRANGER.public_key(), kid="two")
    secret = Mounted(tmp_path, "jwks.json", json.dumps({"keys": [one, two]}))
    identify = reread(secret.file, partial(signed_tokens, issuer=ISSUER, audience=AUDIENCE))
    assert changed(two, "a word") == [None, "anna"]
    assert changed(one, two) == ["anna", "anna"]
    assert changed(one, {**two, "use": "enc"}) == ["anna", None]
    assert changed() == [None, None]
    assert changed(one, two) == ["anna", "anna"]
    for unusable in ("[" * 100_000, "{", "", "7", "{}", None):
        secret.update(unusable)
        assert [identify(token(kid="one")), identify(token(STRANGER, kid="two"))] == [None, None]
    assert changed(one) == ["anna", None]


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
