"""What can go wrong with the hub, in our words: what was found, and what to do. No message holds the token."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tunebook.data.sources import hub_cache
from tunebook.errors import TunebookError
from tunebook.records import disk_is_full
from tunebook.redaction import redacted, without_user

if TYPE_CHECKING:
    from tunebook.data.sources.hub_cache import Repository

AGAIN = "run again: what was downloaded is kept, and the download goes on from there"
LONGEST = 300  # characters of somebody else's message


@contextmanager
def in_our_words(repository: Repository, revision: str) -> Iterator[None]:
    """Turn whatever the hub's client, the network or the disk raises into a TunebookError."""
    from httpx2 import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    place = without_user(constants.ENDPOINT)
    try:
        yield
    except OfflineModeIsEnabled:
        words = (
            f"{revision} is not, or not all, in the cache {repository.folder.parent}, and HF_HUB_OFFLINE is set; unset it "
            "once to download, or copy the cache from a machine that has it and let HF_HOME name its folder"
        )
    except hub_cache.Damaged as error:
        words = f"{error}; the bytes are not those that were published: nothing was kept; run again, or look at {place}"
    except HfHubHTTPError as error:
        words = _of_status(error, repository, revision, place)
    except HTTPError as error:
        words = _of_network(error, place)
    except HFValidationError as error:
        words = f"not an id of the hub: {error}"
    except OSError as error:
        words = _of_system(error, repository)
    except hub_cache.NoAnswer as error:
        words = f"{place} answered what is no answer of a hub ({error}); does HF_ENDPOINT name a hub?"
    else:
        return
    raise TunebookError(f"{repository}: {redacted(' '.join(words.split()))}") from None


def _of_status(error: Exception, repository: Repository, revision: str, place: str) -> str:
    """An answer of the server's that is an error."""
    from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RevisionNotFoundError

    status = error.response.status_code
    sent = "the token in HF_TOKEN" if hub_cache.token() else "no token (HF_TOKEN is not set)"
    page = f"{place}/{'datasets/' if repository.kind == 'dataset' else ''}{repository.id}"
    if isinstance(error, GatedRepoError):
        return f"gated (status {status}), asked with {sent}; accept its terms on {page}, then set HF_TOKEN to a token of that account"
    if isinstance(error, RevisionNotFoundError):
        return f"no revision {revision} there (status {status}); take a commit id from {page}/commits/main"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"a file that its list has is not there (status {status}); take another revision"
    if status in (401, 403, 404):
        return (
            f"not there, or private (status {status}), asked with {sent}; the hub does not tell the two apart: check the id, or "
            "set HF_TOKEN to a token that may read it"
        )
    if status == 429:
        wait = error.response.headers.get("Retry-After")
        return f"{place} allows no more requests for now (status 429); wait{f' {wait} s' if wait else ' some minutes'}, or set HF_TOKEN for a higher limit, and {AGAIN}"
    if status >= 500:
        return f"{place} has a fault of its own (status {status}); wait, and {AGAIN}"
    return f"{place} answered with status {status}: {str(error)[:LONGEST]}"


def _of_network(error: Exception, place: str) -> str:
    """No whole answer at all."""
    from httpx2 import ConnectError, TimeoutException

    if isinstance(error, TimeoutException):
        return f"{place} does not answer in time; {AGAIN}, or set HF_HUB_DOWNLOAD_TIMEOUT to more seconds"
    if isinstance(error, ConnectError):
        return (
            f"{place} cannot be reached ({str(error)[:LONGEST]}); is there a network here, and a proxy to name in HTTPS_PROXY? "
            "Else fetch where there is one, copy the folder that HF_HOME names, and set HF_HUB_OFFLINE=1"
        )
    return f"the connection to {place} broke off ({str(error)[:LONGEST]}); {AGAIN}"


def _of_system(error: OSError, repository: Repository) -> str:
    """The disk, or a file that ended before its time."""
    cache = repository.folder.parent
    if disk_is_full(error):
        return f"no space left for {cache}; make room, or let HF_HOME name a folder on a larger disk, and {AGAIN}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{cache} cannot be written to ({error.strerror}); let HF_HOME name a folder that can"
    if error.errno is None:  # huggingface_hub's own check of the length
        return f"a file came cut short ({str(error).splitlines()[0][:LONGEST]}); {AGAIN}"
    return f"{str(error)[:LONGEST]} in {cache}"
