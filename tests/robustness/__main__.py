"""``python -m tests.robustness``: see ``run``."""

from tests.robustness.run import main

if __name__ == "__main__":
    main()
