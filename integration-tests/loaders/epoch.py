"""One epoch of a loader: `LOADER.py FOLDER EPOCH [cold]` reads all samples in an order that follows from the epoch, and prints
as a document how many there were, how long it took, and a sum of what was decoded that does not depend on the order.

Imports are no part of the time: they cost more than the epoch and read nothing of the data. `cold` empties the page cache after
them, for which one has to be root.
"""

import json
import os
import sys
import time
import zlib

# Processes of a `DataLoader`.
WORKERS = 2


def run(read):
    """`read(folder, epoch)` gives what was decoded of each sample, as something with bytes."""
    folder, epoch = sys.argv[1], int(sys.argv[2])
    if "cold" in sys.argv[3:]:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as caches:
            caches.write("3")
    begun = time.monotonic()
    samples = length = total = 0
    for data in read(folder, epoch):
        data = memoryview(data).cast("B")
        samples += 1
        length += data.nbytes
        total += zlib.crc32(data)
    seconds = time.monotonic() - begun
    print(json.dumps({"samples": samples, "bytes": length, "sum": f"{total:x}", "seconds": seconds}))
