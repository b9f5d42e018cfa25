"""How much memory a process group holds, from the system itself."""

import os
import subprocess
import sys
from pathlib import Path


def group_rss_bytes(group: int) -> int:
    """Resident bytes of all processes of a group; pages that they share count for each.  0 when none is left."""
    return _from_proc(group) if sys.platform == "linux" else _from_ps(group)


def _from_proc(group: int) -> int:
    page, total = os.sysconf("SC_PAGE_SIZE"), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                # proc(5): the name is in brackets and may hold anything; after it come state, parent, group … and
                # the resident pages as the 22nd.
                fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                total += int(fields[21]) * page
    return total


def _from_ps(group: int) -> int:
    answer = subprocess.run(["/bin/ps", "-axo", "pgid=,rss="], capture_output=True, text=True, check=False).stdout
    rows = (line.split() for line in answer.splitlines())
    return sum(int(row[1]) * 1024 for row in rows if len(row) == 2 and row[0] == str(group))
