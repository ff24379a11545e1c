"""Compares files below a mount with the checksums of their source, and reads two of them as training code would.

Usage: check_files.py MOUNT SHA256SUMS
"""

import concurrent.futures
import hashlib
import json
import mmap
import os
import struct
import sys


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(mount, sums):
    with open(sums) as file:
        wanted = [line.rstrip("\n").split("  ", 1) for line in file]
    # hashlib lets other threads run while it counts.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda line: digest(os.path.join(mount, line[1])), wanted))
    wrong = [name for (expected, name), actual in zip(wanted, found) if expected != actual]
    if wrong:
        sys.exit(f"error: {len(wrong)} of {len(wanted)} files differ from their source, such as {wrong[0]}")
    print(f"  {len(wanted)} files have the SHA-256 of their source")


def read_safetensors(path):
    """As the safetensors library does: map the file, read the header, view the tensors in place."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        (length,) = struct.unpack_from("<Q", mapping)
        header = json.loads(mapping[8:8 + length])
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        numbers = 0
        for entry in tensors:
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            if end > len(mapping):
                sys.exit(f"error: {path} ends before its tensors")
            numbers += sum(1 for (value,) in struct.iter_unpack("<f", mapping[begin:end]) if abs(value) <= 1000)
    if numbers * 4 != sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in tensors):
        sys.exit(f"error: {path} has numbers that were never written")
    print(f"  {os.path.basename(path)}: {len(tensors)} tensors, {numbers} numbers, read through a mapping")


def read_parquet(path):
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path, columns=["sample", "label"], memory_map=True)
    last = table["sample"][-1].as_py()
    if last != table.num_rows - 1:
        sys.exit(f"error: {path} has {table.num_rows} rows, the last one is {last}")
    print(f"  {os.path.basename(path)}: {table.num_rows} rows, two of three columns, read by pyarrow")


def main(mount, sums):
    compare(mount, sums)
    read_safetensors(os.path.join(mount, "data/models/tiny.safetensors"))
    read_parquet(os.path.join(mount, "data/tables/samples.parquet"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
