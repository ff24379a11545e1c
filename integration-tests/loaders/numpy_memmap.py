"""`numpy.memmap` of one large file of tokens, of which windows are taken in random order, as trainers of language models do."""

import numpy

import epoch

WINDOW = 4096


def read(folder, seed):
    tokens = numpy.memmap(f"{folder}/tokens.bin", dtype=numpy.uint16, mode="r")
    windows = len(tokens) // WINDOW
    for window in numpy.random.default_rng(seed).permutation(windows):
        yield tokens[window * WINDOW : (window + 1) * WINDOW].copy()


epoch.run(read)
