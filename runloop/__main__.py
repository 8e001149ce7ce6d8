"""`python -m runloop` is `rlp`."""

import sys

from runloop.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
