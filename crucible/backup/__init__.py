"""All state of a home as one archive, and back."""
