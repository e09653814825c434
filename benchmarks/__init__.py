"""Speed and memory, compared with what a user would run instead; not part of the tests."""
