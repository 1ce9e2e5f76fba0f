"""Records what a program registers, without an engine, and answers questions about it.

A component's test runs the component, or a program around it, and asks what reached the engine:

    recording = record(lambda: AwsBucketTier("hot", {...}), ANSWERS)
    bucket = recording.one("aws:s3/bucket:Bucket")
    recording.expect("BucketPolicy", {"policy": json_text({"Statement": containing({"Effect": "Deny"})})})
    recording.none("BucketPublicAccessBlock", {"blockPublicAcls": False})
    assert bucket.protect and recording.provider_of(bucket).inputs["region"] == "us-east-1"

What is seen is what the engine would see, and what a reviewer reads in a preview: names of types, inputs and outputs
in camelCase, whatever the Python SDK calls them. `record` fails by itself for a component that breaks the rules of
`conforms`, and for an object of Kubernetes that does not suit its schema (`manifests.py`). `record`
describes what differs from the engine.
"""

from tests.recorder.conduct import conforms
from tests.recorder.monitor import Answers, secret
from tests.recorder.patterns import absent, anything, containing, json_text, matching, unknown
from tests.recorder.recording import Call, Recording, Registered
from tests.recorder.run import record

__all__ = [
    "Answers",
    "Call",
    "Recording",
    "Registered",
    "absent",
    "anything",
    "conforms",
    "containing",
    "json_text",
    "matching",
    "record",
    "secret",
    "unknown",
]
