"""`python -m penstock`: the command line where the `penstock` command is not installed."""

import sys

from .cli import main

sys.exit(main())
