"""The command line: `dtcxen`, `check_dtcxen`, and the original's command names."""
