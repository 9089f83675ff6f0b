"""What a stage makes, in a folder, at a place on the Hub (built here, then one commit on a branch) or in a bucket (part by part)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from sgpo_data.buckets.upload import claim, uploaded
from sgpo_data.errors import DatasetError, MissingRepositoryError, UsageError
from sgpo_data.execution import Execution
from sgpo_data.hub.client import again, api, hub_faults
from sgpo_data.hub.commit import Contribution, commit_once, files_id
from sgpo_data.hub.fetch import remote_manifest
from sgpo_data.hub.repository import Digest, HubCommit, HubRepository
from sgpo_data.names import BucketPlace, HubPlace, bucket_place, hub_place
from sgpo_data.paths import local_path
from sgpo_data.publishing.publication import dataset_files
from sgpo_data.publishing.secret_scan import refuse_secrets
from sgpo_data.running.engines import Engines
from sgpo_data.running.job import StageJob
from sgpo_data.store.dataset import Dataset
from sgpo_data.store.manifest import MANIFEST, Manifest

log = logging.getLogger(__name__)

MAIN = "main"


@dataclass(frozen=True)
class StageOutput:
    """What was made and what names it."""

    manifest: Manifest
    reference: str
    """A folder, a place on the Hub at its commit, or one in a bucket."""


def make_at(job: StageJob, out: str | None, execution: Execution, *, engines: Engines) -> StageOutput:
    """The dataset of this job in a folder (the store if none is named), on a branch of the Hub or in a bucket, made now as far as it is not made already.

    A place elsewhere that holds the dataset already is left as it is, and nothing is made here. Another dataset on the Hub is replaced in one commit, and stays
    at its own commit; in a bucket it is refused, as in a folder. Killed or failed, the same call goes on.
    Raises whatever making it raises, HubError or StorageError if the Hub or the bucket fails for too long.
    """
    bucket = None if out is None else bucket_place(out)
    if bucket is not None:
        return _in_bucket(job, bucket, execution, engines)
    place = None if out is None else hub_place(out)
    if place is None:
        dataset = job.make(local_path(out) if out else execution.store / job.name, execution, engines)
        return StageOutput(dataset.manifest, str(dataset.folder))
    branch = _branch(place)
    head = _head(place, branch)
    if head is not None:
        there = _there(place.at(head))
        if there is not None and there.fingerprint == job.identity.fingerprint:
            log.info("%s: made already, %d rows", place.at(head), there.rows)
            return StageOutput(there, str(place.at(head)))
    dataset = job.make(execution.store / job.name, execution, engines)
    return StageOutput(dataset.manifest, str(place.at(_push(dataset, place, branch, execution))))


def _in_bucket(job: StageJob, place: BucketPlace, execution: Execution, engines: Engines) -> StageOutput:
    there = claim(place, job.identity, execution.store)
    if there is not None:
        log.info("%s: made already, %d rows", place, there.manifest.rows)
        return StageOutput(there.manifest, str(place))
    folder = execution.store / job.name
    dataset = uploaded(place, folder, execution.store, lambda: job.make(folder, execution, engines))
    return StageOutput(dataset.manifest, str(place))


def _branch(place: HubPlace) -> str:
    if not place.path:
        raise UsageError(f"-o {place}: name a folder of the repository too, as {place}/pairs")
    if place.fixed:
        raise UsageError(f"-o {place}: a commit cannot be written to; name a branch, as {place.at(MAIN)}")
    return place.revision or MAIN


def _head(place: HubPlace, branch: str) -> str | None:
    """The commit that the branch is at, None if there is no such branch or repository yet.

    Raises DatasetError if the name is that of a tag, or this login cannot see the repository.
    """
    hub = HubRepository(place.repository)
    try:
        refs = hub.refs()
    except MissingRepositoryError:
        # Made before the first row, so that a login that may not do that is told so before anything is generated.
        with hub_faults(hub.name, branch):
            again(lambda: api().create_repo(hub.name, repo_type="dataset", private=True, exist_ok=True))
        refs = hub.refs()
    if branch in refs.tags:
        raise DatasetError(f"-o {place}: {branch} is a tag, which stays what it is; name a branch, and set tags with sgpo publish")
    return refs.branches.get(branch)


def _there(place: HubPlace) -> Manifest | None:
    assert place.revision is not None
    files = HubRepository(place.repository).files(place.revision)
    return remote_manifest(place, files) if place.file(MANIFEST) in files else None


def _push(dataset: Dataset, place: HubPlace, branch: str, execution: Execution) -> str:
    """The commit on which the dataset lies at this place."""
    hub = HubRepository(place.repository)
    with hub_faults(hub.name, branch):
        again(lambda: api().create_branch(hub.name, repo_type="dataset", branch=branch, exist_ok=True))
        files = tuple(dataset_files(dataset, place.path))
        if not execution.allow_secrets:
            refuse_secrets([dataset], files)

        def obsolete(head: str, there: Mapping[str, Digest]) -> list[str]:
            if place.file(MANIFEST) not in there:
                return []
            before = remote_manifest(place.at(head), there)
            log.info("%s: takes the place of %s, which stays at %s", place, before.made_name, place.at(head))
            own = {file.path for file in files}
            return [path for path in (place.file(record.name) for record in before.files) if path in there and path not in own]

        def met(commit: HubCommit) -> None:
            """Whoever else writes to the branch is none of our business."""

        title = f"{dataset.manifest.identity.stage}: {dataset.manifest.made_name}"
        contribution = Contribution(hub, files, files_id(place.path, files), title)
        return commit_once(contribution, branch, since=hub.refs().branches[branch], settled=lambda now: None, obsolete=obsolete, met=met)
