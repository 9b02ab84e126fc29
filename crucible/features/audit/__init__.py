"""Audits of a feature set on real bars: look-ahead, warm-up, parity of live and history, drift, near-copies."""
