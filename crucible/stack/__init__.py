"""Everything at once on one machine: which market, which clock, which processes, in which order."""
