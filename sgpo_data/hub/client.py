"""The Hub's client: with timeouts, asked again where that can help, every failure one line for the user."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from json import JSONDecodeError
from typing import TYPE_CHECKING, Literal, TypeVar

import tenacity

from sgpo_data.errors import DatasetError, HubError, MissingRepositoryError, ModelError, SgpoError, first_line

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

Kind = Literal["dataset", "model"]
T = TypeVar("T")

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0
"""A commit of many files takes the Hub a while; without a bound its client waits for ever."""
XET_SECONDS = 60
"""The uploader of large files tries by itself for many minutes, and would for each attempt of ours."""
ATTEMPTS = 5
PAUSE_SECONDS = 0.5
"""Before the second attempt; it doubles, with jitter."""
LONGEST_PAUSE_SECONDS = 15.0
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

log = logging.getLogger(__name__)


@cache
def api() -> "HfApi":
    """The Hub's client, asking with the login of the environment or of `hf auth login`."""
    import httpx2
    from huggingface_hub import HfApi, set_client_factory
    from huggingface_hub.utils import disable_progress_bars
    from huggingface_hub.utils._http import default_client_factory

    def client() -> "httpx2.Client":
        # The default factory brings the hooks for offline mode, and no timeout at all.
        made = default_client_factory()
        made.timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        return made

    set_client_factory(client)
    os.environ.setdefault("HF_XET_CLIENT_RETRY_MAX_DURATION", f"{XET_SECONDS}s")
    # Its warnings repeat the links of uploads, which carry a signature.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi()


def again(call: Callable[[], T]) -> T:
    """What the call gives, asked up to ATTEMPTS times while it fails in a way that can pass.

    For calls that do no harm when their answer is lost and they are made twice.
    """
    asked = tenacity.Retrying(retry=tenacity.retry_if_exception(passing), stop=tenacity.stop_after_attempt(ATTEMPTS), wait=pause, reraise=True)
    return asked(call)


def passing(error: BaseException) -> bool:
    """Whether this failure can pass: the Hub or the network is busy, down, or lost an answer."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    for cause in _causes(error):
        # What was told as one of ours was asked again already.
        if isinstance(cause, OfflineModeIsEnabled | SgpoError):
            return False
        if isinstance(cause, HfHubHTTPError):
            return cause.response.status_code in TRY_AGAIN
        # A page of HTML in place of an answer, from whatever stands before a Hub that is down.
        if isinstance(cause, httpx2.TransportError | ConnectionError | TimeoutError | JSONDecodeError):
            return True
    return False


def status(error: BaseException) -> int | None:
    """The HTTP status that the Hub failed with, None if it gave none."""
    from huggingface_hub.errors import HfHubHTTPError

    return next((cause.response.status_code for cause in _causes(error) if isinstance(cause, HfHubHTTPError)), None)


def pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: as long as the Hub asks for within reason, or longer each time."""
    from huggingface_hub.errors import HfHubHTTPError

    error = state.outcome.exception() if state.outcome else None
    asked = next((cause.response.headers.get("Retry-After", "") for cause in _causes(error) if isinstance(cause, HfHubHTTPError)), "")
    own = (tenacity.wait_exponential(PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS) + tenacity.wait_random(0, PAUSE_SECONDS))(state)
    seconds = max(own, min(float(asked), 4 * LONGEST_PAUSE_SECONDS)) if asked.isdigit() else own
    if error is not None:
        code = status(error)
        log.info("the Hub: %s; asking again", first_line(error) if code is None else f"answered {code}")
    return seconds


@contextmanager
def hub_faults(name: str, revision: str | None = None, *, kind: Kind = "dataset") -> Iterator[None]:
    """Turns whatever the Hub's clients raise about this repository into DatasetError or, of a model, ModelError (the user's turn), or HubError (try again)."""
    try:
        yield
    except SgpoError:
        raise
    except Exception as error:
        told = _fault_of(error, name, revision, kind)
        if told is None:
            raise
        raise told from error


def _fault_of(error: Exception, name: str, revision: str | None, kind: Kind) -> SgpoError | None:
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    missing = ModelError if kind == "model" else DatasetError
    for cause in _causes(error):
        match cause:
            case OfflineModeIsEnabled():
                return HubError(f"{name}: HF_HUB_OFFLINE is set, so the Hub is not asked", "unset it to go on")
            case GatedRepoError():
                return missing(f"{name}: a gated {kind}; ask for access on its page, then run: hf auth login")
            case RevisionNotFoundError():
                return missing(f"{name}: no revision {revision or 'main'} in this Hub {kind}")
            case RepositoryNotFoundError():
                absent = missing if kind == "model" else MissingRepositoryError
                return absent(f"{name}: no such {kind} on the Hub, or no access to it; if it is private, run: hf auth login")
            case HFValidationError():
                return missing(f"{name}: not the name of a Hub {kind}: {first_line(cause)}")
            case HfHubHTTPError():
                return _answered(cause, name, missing)
            case httpx2.HTTPError() | JSONDecodeError() | ConnectionError() | TimeoutError():
                return HubError(f"{name}: the Hub cannot be reached: {first_line(cause)}", "try again later")
    return HubError(f"{name}: cannot be fetched from the Hub: {first_line(error)}") if isinstance(error, OSError) else None


def _answered(error: "httpx2.HTTPError", name: str, missing: type[SgpoError]) -> SgpoError:
    from huggingface_hub.errors import HfHubHTTPError

    assert isinstance(error, HfHubHTTPError)
    match error.response.status_code:
        case 401:
            return missing(f"{name}: no login, or one that the Hub does not know (401); run: hf auth login")
        case 403:
            return missing(f"{name}: this login may not do that (403); get a token that can write there, then run: hf auth login")
        case 400 | 404 | 413 | 422 as code:
            return missing(f"{name}: the Hub refuses this ({code}): {error.server_message or 'without a reason'}")
        case code:
            return HubError(f"{name}: the Hub answered {code}", "try again later")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
