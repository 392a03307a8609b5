"""`python -m dtcxen_soap` is `dtcxen`."""

from __future__ import annotations

import sys

from dtcxen_soap.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
