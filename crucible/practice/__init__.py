"""A loopback exchange with the API of a real one, over a simulated or replayed market."""
