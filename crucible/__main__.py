"""``python -m crucible`` is the command line."""

from crucible.cli import main

if __name__ == "__main__":
    main()
