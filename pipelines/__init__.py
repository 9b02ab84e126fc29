"""Dagster composition: definitions, partitions, jobs, schedules, sensors."""
