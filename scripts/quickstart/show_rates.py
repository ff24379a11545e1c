"""Prints what the quickstart measured, side by side.

Usage: show_rates.py LABEL=RESULT...   where RESULT is a document of read_files.py
"""

import json
import sys


def main(arguments):
    rows = []
    for argument in arguments:
        label, path = argument.split("=", 1)
        with open(path) as file:
            result = json.load(file)
        seconds = max(result["seconds"], 1e-9)
        rows.append((label, result["files"], seconds, result["files"] / seconds, result["bytes"] / seconds / (1 << 20)))
    width = max(len(row[0]) for row in rows)
    print(f"  {'':<{width}}  {'files':>6}  {'seconds':>7}  {'files/s':>8}  {'MiB/s':>7}")
    for label, files, seconds, rate, speed in rows:
        print(f"  {label:<{width}}  {files:>6}  {seconds:>7.2f}  {rate:>8.0f}  {speed:>7.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
