"""A model that answers by rule: delays, faults and usage asked for in its name, for tests and demonstrations."""
