"""`python -m servescope`."""

import sys

from servescope.cli.main import main

sys.exit(main())
