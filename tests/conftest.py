"""For all tests: each of pytest-xdist's workers has a core of its own, and so have the stages that it starts.

Stages compute with as many threads as they have cores; threads of several workers on the same cores would wait for each other.
"""

from __future__ import annotations

import os

import pytest

worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if worker and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory):
    """A tiny study with labels and few-shot examples, all its records made: lora and full. Its places, to be read only."""
    from tests import tiny
    from tests.stages import finished

    folder = tmp_path_factory.mktemp("finished")
    generation = {"max_new_tokens": 4, "heldout_samples": 1, "memorisation_rows": 4}
    return finished(tiny.study(folder, methods=["lora", "full"], few_shot=2, generation=generation), folder)


@pytest.fixture(scope="session")
def hub_models(tmp_path_factory):
    """The folder of the models that `hub` serves."""
    from tests import small_hub

    folder = tmp_path_factory.mktemp("models")
    small_hub.write_models(folder)
    return folder


@pytest.fixture
def hub(hub_models, tmp_path, monkeypatch):
    """A hub with three models and a data set, an empty cache, and a token in the environment."""
    import huggingface_hub

    from tests import hub_server, small_hub

    with hub_server.serving() as served:
        for name in ("llama", "opt", "evil"):
            served.add_folder("model", f"small/{name}", small_hub.COMMIT, hub_models / name)
        served.add("dataset", "small/rows", small_hub.COMMIT, dict(small_hub.ROWS))
        hub_server.point_client_at(served, tmp_path / "cache", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", small_hub.SECRET)
        yield served
        huggingface_hub.close_session()
