"""WebDataset: tar shards from begin to end, the shards shared out among the processes of a `DataLoader`."""

import glob
import random

import numpy
import torch
import webdataset

import epoch


def read(folder, seed):
    shards = sorted(glob.glob(f"{folder}/shards/*.tar"))
    random.Random(seed).shuffle(shards)
    samples = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    # PyTorch warns of arrays that nobody can write to.
    samples = samples.map_dict(jpg=numpy.array).to_tuple("jpg", "cls")
    for image, label in torch.utils.data.DataLoader(samples, batch_size=None, num_workers=epoch.WORKERS):
        yield torch.cat([image.flatten(), torch.tensor([label], dtype=torch.uint8)]).numpy()


epoch.run(read)
