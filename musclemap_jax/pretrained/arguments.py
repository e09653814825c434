"""Values of the commands' arguments."""

from __future__ import annotations

import argparse
import re


def pattern(text: str) -> str:
    """Checks a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, got {text!r}: {error}") from error
    return text


def sizes(text: str) -> tuple[int, int, int]:
    """Parses three sizes joined by commas: frames, height, width."""
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"expected T,H,W such as 16,224,224, got {text!r}")
    return numbers
