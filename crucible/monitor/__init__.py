"""Watching what is live: drift, live scores, shadow models, retraining, roll-back, alerts."""
