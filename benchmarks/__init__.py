"""Speed and memory, measured against what a user would run instead; never part of the tests."""
