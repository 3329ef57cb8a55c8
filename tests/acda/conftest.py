from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded_on_one_thread() -> Iterator[None]:
    """Every test draws the same numbers whichever others run; problems are too small to share among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
