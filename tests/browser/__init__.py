"""The page in a real browser, by the names people see."""
