"""Jobs that take their process with them; a module of their own, so that a new process is quick to import it."""

import os
import time


def dies(x):
    if x == 1:
        os._exit(9)
    return x


def hangs(x):
    if x == 1:
        time.sleep(60)
    return x
