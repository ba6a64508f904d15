"""``python -m tests.robustness configs | loaders | damage | commands | kills``: see ``run`` and
``run_kills``."""

import sys

from tests.robustness import run, run_kills

if __name__ == "__main__":
    if sys.argv[1:2] == ["kills"]:
        run_kills.main(sys.argv[2:])
    else:
        run.main(sys.argv[1:])
