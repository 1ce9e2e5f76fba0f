import signal
from pathlib import Path

import pytest
import torch

from tests.workloads.training.runs import write_corpus


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """So small products gain nothing from threads, and wait long for each other on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text")


@pytest.fixture(autouse=True)
def own_sigterm():
    """The entry, called in this process, sets a handler: give pytest its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
