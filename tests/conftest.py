"""What every test shares: no progress bars, no network at import, small text, one thread count."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests use local files alone; set 0 to try hub data
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forked loader workers otherwise warn
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads would only wait for each other
os.environ.setdefault("COLUMNS", "120")  # rich wraps tables and messages to the width of the terminal
