"""Checkpoints by `torch.load`, mapped where this PyTorch can (2.1 and later), else read."""

import glob
import inspect
import random

import torch

import epoch


def read(folder, seed):
    files = sorted(glob.glob(f"{folder}/checkpoints/*.pt"))
    random.Random(seed).shuffle(files)
    options = {"mmap": True} if "mmap" in inspect.signature(torch.load).parameters else {}
    for path in files:
        for tensor in torch.load(path, **options).values():
            yield tensor.numpy()


epoch.run(read)
