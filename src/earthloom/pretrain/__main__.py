"""`python -m earthloom.pretrain` is the command line of pretraining."""

import sys

from earthloom.pretrain.command import main

sys.exit(main())
