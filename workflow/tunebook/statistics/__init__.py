"""Statistics of scores on the same held-out rows: intervals, paired differences, tests. Arrays in, numbers out."""
