"""Who may ask, and how often: keys, signed tokens, rates, and where none of them is needed."""

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.workloads.serving.serving import NAME, Running, running
from workloads.serving.auth import BadCredentials, signed_tokens
from workloads.serving.reread import reread

Serve = Callable[..., Running]
KEY, OTHER = "k" * 24, "o" * 24
ISSUER, AUDIENCE = "https://issuer.example", "skerry"
SIGNER, STRANGER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


@pytest.fixture(scope="module")
def guarded(tiny_int8: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two keys, each good for two requests a minute."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# who  key\nanna {KEY}\nben {OTHER}\n")
    flags = ("--api-keys-file", str(file), "--requests-per-minute", "2")
    with running(tiny_int8, *flags) as server:
        yield server


def ask(server: Running, header: str | None) -> httpx.Response:
    headers = {"authorization": header} if header is not None else {}
    body = {"model": NAME, "prompt": "x", "max_tokens": 1}
    return server.client.post("/v1/completions", json=body, headers=headers)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer " + "x" * 24, f"Basic {KEY}", f"Bearer {KEY}x"]
)
def test_who_shows_no_valid_key_gets_a_401_that_says_how(guarded: Running, header: str | None) -> None:
    refused = ask(guarded, header)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", f"/v2/models/{NAME}"),
        ("POST", f"/v2/models/{NAME}/infer"),
        ("GET", "/v2"),
    ],
)
def test_every_route_of_the_model_asks_for_the_key(guarded: Running, method: str, path: str) -> None:
    assert guarded.client.request(method, path).status_code == 401


def test_health_and_metrics_stay_open_for_those_who_watch(guarded: Running) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}/ready", "/metrics"):
        assert guarded.client.get(path).status_code == 200


def test_a_key_used_too_often_gets_a_429_and_the_other_key_does_not_suffer(guarded: Running) -> None:
    assert [ask(guarded, f"Bearer {KEY}").status_code for _ in range(2)] == [200, 200]
    refused = ask(guarded, f"Bearer {KEY}")
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert ask(guarded, f"Bearer {OTHER}").status_code == 200


def test_no_key_is_in_the_log_or_on_the_command_line(guarded: Running) -> None:
    ask(guarded, f"Bearer {KEY}")
    assert KEY not in guarded.log()
    assert KEY not in Path(f"/proc/{guarded.process.pid}/cmdline").read_text()


def token(key: rsa.RSAPrivateKey = SIGNER, kid: str = "one", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": int(time.time()) + 3600, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm="RS256", headers={"kid": kid})


@pytest.fixture(scope="module")
def trusting(tiny_int8: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    public = RSAAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True)
    file = tmp_path_factory.mktemp("jwks") / "jwks.json"
    file.write_text(json.dumps({"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}))
    flags = ("--jwt-jwks-file", str(file), "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)
    with running(tiny_int8, *flags) as server:
        yield server


def test_a_token_signed_by_the_issuer_lets_in(trusting: Running) -> None:
    assert ask(trusting, f"Bearer {token()}").status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        token(exp=1),
        token(aud="another"),
        token(iss="https://elsewhere.example"),
        token(STRANGER),
        token(kid="two"),
        token(exp=None),
        token(sub=None),
        token(sub=""),
        jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": 2**33}, "", "none", {"kid": "one"}),
        "no.token.at-all",
    ],
)
def test_a_token_that_is_expired_foreign_or_unsigned_does_not(trusting: Running, bad: str) -> None:
    assert ask(trusting, f"Bearer {bad}").status_code == 401


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--host", "0.0.0.0"), "--no-auth"),
        (("--jwt-issuer", "x"), "belong together"),
        (("--no-auth", "--api-keys-file", "x"), "choose one"),
        (("--api-keys-file", "/nowhere/keys"), "/nowhere/keys: cannot be read"),
        (("--answer-seconds", "0"), "more than 0"),
        (("--drain-seconds", "nan"), "more than 0"),
    ],
)
def test_flags_that_leave_open_who_may_ask_end_with_code_2(
    serve: Serve, tiny_int8: dict[str, Any], flags: tuple[str, ...], words: str
) -> None:
    server = serve(tiny_int8, *flags)
    assert server.exit_code() == 2
    assert words in server.log()


@pytest.mark.parametrize(
    "line",
    [
        "anna",
        "anna short",
        f"anna {KEY} more",
        "# nobody",
        f"anna {KEY}\nben {KEY}",
        f"anna {KEY}\N{SNOWMAN}",
    ],
)
def test_a_wrong_line_of_keys_is_refused_without_repeating_it(
    serve: Serve, tiny_int8: dict[str, Any], tmp_path: Path, line: str
) -> None:
    (tmp_path / "keys").write_text(line)
    server = serve(tiny_int8, "--api-keys-file", str(tmp_path / "keys"))
    assert server.exit_code() == 2
    assert str(tmp_path / "keys") in server.log() and KEY not in server.log()


def web_key(key: rsa.RSAPrivateKey | rsa.RSAPublicKey | None = None, **fields: Any) -> dict[str, Any]:
    return {
        **RSAAlgorithm.to_jwk(key or SIGNER.public_key(), as_dict=True),
        "key_ops": ["verify"],
        **fields,
    }


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([web_key(SIGNER, kid="one")], "key 1 (kid 'one'): holds a private key"),
        ([web_key(kid="one"), web_key(kid="two", use="enc")], "key 2 (kid 'two'): its use or key_ops"),
        ([web_key(kid="one", key_ops=["encrypt"])], "take it out"),
        ([web_key(), web_key(STRANGER.public_key())], "key 2 (kid None): a key above has the same kid"),
        ([web_key(kid="one"), web_key(STRANGER.public_key(), kid="one")], "give each its own"),
        ([web_key(rsa.generate_private_key(65537, 1024).public_key())], "1024 bits"),
        ([{**web_key(), "key_ops": 7}], "key 1 (kid None): is no JSON web key"),
        ([web_key(kid="one"), "a word"], "key 2 (kid None): is no JSON web key"),
        ([{"kty": "unheard-of"}], "holds no key"),
        ([], "holds no key"),
        (7, "is no set of JSON web keys"),
    ],
)
def test_a_set_with_a_key_that_must_not_verify_is_refused(tmp_path: Path, keys: object, words: str) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    with pytest.raises(BadCredentials, match=re.escape(words)):
        reread(tmp_path / "jwks.json", partial(signed_tokens, issuer=ISSUER, audience=AUDIENCE))


def test_a_key_of_an_unknown_kind_beside_a_good_one_is_left_out(tmp_path: Path) -> None:
    keys = [web_key(kid="one"), web_key(kid="two", alg="RSA-OAEP", use="enc")]  # as Keycloak lists them
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    tokens = partial(signed_tokens, issuer=ISSUER, audience=AUDIENCE)
    assert reread(tmp_path / "jwks.json", tokens)(token()) == "anna"
