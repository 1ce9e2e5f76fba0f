"""Who may ask: API keys from a file, or signed tokens (JWT), and how often each may."""

import hashlib
import hmac
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
from fastapi import Request

from workloads.serving.protocol import ApiError

SHORTEST_KEY = 16  # characters; what is shorter can be guessed
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # never one where the verifier's key could also sign
REMEMBERED = 10_000  # callers whose rate is kept; those whose time is past are forgotten beyond
ANYBODY = ""  # the caller where nobody is asked

Identify = Callable[[str], str | None]
"""From what a client shows to its name; None for a stranger."""


class BadCredentials(Exception):
    """A file of keys that cannot be used; the message says file, line, rule and remedy, never the key."""


def api_keys(file: Path) -> Identify:
    """Lines `name key`, '#' begins a comment. Raises BadCredentials."""
    known: dict[bytes, str] = {}
    for number, line in enumerate(_read(file).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{file}, line {number}"
        if len(words) != 2 or len(words[1]) < SHORTEST_KEY:
            raise BadCredentials(f"{where}: write a name and a key of at least {SHORTEST_KEY} characters")
        name, key = words
        if not key.isascii():  # clients disagree on how a header spells it
            raise BadCredentials(f"{where}: the key holds more than ASCII characters; make another one")
        if _hash(key) in known:
            raise BadCredentials(f"{where}: that key is given above already; give each caller his own")
        known[_hash(key)] = name
    if not known:
        raise BadCredentials(f"{file}: holds no key, so nobody could ask; add a line with a name and a key")

    def identify(shown: str) -> str | None:
        digest, found = _hash(shown), None
        for key, name in known.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(key, digest):
                found = name
        return found

    return identify


def signed_tokens(file: Path, issuer: str, audience: str) -> Identify:
    """JWT signed by a key of the JWKS in `file`, for `audience`, by `issuer`, not expired. Raises BadCredentials."""
    keys = _public_keys(file)

    def identify(shown: str) -> str | None:
        try:
            key = keys[jwt.get_unverified_header(shown).get("kid")]
            claims: dict[str, Any] = jwt.decode(
                shown,
                key,
                algorithms=ALGORITHMS,
                issuer=issuer,
                audience=audience,
                options={"require": ["exp", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError):
            return None
        return str(claims["sub"]) or None  # "" would be everybody

    return identify


def _public_keys(file: Path) -> dict[str | None, jwt.PyJWK]:
    """The keys of a JWKS by their kid. Raises BadCredentials."""
    text = _read(file)
    keys: dict[str | None, jwt.PyJWK] = {}
    try:
        jwt.PyJWKSet.from_json(text)  # raises where no key is of a kind that it knows
        for number, fields in enumerate(json.loads(text)["keys"], 1):
            if fault := _take(fields, keys):
                raise BadCredentials(f"{file}, key {number} (kid {fields.get('kid')!r}): {fault}")
    except (ValueError, AttributeError, TypeError, jwt.PyJWTError) as error:
        raise BadCredentials(
            f"{file}: is no set of JSON web keys ({error}); take the issuer's jwks.json"
        ) from error
    return keys


def _take(fields: dict[str, Any], keys: dict[str | None, jwt.PyJWK]) -> str | None:
    """Add a key to `keys`, or say what is wrong with it. One of an unknown kind verifies nothing and is left out."""
    if {"d", "k"} & fields.keys():
        return "holds a private key, with which tokens are signed; take the public one"
    try:
        key = jwt.PyJWK(fields)
    except jwt.PyJWTError:
        return None
    if fields.get("use") not in (None, "sig") or "verify" not in (fields.get("key_ops") or ["verify"]):
        return "its use or key_ops is another than to verify signatures; take it out"
    if key.key_id in keys:
        return "a key above has the same kid, or none like this one; tokens tell keys by it, so give each its own"
    if short := key.Algorithm.check_key_length(key.key):
        return f"{short} Let the issuer sign with a longer one"
    keys[key.key_id] = key
    return None


class Door:
    """Lets in who is known, as often as he may. Without `identify` everybody is the same caller."""

    def __init__(self, identify: Identify | None = None, per_minute: int | None = None) -> None:
        self._identify = identify
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._burst = 60.0 - self._interval  # a minute's worth may come at once
        self._next: dict[str, float] = {}  # caller -> when his next request would come if he kept the pace

    async def admit(self, request: Request) -> None:
        """Raises ApiError: 401 for a stranger, 429 with Retry-After for one who comes too often."""
        caller: str | None = ANYBODY
        if self._identify is not None:
            scheme, _, shown = request.headers.get("authorization", "").partition(" ")
            caller = self._identify(shown.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            message = "no valid key or token; send the header Authorization: Bearer KEY"
            raise ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
        wait = self._wait(caller, time.monotonic())
        if wait > 0:
            message = f"more requests than this key may send; try again in {math.ceil(wait)} seconds"
            raise ApiError(
                429, message, code="rate_limit_exceeded", headers={"retry-after": str(math.ceil(wait))}
            )

    def _wait(self, caller: str, now: float) -> float:
        """Seconds until `caller` may come; 0 is now, and counts (a leaky bucket kept as one time)."""
        if not self._interval:
            return 0.0
        due = max(self._next.get(caller, now), now)
        if due - now > self._burst + 1e-6:
            return due - now - self._burst
        if len(self._next) > REMEMBERED:
            self._next = {name: at for name, at in self._next.items() if at > now}
        self._next[caller] = due + self._interval
        return 0.0


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        remedy = "give a readable text file"
        if isinstance(error, FileNotFoundError):
            remedy = (
                f"make the file. If a Secret of Kubernetes is mounted at {file.parent}, make that Secret with an entry "
                f"{file.name!r}: kubectl create secret generic NAME --from-file={file.name}=FILE"
            )
        raise BadCredentials(f"{file}: cannot be read ({reason}); {remedy}") from error
