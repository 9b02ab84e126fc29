"""Build, prove, promote and run machine-learning workers for the Allora Network."""

__version__ = "0.1.0"
