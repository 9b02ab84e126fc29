"""The Allora client: wallet, keystore, queries, events, transactions."""
