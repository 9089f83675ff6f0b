"""The file system of buckets: requests that fail are made again by botocore, and every failure is one line for the user."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from sgpo_data.errors import DatasetError, MissingExtraError, SgpoError, StorageError, first_line
from sgpo_data.names import BucketPlace

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ATTEMPTS = 8
"""Of each request, unless AWS_MAX_ATTEMPTS says how many; between them a random wait that doubles, up to 20 seconds."""
ANSWER_SECONDS = 60
"""To put the pieces of a large file together takes storage a while."""
LOCAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What this disk says, and no bucket."""


@cache
def bucket_files() -> "AbstractFileSystem":
    """Files of buckets, with the credentials, endpoint and region of the environment, as the tools of AWS take them.

    Raises MissingExtraError if s3fs is not installed.
    """
    try:
        from s3fs import S3FileSystem
    except ImportError as error:
        raise MissingExtraError("s3", "s3fs") from error

    for name in ("aiobotocore", "botocore"):
        # They tell with each command where the credentials were found.
        logging.getLogger(name).setLevel(logging.WARNING)
    attempts = {} if "AWS_MAX_ATTEMPTS" in os.environ else {"total_max_attempts": ATTEMPTS}
    return S3FileSystem(
        config_kwargs={"retries": {"mode": "standard", **attempts}, "read_timeout": ANSWER_SECONDS},
        # Several ranges of one file at once are not asked for again where their connection breaks off; the one of a whole file is.
        max_concurrency=1,
        # Arrow asks for the ranges it needs, and no more.
        default_cache_type="none",
        # What others write meanwhile is seen.
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def passing(error: BaseException) -> bool:
    """Whether it comes from the bucket or the network, and is no fault of what came."""
    return any(type(cause).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp", "fsspec", "s3fs") for cause in _causes(error))


@contextmanager
def bucket_faults(place: BucketPlace) -> Iterator[None]:
    """Turns whatever the file system raises about this place into DatasetError (the user's turn) or StorageError (try again)."""
    try:
        yield
    except SgpoError:
        raise
    except Exception as error:
        told = _fault_of(error, place)
        if told is None:
            raise
        raise told from error


def _fault_of(error: Exception, place: BucketPlace) -> SgpoError | None:
    from botocore.exceptions import ConfigNotFound, NoCredentialsError, PartialCredentialsError, ProfileNotFound

    match error:
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound() | ConfigNotFound():
            return DatasetError(f"{place}: no credentials ({first_line(error)}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
        case FileNotFoundError():
            return DatasetError(f"{place}: no such bucket or file ({first_line(error)}); see what there is with: aws s3 ls s3://{place.bucket}/")
        case PermissionError():
            return DatasetError(f"{place}: these credentials may not do that ({first_line(error)}); give others in AWS_ACCESS_KEY_ID or AWS_PROFILE")
        case OSError() if error.errno in LOCAL:
            return DatasetError(f"{place}: cannot be kept here ({error.strerror}); make room, or read it where it lies with --stream")
        case OSError() | TimeoutError():
            said = isinstance(error, OSError) and error.strerror
            return StorageError(f"{place}: {said or first_line(error)}; try again later")
    return StorageError(f"{place}: {first_line(error)}; try again later") if passing(error) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
