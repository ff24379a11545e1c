"""safetensors: a mapping of each file, of which tensors are taken in random order, every other one by slices."""

import glob
import random

import torch
from safetensors import safe_open

import epoch


def read(folder, seed):
    files = sorted(glob.glob(f"{folder}/tensors/*.safetensors"))
    random.Random(seed).shuffle(files)
    for path in files:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            random.Random(seed).shuffle(names)
            for name in names:
                if int(name) % 2 == 0:
                    yield file.get_tensor(name).numpy()
                else:
                    rows = file.get_slice(name)
                    half = rows.get_shape()[0] // 2
                    yield torch.cat([rows[:half], rows[half:]]).numpy()


epoch.run(read)
