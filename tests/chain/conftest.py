from __future__ import annotations

import pytest
from worker_desk import SPEC

from crucible.localnet.embedded import EmbeddedLocalnet


@pytest.fixture
def node():
    """A node whose blocks the test makes."""
    with EmbeddedLocalnet([SPEC], block_seconds=0) as net:
        yield net
