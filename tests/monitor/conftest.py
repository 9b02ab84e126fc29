from __future__ import annotations

from conftest_monitor import deploy, home, make_bundle, node, stored, submit  # noqa: F401 -- fixtures
