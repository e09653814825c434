"""Memory of a process and its descendants (Linux)."""

from __future__ import annotations

from pathlib import Path

KIBIBYTE = 1024


def tree_bytes(pid: int) -> int:
    """Bytes in RAM of a process and its descendants; memory that several of them share counts once (Pss)."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may contain spaces; the parent is the second field after it.
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # the process has ended
    members, frontier = set(), {pid}
    while frontier:
        members |= frontier
        frontier = {child for child, parent in parents.items() if parent in frontier} - members
    return sum(_pss(member) for member in members)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # the process has ended
    return next((int(line.split()[1]) * KIBIBYTE for line in lines if line.startswith("Pss:")), 0)
