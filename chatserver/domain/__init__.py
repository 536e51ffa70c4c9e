"""Pure values and functions: no I/O, no await, nothing of ours imported but each other."""
