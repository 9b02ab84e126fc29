"""The dashboard: server-rendered pages over what the other rooms keep on disk; see :mod:`crucible.web.app`."""
