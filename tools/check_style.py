#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Budgets and habits that a script can see: SPDX first, file length (cap 800, median <= 150, p95 <= 500), no static-constructor registration,
no left-over markers, no two types of one name (the libraries share the namespace tuyere: their members would be mixed up by the linker)."""

import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CAP, MEDIAN, P95 = 800, 150, 500


def tracked():
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [ROOT / n for n in names if n.endswith((".h", ".cpp", ".py", ".def", ".inc")) and (ROOT / n).exists()]


def problems_of(path, lines):
    name = path.relative_to(ROOT).as_posix()
    if lines and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:2]):
        yield f"{name}: the first line must be the SPDX line"
    if len(lines) > CAP:
        yield f"{name}: {len(lines)} lines, the cap is {CAP}: split it by topic"
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", line):
            yield f"{name}:{number}: a left-over marker"


def types_of(lines):
    """Qualified names of the types that a file defines outside anonymous namespaces; nested ones are left out."""
    scopes = []
    for line in lines:
        if opened := re.match(r"(?:inline )?namespace ?([\w:]*) ?\{", line):
            scopes.append(opened[1])
        elif line.startswith("}  // namespace"):
            scopes.pop()
        elif (found := re.match(r"(?:struct|class|enum class|enum) (\w+)\b(?!::)[^;]*\{", line)) and "" not in scopes:
            yield "::".join([*scopes, found[1]])


def main():
    files = tracked()
    counts, found, types = [], [], {}
    for path in files:
        lines = path.read_text().splitlines()
        counts.append(len(lines))
        found += problems_of(path, lines)
        if path.suffix in (".h", ".cpp") and path.relative_to(ROOT).parts[0] not in ("tests", "examples"):
            for name in types_of(lines):
                if types.setdefault(name, path) != path:
                    found.append(f"{path.relative_to(ROOT)}: {name} is also defined in {types[name].relative_to(ROOT)}: rename one")
    median, p95 = statistics.median(counts), sorted(counts)[int(0.95 * len(counts))]
    if median > MEDIAN:
        found.append(f"median file length {median} is over {MEDIAN}")
    if p95 > P95:
        found.append(f"95th percentile of file length {p95} is over {P95}")
    print("\n".join(found) or f"style: {len(files)} files, median {median:.0f} lines, p95 {p95}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
