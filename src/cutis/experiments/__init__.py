"""A paper's whole experiment as one command: its plan, its runs, and its printed tables beside ours."""
