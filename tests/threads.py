"""Fixtures that hold torch to one thread, for the folders of tests that use it."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def threads_as_before() -> Iterator[None]:
    """Gives the other tests the threads that they had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def one_thread_a_module() -> None:
    """Tensors this small are faster with one thread; module fixtures, too, find it set."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_a_test() -> None:
    """A test that asks for more threads asks for itself only."""
    torch.set_num_threads(1)
