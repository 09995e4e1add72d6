#!/usr/bin/env python3
"""A short table of measured cases: gpu_table.py cases.jsonl

For each operation, layout and type: the median part of the copy bandwidth over all shapes and the least
one, and how many times PyTorch's time is ours: median and least.
"""

import json
import statistics
import sys

groups = {}
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        case = json.loads(line)
        groups.setdefault((case["operation"], case["layout"], case["dtype"]), []).append(case)


def summary(values):
    values = [value for value in values if value is not None]
    return f"{statistics.median(values):6.2f} {min(values):6.2f}" if values else f"{'-':>6} {'-':>6}"


def times(cases, name):
    ours = [(case.get(f"{name}_microseconds"), case["microseconds"]) for case in cases]
    return summary([theirs and theirs / own for theirs, own in ours])


print(f"{'':45} {'of a copy':>13}  {'x cuDNN':>13}  {'x native':>13}")
print(f"{'operation':20} {'layout':15} {'type':8} " + "  ".join(["median  least"] * 3))
for (operation, layout, dtype), cases in groups.items():
    copy = summary([case["gb_per_s"] / case["copy_gb_per_s"] for case in cases])
    print(f"{operation:20} {layout:15} {dtype:8} {copy}  {times(cases, 'cudnn')}  {times(cases, 'native')}")
