"""Parquet by pyarrow: row groups in random order, by reads in even epochs and by a mapping in odd ones."""

import glob
import random

from pyarrow import parquet

import epoch


def read(folder, seed):
    files = [parquet.ParquetFile(path, memory_map=seed % 2 == 1) for path in sorted(glob.glob(f"{folder}/parquet/*"))]
    groups = [(file, group) for file in files for group in range(file.num_row_groups)]
    random.Random(seed).shuffle(groups)
    for file, group in groups:
        table = file.read_row_group(group)
        for column in table.columns:
            for chunk in column.chunks:
                yield chunk.to_numpy(zero_copy_only=False).copy()


epoch.run(read)
