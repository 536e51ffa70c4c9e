"""What plugin authors test with: fixtures, fakes, and the contracts every provider and engine must keep."""
