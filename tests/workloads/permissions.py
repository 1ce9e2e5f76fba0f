"""What IAM decides about a request to an object store, from the documents that a stack declares.

Neither moto nor the emulator of Cloud Storage judges conditions, keys or a bucket's own policy, so a request is judged
here before it is forwarded. The decisions follow the clouds' documentation and are strict where that leaves a choice:
what is not in a table is denied.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from tests.workloads.training.runs import ROOT
from tools.paths import TOOLKIT

ACCOUNT = "111122223333"
"""Account of the recorded stack."""


@dataclass(frozen=True)
class Request:
    """A request to a store."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in found.items()}


@dataclass(frozen=True)
class Check:
    """One permission that a request needs."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict[str, str])


class Judge(Protocol):
    """Decides for one identity."""

    def refuses(self, request: Request) -> list[Check]:
        """Permissions that the request needs and the identity lacks."""
        ...

    def hides_missing(self, request: Request) -> bool:
        """Whether the store answers 403 in place of 404 for an object that is not there."""
        ...


@cache
def declared(target: str) -> dict[str, Any]:
    """What the contract's stack declares on a target, as the toolkit's environment records it."""
    command = [TOOLKIT / "bin" / "python", "-m", "tests.declared", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Amazon S3. Actions by request: Service Authorization Reference, "Actions, resources, and condition keys for Amazon
# S3", and the "Permissions" section of each operation in the S3 API Reference.
PART_OF_UPLOAD = "uploadId"
SUBRESOURCES = {"tagging": "ObjectTagging", "acl": "ObjectAcl", "versionId": "ObjectVersion"}
BUCKET_ACTIONS = {
    ("GET", "location"): "s3:GetBucketLocation",
    ("GET", "uploads"): "s3:ListBucketMultipartUploads",
    ("GET", "versions"): "s3:ListBucketVersions",
    ("PUT", ""): "s3:CreateBucket",
    ("DELETE", ""): "s3:DeleteBucket",
}
VERBS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}


@dataclass(frozen=True)
class S3Judge:
    """IAM on AWS: the identity's policy, the bucket's policy, and the policy of the key that encrypts the bucket."""

    documents: Mapping[str, Any]
    """Of the whole stack, from `declared`."""
    identity: str

    def refuses(self, request: Request) -> list[Check]:
        return [check for check in self._checks(request) if not self._allows(check)]

    def hides_missing(self, request: Request) -> bool:
        """S3 tells that an object is missing only to those who may list the bucket (HeadObject and GetObject in the
        S3 API Reference). These requests have no `s3:prefix`, so a condition on it does not hold."""
        bucket, key = _bucket_and_key(request.path)
        listing = Check("s3:ListBucket", f"arn:aws:s3:::{bucket}")
        return bool(key) and request.method in ("GET", "HEAD") and not self._allows(listing)

    def _checks(self, request: Request) -> Iterator[Check]:
        bucket, key = _bucket_and_key(request.path)
        arn, query = f"arn:aws:s3:::{bucket}", request.query
        if not key and request.method == "POST" and "delete" in query:
            for name in re.findall(rb"<Key>(.*?)</Key>", request.body):
                yield Check("s3:DeleteObject", f"{arn}/{name.decode()}")
        elif not key:
            yield self._of_bucket(request.method, arn, query)
        else:
            yield from self._of_object(request, bucket, key)

    def _of_bucket(self, method: str, arn: str, query: Mapping[str, str]) -> Check:
        for (verb, word), action in BUCKET_ACTIONS.items():
            if verb == method and (word in query if word else not query):
                return Check(action, arn)
        if method == "HEAD" or (method == "GET" and (not query or {"list-type", "prefix"} & set(query))):
            prefix = {"s3:prefix": query["prefix"]} if "prefix" in query else {}
            return Check("s3:ListBucket", arn, prefix)
        return Check(f"s3:Unknown {method} {sorted(query)}", arn)

    def _of_object(self, request: Request, bucket: str, key: str) -> Iterator[Check]:
        arn, query = f"arn:aws:s3:::{bucket}/{key}", request.query
        part = next((name for word, name in SUBRESOURCES.items() if word in query), "")
        if part and request.method in VERBS:
            yield Check(f"s3:{VERBS[request.method]}{part}", arn)
        elif request.method in ("GET", "HEAD"):
            action = "s3:ListMultipartUploadParts" if PART_OF_UPLOAD in query else "s3:GetObject"
            yield Check(action, arn)
            yield self._key("kms:Decrypt", bucket, arn)
        elif request.method == "DELETE":
            yield Check("s3:AbortMultipartUpload" if PART_OF_UPLOAD in query else "s3:DeleteObject", arn)
        else:
            yield Check("s3:PutObject", arn)
            yield self._key("kms:GenerateDataKey", bucket, arn)
            if (
                PART_OF_UPLOAD in query or "uploads" in query
            ):  # the parts are decrypted when they are put together
                yield self._key("kms:Decrypt", bucket, arn)
            if source := request.headers.get("x-amz-copy-source"):
                there, name = _bucket_and_key("/" + unquote(source).lstrip("/"))
                copied = f"arn:aws:s3:::{there}/{name}"
                yield Check("s3:GetObject", copied)
                yield self._key("kms:Decrypt", there, copied)

    def _key(self, action: str, bucket: str, arn: str) -> Check:
        """Use of the bucket's key by S3: with a bucket key, the encryption context is the bucket's ARN (S3 User Guide,
        "Encryption context")."""
        region = next(name for name in self._regions() if f"-{name}-" in bucket)
        whole = self.documents["buckets"][bucket]["bucket_key"]
        context = {
            "kms:ViaService": f"s3.{region}.amazonaws.com",
            "kms:CallerAccount": ACCOUNT,
            "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}" if whole else arn,
        }
        return Check(action, f"arn:aws:kms:{region}:{ACCOUNT}:key/of-buckets", context)

    def _regions(self) -> set[str]:
        return {pod["region"] for pod in self.documents["pods"]}

    def _allows(self, check: Check) -> bool:
        check = Check(check.action, check.resource, {"aws:SecureTransport": "true", **check.context})
        identity = self.documents["identities"][self.identity]["Statement"]
        if check.action.startswith("kms:"):
            # The key's policy must leave the decision to IAM, by naming the account.
            root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
            delegates = [row for row in self.documents["key_policy"]["Statement"] if row["Principal"] == root]
            return _decision(delegates, check) == "Allow" and _decision(identity, check) == "Allow"
        bucket = self.documents["buckets"].get(check.resource.split(":::")[1].partition("/")[0])
        guarding = bucket["policy"]["Statement"] if bucket else []
        return _decision([*identity, *guarding], check) == "Allow"


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.lstrip("/").partition("/")
    return bucket, key


def _decision(statements: list[dict[str, Any]], check: Check) -> str:
    """IAM User Guide, "Policy evaluation logic": an explicit Deny wins, and what nothing allows is denied."""
    effects = {row["Effect"] for row in statements if _applies(row, check)}
    return "Deny" if "Deny" in effects or not effects else "Allow"


def _applies(statement: Mapping[str, Any], check: Check) -> bool:
    return (
        any(fnmatchcase(check.action.lower(), action.lower()) for action in statement["Action"])
        and any(_matches(check.resource, resource) for resource in statement["Resource"])
        and all(
            _holds(operator, check.context.get(key), wanted if isinstance(wanted, list) else [wanted])
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, found: str | None, wanted: list[str]) -> bool:
    """One condition. A key that the request does not have makes it false, but for the operators with IfExists."""
    base, if_exists, _ = operator.partition("IfExists")
    if found is None:
        return bool(if_exists)
    tests = {
        "StringEquals": lambda value: found == value,
        "StringLike": lambda value: _matches(found, value),
        "ArnLike": lambda value: _matches(found, value),
        "Bool": lambda value: found == value,
    }
    return any(map(tests[base], wanted))


def _matches(found: str, pattern: str) -> bool:
    """With IAM's wildcards: * and ? alone, so a bracket stands for itself."""
    return fnmatchcase(found, pattern.replace("[", "[[]"))


