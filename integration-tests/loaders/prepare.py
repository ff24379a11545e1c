"""Writes the data that the loaders here read: `prepare.py FOLDER SCALE`. The same bytes each time.

Scale 1 is some 70 MB: 320 images, 4 shards of 80 of them, 4 files of Parquet, 2 of safetensors, tokens and 2 checkpoints.
"""

import io
import os
import sys
import tarfile

import numpy
import pyarrow
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file

CLASSES = 8
SIDE = 224
# As many different ones; more are copies with another name and class.
IMAGES_DRAWN = 64


def encoded_images(dice):
    for _ in range(IMAGES_DRAWN):
        pixels = dice.integers(0, 256, (SIDE, SIDE, 3), dtype=numpy.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "jpeg", quality=90)
        yield file.getvalue()


def write_images(folder, images, count):
    for number in range(count):
        at = f"{folder}/images/class-{number % CLASSES}"
        os.makedirs(at, exist_ok=True)
        with open(f"{at}/{number}.jpg", "wb") as file:
            file.write(images[number % len(images)])


def write_shards(folder, images, shards, of_each):
    os.makedirs(f"{folder}/shards")
    for shard in range(shards):
        with tarfile.open(f"{folder}/shards/{shard:03}.tar", "w") as tar:
            for number in range(of_each):
                for ending, content in ("jpg", images[number % len(images)]), ("cls", b"%d" % (shard % CLASSES)):
                    member = tarfile.TarInfo(f"{number:05}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def write_parquet(folder, dice, files):
    os.makedirs(f"{folder}/parquet")
    for number in range(files):
        rows = 200_000
        table = pyarrow.table(
            {
                "number": dice.integers(0, 1 << 40, rows),
                "value": dice.standard_normal(rows),
                "kind": dice.integers(0, 100, rows, dtype=numpy.int8),
            }
        )
        parquet.write_table(table, f"{folder}/parquet/{number}.parquet", row_group_size=20_000)


def tensors(dice, count, side):
    return {f"{number}": torch.from_numpy(dice.standard_normal((side, side), dtype=numpy.float32)) for number in range(count)}


def main(folder, scale):
    dice = numpy.random.default_rng(7)
    images = list(encoded_images(dice))
    write_images(folder, images, 320 * scale)
    write_shards(folder, images, 4 * scale, 80)
    write_parquet(folder, dice, 4 * scale)
    os.makedirs(f"{folder}/tensors")
    os.makedirs(f"{folder}/checkpoints")
    for number in range(2 * scale):
        save_file(tensors(dice, 10, 320), f"{folder}/tensors/{number}.safetensors")
        torch.save(tensors(dice, 5, 500), f"{folder}/checkpoints/{number}.pt")
    dice.integers(0, 50_000, 4_000_000 * scale, dtype=numpy.uint16).tofile(f"{folder}/tokens.bin")


main(sys.argv[1], int(sys.argv[2]))
