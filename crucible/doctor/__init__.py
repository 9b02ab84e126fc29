"""Looks at everything that Crucible needs, and says how to mend what is broken."""