# Cloud Storage. Permissions by method: Google's page "IAM permissions for JSON methods"; by role: "IAM roles for Cloud
# Storage".
VIEWER = {"storage.objects.get", "storage.objects.list"}
ROLES = {
    "roles/storage.objectViewer": VIEWER,
    "roles/storage.objectUser": {
        *VIEWER,
        *(f"storage.objects.{verb}" for verb in ("create", "delete", "update")),
        *(f"storage.multipartUploads.{verb}" for verb in ("create", "abort", "list", "listParts")),
    },
}
CONDITION = re.compile(
    r'resource\.type == "(?P<type>[^"]+)" \|\| resource\.name\.startsWith\("(?P<prefix>[^"]+)"\)'
)
"""The one form of condition that is declared."""
OBJECTS = re.compile(
    r"^/(?P<upload>upload/|download/)?storage/v1/b(/(?P<bucket>[^/]+)(/o(/(?P<name>.+))?)?)?$"
)


@dataclass(frozen=True)
class GcsJudge:
    """IAM on Google Cloud: the grants of a member on buckets, each with a role and a condition."""

    documents: Mapping[str, Any]
    identity: str

    def refuses(self, request: Request) -> list[Check]:
        return [check for check in self._checks(request) if not self._allows(check)]

    def hides_missing(self, request: Request) -> bool:
        found = OBJECTS.match(urlsplit(request.target).path)
        if found is None or not found["name"]:
            return False
        return not self._allows(Check("storage.objects.list", f"projects/_/buckets/{found['bucket']}"))

    def _checks(self, request: Request) -> Iterator[Check]:
        found = OBJECTS.match(urlsplit(request.target).path)
        if found is None:
            yield Check(f"unknown {request.method} {request.path}", "")
            return
        bucket = f"projects/_/buckets/{found['bucket']}"
        name = unquote(found["name"] or "")
        if found["upload"] == "upload/":
            named = request.query.get("name") or _name_in(request.body)
            if "upload_id" not in request.query:  # the session was permitted when it was opened
                yield from self._writing(bucket, named)
        elif not found["bucket"]:
            yield Check(f"storage.buckets.{'create' if request.method == 'POST' else 'list'}", "projects/_")
        elif found["name"] is None and not request.path.endswith("/o"):
            verbs = {"GET": "get", "DELETE": "delete", "PATCH": "update", "PUT": "update"}
            yield Check(f"storage.buckets.{verbs[request.method]}", bucket)
        elif found["name"] is None:
            yield Check("storage.objects.list", bucket)
        elif copied := re.fullmatch("(.+)/(copyTo|rewriteTo)/b/([^/]+)/o/(.+)", found["name"]):
            source, _, there, target = copied.groups()
            yield Check("storage.objects.get", f"{bucket}/objects/{unquote(source)}")
            yield from self._writing(f"projects/_/buckets/{there}", unquote(target))
        elif composed := re.fullmatch("(.+)/compose", found["name"]):
            yield Check("storage.objects.get", f"{bucket}/objects/")
            yield from self._writing(bucket, unquote(composed[1]))
        else:
            verbs = {"GET": "get", "HEAD": "get", "DELETE": "delete", "PATCH": "update", "PUT": "update"}
            yield Check(f"storage.objects.{verbs[request.method]}", f"{bucket}/objects/{name}")

    def _writing(self, bucket: str, name: str) -> Iterator[Check]:
        """To replace an object is also to delete it; whether it is there is not looked up."""
        for verb in ("create", "delete"):
            yield Check(f"storage.objects.{verb}", f"{bucket}/objects/{name}")

    def _allows(self, check: Check) -> bool:
        kind = "storage.googleapis.com/Object" if "/objects/" in check.resource else BUCKET_TYPE
        for grant in self.documents["identities"][self.identity]:
            condition = CONDITION.fullmatch(grant["condition"])
            assert condition, grant["condition"]
            bucket = f"projects/_/buckets/{grant['bucket']}"
            of_bucket = check.resource == bucket or check.resource.startswith(f"{bucket}/")
            holds = kind == condition["type"] or check.resource.startswith(condition["prefix"])
            if of_bucket and check.action in ROLES[grant["role"]] and holds:
                return True
        return False


BUCKET_TYPE = "storage.googleapis.com/Bucket"


def _name_in(body: bytes) -> str:
    """Name of the object in the metadata of a multipart or resumable upload."""
    found = re.search(rb'"name":\s*"([^"]+)"', body)
    return found[1].decode() if found else ""


JUDGES = {"s3": ("aws", S3Judge), "gs": ("gcp", GcsJudge)}


def judge(scheme: str, identity: str) -> Judge:
    """The judge of one identity of the recorded stack."""
    target, kind = JUDGES[scheme]
    return kind(declared(target), identity)
