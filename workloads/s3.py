"""Amazon S3 for identities that may list one folder of a bucket and not the whole bucket.

S3 answers a request for an object that does not exist with 403 instead of 404, unless the caller may list the bucket
(S3 API Reference, HeadObject and GetObject). A policy that grants listing under a condition on `s3:prefix` may not
count, since such a request has no prefix. Every look for an object that may be missing would then be denied.
"""

from typing import Any

from s3fs import S3FileSystem

LOOKS = ("head_object", "get_object")


class FolderS3FileSystem(S3FileSystem):
    """As s3fs has it, but a missing object is missing (FileNotFoundError) wherever its name may be listed."""

    async def _call_s3(self, method: str, *given: Any, **named: Any) -> Any:
        try:
            return await super()._call_s3(method, *given, **named)
        except PermissionError as denied:
            if method in LOOKS and await self._is_missing(named["Bucket"], named["Key"]):
                raise FileNotFoundError(f"{named['Bucket']}/{named['Key']}") from denied
            raise

    async def _is_missing(self, bucket: str, key: str) -> bool:
        """Whether the bucket can be listed by the name of the object, and does not hold it."""
        try:
            listed = await super()._call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
        except PermissionError:
            return False
        return all(found["Key"] != key for found in listed.get("Contents", []))
