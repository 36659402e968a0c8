"""The `hub` source: files of a model or data set of the Hugging Face hub, at one commit. No code of theirs is fetched or run.

Files stay in the hub's own cache (HF_HOME), each checked against the hub's digest before it enters it; what is there
already is checked again and not downloaded. HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN mean what they mean to the hub's own
client. The token is taken from the environment alone and appears in no message and no record.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tunebook.data.sources import hub_cache, hub_selection
from tunebook.data.sources.hub_cache import Repository
from tunebook.data.sources.hub_errors import in_our_words
from tunebook.data.sources.origin import Origin
from tunebook.errors import TunebookError
from tunebook.records import identity_of

FULL = re.compile(r"[0-9a-f]{40}")


def fetch(source: dict[str, Any], workdir: Path) -> Origin:
    """The files of a hub source: those of a model that matter (weights, config, tokenizer), or a data set's `files`.

    `source` with `files` is a data set's. Raises TunebookError where they cannot be had, or are not what the hub's own
    list says.
    """
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # one line a file instead: the log is a file, too
    repository = Repository("dataset" if "files" in source else "model", source["id"])
    with in_our_words(repository, source["revision"]):
        commit = _full_commit(repository, source["revision"])
        listing = hub_cache.listing(repository, commit)
        chosen = hub_selection.data_files(listing, source["files"], repository) if "files" in source else None
        if chosen is None:
            chosen = hub_selection.model_files(
                listing, repository, lambda file: hub_cache.get(repository, commit, file)
            )
        hub_cache.check_space(repository, commit, chosen)
        files = tuple(hub_cache.get(repository, commit, file) for file in chosen)
    digest = identity_of([[file.path, file.digest] for file in chosen])
    return Origin(files=files, revision=commit, sha256=digest)


def _full_commit(repository: Repository, revision: str) -> str:
    """The full id of the one commit that begins with `revision`; the hub itself wants full ids."""
    if FULL.fullmatch(revision):
        return revision
    known = hub_cache.commits(repository)
    found = sorted({commit for commit in known if commit.startswith(revision)})
    if len(found) != 1:
        what = f"{len(found)} commits begin with it: {', '.join(found)}" if found else "no commit begins with it"
        raise TunebookError(
            f"{repository}: found revision {revision}, but {what} (looked at {len(known)}); give the full id of 40 digits"
        )
    print(f"{repository}: {revision} is {found[0]}; write the full id into the config", flush=True)
    return found[0]
