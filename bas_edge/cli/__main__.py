"""`python -m bas_edge.cli`: the command line where its script is not on the path."""

from __future__ import annotations

import sys

from bas_edge.cli.app import main

sys.exit(main())
