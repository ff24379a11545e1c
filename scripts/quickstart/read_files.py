"""Reads all files of a data set in random order, as a training epoch does, and says how fast.

Usage: read_files.py FOLDER RESULT SEED INDEX

FOLDER is where the small files lie: data/images of the mount, or the plain directory. INDEX is the set's SHA256SUMS:
training knows its files from an index and does not list folders. RESULT becomes a JSON document: files, bytes, seconds.
"""

import json
import os
import random
import sys
import time


def main(folder, result, seed, index):
    with open(index) as file:
        names = [line.rstrip("\n").split("  ", 1)[1] for line in file]
    below = "data/images/"
    paths = [os.path.join(folder, name[len(below):]) for name in names if name.startswith(below)]
    random.Random(seed).shuffle(paths)
    if not paths:
        sys.exit(f"error: {index} names no files of {below}")
    length = 0
    began = time.monotonic()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(1 << 20):
                length += len(piece)
    seconds = time.monotonic() - began
    with open(result, "w") as file:
        json.dump({"files": len(paths), "bytes": length, "seconds": seconds}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
