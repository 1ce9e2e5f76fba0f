"""Who may ask: API keys from a file, or signed tokens (JWT), and how often each may."""

import hashlib
import hmac
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
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


@dataclass(frozen=True)
class Credentials:
    """The good entries of a file of keys, and its first mistake."""

    entries: Mapping[str, Any]
    """A key's digest -> the caller's name; or a public key as JSON -> that key."""
    mistake: str
    """File, line, rule and remedy; empty where every entry is good."""
    find: Callable[[Mapping[str, Any], str], str | None]
    """From `entries` and what a client shows to the caller's name."""

    def identify(self, shown: str) -> str | None:
        return self.find(self.entries, shown)

    def only(self, others: Mapping[str, Any]) -> "Credentials":
        """Those of the entries that are in `others` too."""
        return replace(self, entries={key: value for key, value in self.entries.items() if key in others})


def api_keys(file: Path) -> Credentials:
    """Lines `name key`, '#' begins a comment. Raises BadCredentials where the file cannot be read."""
    names: dict[str, str] = {}
    mistakes: list[str] = []
    for number, raw in enumerate(_read(file).splitlines(), 1):
        line = raw.decode(errors="surrogateescape")
        words = line.partition("#")[0].split()
        if fault := _fault(line, words, names):
            mistakes.append(f"{file}, line {number}: {fault}")
        elif words:
            names[_hash(words[1])] = words[0]
    return Credentials(names, "".join(mistakes[:1]), _name_of)


def _fault(line: str, words: list[str], names: Mapping[str, str]) -> str:
    """What is wrong with a line of keys, after those of `names`; empty where nothing is."""
    if any("\udc80" <= letter <= "\udcff" for letter in line):  # a byte that could not be decoded
        return "is not UTF-8; save the file as UTF-8"
    if not words:
        return ""
    if len(words) != 2 or len(words[1]) < SHORTEST_KEY:
        return f"write a name and a key of at least {SHORTEST_KEY} characters"
    if not words[1].isascii():  # clients disagree on how a header spells it
        return "the key holds more than ASCII characters; make another one"
    if _hash(words[1]) in names:
        return "that key is given above already; give each caller his own"
    return ""


def _name_of(names: Mapping[str, str], shown: str) -> str | None:
    digest, found = _hash(shown), None
    for key, name in names.items():  # all of them, so that time tells nothing
        if hmac.compare_digest(key, digest):
            found = name
    return found


def signed_tokens(file: Path, issuer: str, audience: str) -> Credentials:
    """JWT signed by a key of the JWKS in `file`, for `audience`, by `issuer`, not expired.

    Raises:
        BadCredentials: the file cannot be read.
    """

    def subject(keys: Mapping[str, jwt.PyJWK], shown: str) -> str | None:
        try:
            kid = jwt.get_unverified_header(shown).get("kid")
            claims: dict[str, Any] = jwt.decode(
                shown,
                {key.key_id: key for key in keys.values()}[kid],
                algorithms=ALGORITHMS,
                issuer=issuer,
                audience=audience,
                options={"require": ["exp", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError):
            return None
        return str(claims["sub"]) or None  # "" would be everybody

    return Credentials(*_public_keys(file), subject)


def _public_keys(file: Path) -> tuple[dict[str, jwt.PyJWK], str]:
    """The good keys of a JWKS, each by its JSON, and the first mistake."""
    keys: dict[str, jwt.PyJWK] = {}
    mistakes: list[str] = []
    try:
        listed = list(json.loads(_read(file))["keys"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return {}, f"{file}: is no set of JSON web keys ({error}); take the issuer's jwks.json"
    for number, fields in enumerate(listed, 1):
        try:
            fault = _take(fields, keys)
        except (ValueError, AttributeError, TypeError, UnsupportedAlgorithm) as error:
            fault = f"is no JSON web key ({error}); take the issuer's jwks.json"
        if fault:
            kid = fields.get("kid") if isinstance(fields, dict) else None
            mistakes.append(f"{file}, key {number} (kid {kid!r}): {fault}")
    return keys, "".join(mistakes[:1])


def _take(fields: dict[str, Any], keys: dict[str, jwt.PyJWK]) -> str | None:
    """Add a key to `keys`, or say what is wrong with it. One of an unknown kind verifies nothing and is left out."""
    if {"d", "k"} & fields.keys():
        return "holds a private key, with which tokens are signed; take the public one"
    try:
        key = jwt.PyJWK(fields)
    except jwt.PyJWTError:
        return None
    if fields.get("use") not in (None, "sig") or "verify" not in (fields.get("key_ops") or ["verify"]):
        return "its use or key_ops is another than to verify signatures; take it out"
    if key.key_id in {other.key_id for other in keys.values()}:
        return "a key above has the same kid, or none like this one; tokens tell keys by it, so give each its own"
    if short := key.Algorithm.check_key_length(key.key):
        return f"{short} Let the issuer sign with a longer one"
    keys[json.dumps(fields, sort_keys=True)] = key
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


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _read(file: Path) -> bytes:
    """The file's content. Raises BadCredentials."""
    try:
        return file.read_bytes()
    except OSError as error:
        remedy = "give a readable text file"
        if isinstance(error, FileNotFoundError):
            remedy = (
                f"make the file. If a Secret of Kubernetes is mounted at {file.parent}, make that Secret with an entry "
                f"{file.name!r}: kubectl create secret generic NAME --from-file={file.name}=FILE"
            )
        raise BadCredentials(f"{file}: cannot be read ({error.strerror}); {remedy}") from error
