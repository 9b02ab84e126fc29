"""Walk-forward splits, losses, the scorecard, statistics, gates."""
