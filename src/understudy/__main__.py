"""`python -m understudy`, which `torchrun -m` needs too."""

from understudy.cli import main

raise SystemExit(main())
