"""A call to AWS: which service and operation a request means, on what; and the record of all calls."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from local_aws.errors import Protocol
from local_aws.http import HttpRequest

DEFAULT_REGION = "us-east-1"

# The names under which requests are signed, where they differ from the service's name.
_SIGNING_NAMES = {"monitoring": "cloudwatch"}

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")

# (method, sub-resource in the query) -> operation, for a bucket and for an object.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
_BUCKET_SUBRESOURCES = {
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "notification": "BucketNotificationConfiguration",
    "lifecycle": "BucketLifecycleConfiguration",
    "encryption": "BucketEncryption",
    "versioning": "BucketVersioning",
    "tagging": "BucketTagging",
    "publicAccessBlock": "PublicAccessBlock",
    "ownershipControls": "BucketOwnershipControls",
    "cors": "BucketCors",
    "logging": "BucketLogging",
    "acl": "BucketAcl",
    "location": "BucketLocation",
}
_OBJECT_SUBRESOURCES = {"tagging": "ObjectTagging", "acl": "ObjectAcl", "attributes": "ObjectAttributes"}
_VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}


@dataclass
class Call:
    """What a request asks for. `resource` is the ARN it acts on, or `*`."""

    service: str
    operation: str
    protocol: Protocol
    region: str
    access_key: str | None
    http: HttpRequest = field(repr=False)
    resource: str = "*"
    bucket: str | None = None
    key: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    principal: str = "anonymous"


@dataclass(frozen=True)
class CallRecord:
    """One call as it went. `status` is None where the connection was closed without an answer.

    `request_bytes` counts the body as sent (compressed, where the client compressed); `seconds` is the time
    it took; `fault` is the kind of the scripted fault that hit it.
    """

    service: str
    operation: str
    principal: str
    resource: str
    request_bytes: int
    response_bytes: int
    status: int | None
    error: str | None
    at: datetime
    seconds: float
    fault: str | None


class CallLog:
    """Every call, oldest first; safe to read while calls go on. Keeps the last `MAX_RECORDS`."""

    MAX_RECORDS = 500_000

    def __init__(self) -> None:
        self._records: deque[CallRecord] = deque(maxlen=self.MAX_RECORDS)
        self._changed = threading.Condition()

    def append(self, record: CallRecord) -> None:
        """Add a record."""
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()

    def of(self, service: str | None = None, operation: str | None = None) -> list[CallRecord]:
        """The calls to a service, or to one operation of it."""
        return [r for r in self if service in (None, r.service) and operation in (None, r.operation)]

    def wait_for(self, service: str, operation: str, count: int = 1, timeout: float = 30) -> list[CallRecord]:
        """Block until `count` calls to an operation are over, and return them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(service, operation)) >= count, timeout):
                found = len(self.of(service, operation))
                raise TimeoutError(
                    f"expected {count} calls of {service} {operation} in {timeout} s, found {found}"
                )
            return self.of(service, operation)

    def clear(self) -> None:
        """Forget all records."""
        with self._changed:
            self._records.clear()

    def __iter__(self) -> Iterator[CallRecord]:
        with self._changed:
            return iter(list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> CallRecord:
        with self._changed:
            return self._records[index]


def classify(http: HttpRequest) -> Call:
    """Tell which call a request is. What is not recognised becomes an operation named by method and path."""
    url = urlsplit(http.target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    headers = {name.lower(): value for name, value in http.headers.items()}
    credential = _CREDENTIAL.search(headers.get("authorization", ""))
    if credential is None and "X-Amz-Credential" in query:
        credential = _CREDENTIAL.search(f"Credential={query['X-Amz-Credential']}")
    # boto3 still presigns S3 URLs by the older signature, which names nothing but the key.
    unsigned = (query.get("AWSAccessKeyId"), DEFAULT_REGION, "s3")
    access_key, region, signed_for = credential.groups() if credential else unsigned
    service = _SIGNING_NAMES.get(signed_for, signed_for)
    path = unquote(url.path)

    if url.path.startswith("/service/") and "/operation/" in url.path:
        return Call(service, url.path.rsplit("/", 1)[1], "cbor", region, access_key, http)
    if target := headers.get("x-amz-target"):
        return Call(service, target.rsplit(".", 1)[-1], "json", region, access_key, http)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded") and service != "s3":
        action = parse_qs(http.body.decode("utf-8", "replace")).get("Action", ["?"])[0]
        return Call(service, action, "query", region, access_key, http)
    if service != "s3":
        return Call(service, f"{http.method} {path}", "json", region, access_key, http, query=query)
    return _s3_call(http, path, query, headers, region, access_key)


def _s3_call(
    http: HttpRequest,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    region: str,
    access_key: str | None,
) -> Call:
    host = headers.get("host", "").partition(":")[0]
    if host.endswith(".localhost"):
        # Virtual-hosted addressing; moto gets the path style.
        bucket_of_host = host.removesuffix(".localhost")
        path = f"/{bucket_of_host}{path}"
        raw = f"/{bucket_of_host}{http.target}"
        http.environ.update(PATH_INFO=path.encode().decode("latin-1"), RAW_URI=raw, REQUEST_URI=raw)
        http.environ["HTTP_HOST"] = headers["host"][len(bucket_of_host) + 1 :]
    bucket, _, key = path.lstrip("/").partition("/")
    operation = _s3_operation(http.method, bucket, key, query, headers)
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}" if bucket else "*"
    return Call("s3", operation, "s3", region, access_key, http, resource, bucket or None, key or None, query)


def _s3_operation(
    method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    if not bucket:
        return "ListBuckets"
    subresources = _OBJECT_SUBRESOURCES if key else _BUCKET_SUBRESOURCES
    for subresource, name in subresources.items():
        if subresource in query:
            return _VERBS.get(method, method) + name
    return _object_operation(method, query, headers) if key else _bucket_operation(method, query)


def _bucket_operation(method: str, query: Mapping[str, str]) -> str:
    if method == "GET":
        if "versions" in query:
            return "ListObjectVersions"
        if "uploads" in query:
            return "ListMultipartUploads"
        return "ListObjectsV2" if query.get("list-type") == "2" else "ListObjects"
    if method == "POST":
        return "DeleteObjects" if "delete" in query else "PostObject"
    return {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket"}.get(method, method)


def _object_operation(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    is_copy = "x-amz-copy-source" in headers
    if "uploadId" in query or "uploads" in query:
        return {
            "POST": "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload",
            "PUT": "UploadPartCopy" if is_copy else "UploadPart",
            "DELETE": "AbortMultipartUpload",
            "GET": "ListParts",
        }.get(method, method)
    return {
        "PUT": "CopyObject" if is_copy else "PutObject",
        "GET": "GetObject",
        "HEAD": "HeadObject",
        "DELETE": "DeleteObject",
        "POST": "RestoreObject",
    }.get(method, method)
