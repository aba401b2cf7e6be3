"""Entry point of ``lwprof`` and ``python -m lwprof``."""

from __future__ import annotations

from lwprof.cli.main import main

if __name__ == "__main__":
    main()
