"""Dagster resources, one small file each."""
