"""Makes the quickstart's training set: the same bytes for the same seed.

Usage: training_set.py FOLDER

Below FOLDER it makes objects/training (what the S3 server shows as the bucket `training`), local (a plain directory
that is mounted beside it) and SHA256SUMS, which `sha256sum -c` understands. A set that is whole is left alone.
"""

import hashlib
import json
import random
import shutil
import struct
import sys
from pathlib import Path

SEED = 20
SMALL_FILES = 2_000
SMALL_LENGTH = 110_000
CLASSES = 20
LARGE_LENGTH = 1 << 30
PIECE = 8 << 20
# Part of the stamp: another layout of the set is made anew.
LAYOUT = 1


class Sums:
    """The checksums of what was written, by path below the mount."""

    def __init__(self):
        self.lines = []

    def write(self, target, shown, pieces):
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with open(target, "wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
        self.lines.append(f"{digest.hexdigest()}  {shown}\n")

    def note(self, target, shown):
        with open(target, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        self.lines.append(f"{digest.hexdigest()}  {shown}\n")


def make_images(sums, bucket, source):
    for number in range(SMALL_FILES):
        name = f"images/class-{number % CLASSES:02}/{number:05}.bin"
        sums.write(bucket / name, f"data/{name}", [source.randbytes(SMALL_LENGTH)])


def make_large(sums, bucket, source):
    pieces = (source.randbytes(PIECE) for _ in range(LARGE_LENGTH // PIECE))
    sums.write(bucket / "large/shard-00000.bin", "data/large/shard-00000.bin", pieces)


def make_safetensors(sums, bucket, source):
    """The format is a length, a JSON header and the tensors' bytes, one after the other."""
    tensors = {"embedding.weight": [4096, 512], "layer.0.weight": [512, 512], "layer.0.bias": [512]}
    header, bodies, offset = {"__metadata__": {"made_by": "forebay quickstart"}}, [], 0
    for name, shape in tensors.items():
        count = 1
        for side in shape:
            count *= side
        # Whole numbers from -1000 to 1000 are exact in F32, so a reader can add them up.
        body = struct.pack(f"<{count}f", *(source.randrange(-1000, 1001) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(body)]}
        bodies.append(body)
        offset += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    name = "models/tiny.safetensors"
    sums.write(bucket / name, f"data/{name}", [struct.pack("<Q", len(text)), text, *bodies])


def make_parquet(sums, bucket, source):
    import pyarrow
    import pyarrow.parquet

    rows = 200_000
    table = pyarrow.table({
        "sample": pyarrow.array(range(rows), pyarrow.int64()),
        "label": pyarrow.array([source.randrange(CLASSES) for _ in range(rows)], pyarrow.int32()),
        "score": pyarrow.array([source.random() for _ in range(rows)], pyarrow.float64()),
    })
    name = "tables/samples.parquet"
    target = bucket / name
    target.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, target, row_group_size=50_000)
    sums.note(target, f"data/{name}")


def make_local(sums, local):
    labels = "".join(f"{number:05}.bin,{number % CLASSES}\n" for number in range(SMALL_FILES))
    sums.write(local / "labels.csv", "local/labels.csv", [b"file,class\n", labels.encode()])
    note = b"This folder lies on this machine and is mounted beside the bucket. Add a file here and list it there.\n"
    sums.write(local / "README.txt", "local/README.txt", [note])


def main(folder):
    stamp, wanted = folder / "training-set", f"layout {LAYOUT}, seed {SEED}\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    for name in ("objects", "local"):
        shutil.rmtree(folder / name, ignore_errors=True)
    bucket, source, sums = folder / "objects/training", random.Random(SEED), Sums()
    make_images(sums, bucket, source)
    make_large(sums, bucket, source)
    make_safetensors(sums, bucket, source)
    make_parquet(sums, bucket, source)
    make_local(sums, folder / "local")
    (folder / "SHA256SUMS").write_text("".join(sums.lines))
    stamp.write_text(wanted)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
