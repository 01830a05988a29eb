"""What a forked child does: it is the command line, with its own output, folder and arguments.

`conftest.py` runs this file with the names `ARGUMENTS`, `FOLDER`, `STDOUT` and `STDERR` set.
"""

import os
import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)
for name, number in ((STDOUT, 1), (STDERR, 2)):  # noqa: F821
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, number)
    os.close(file)
sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
os.chdir(FOLDER)  # noqa: F821
sys.argv = ["earthloom", *ARGUMENTS]  # noqa: F821

from earthloom.cli import main  # noqa: E402

main()
