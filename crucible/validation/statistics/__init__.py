"""Tests and intervals for forecasts whose targets overlap."""
