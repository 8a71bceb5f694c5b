"""``python -m longhaul_trainer``: one attempt of a job, as the environment describes it (see ``wrapper.py``)."""

import sys

from .wrapper import main

sys.exit(main())
