"""The topics of the Allora Network that Crucible knows."""

from crucible.topics.catalogue import CatalogueTopic, catalogue, find_topic

__all__ = ["CatalogueTopic", "catalogue", "find_topic"]
