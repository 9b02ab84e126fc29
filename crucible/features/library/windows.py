"""The look-backs that the library uses: multiples of the horizon H, with floors that keep statistics meaningful."""

from crucible.features.feature import Window

LAST = Window(1, 1)
HALF = Window(0.5, 1)
SHORT = Window(3, 3)
MEDIUM = Window(6, 12)
LONG = Window(12, 48)
SLOW = Window(24, 96)
