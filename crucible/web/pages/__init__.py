"""The routes, one file per part of the dashboard; all of them are thin."""
