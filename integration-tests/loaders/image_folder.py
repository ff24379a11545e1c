"""`torchvision.datasets.ImageFolder` behind a `DataLoader` with processes of its own: one open, read and close an image."""

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor

import epoch


def read(folder, seed):
    images = ImageFolder(f"{folder}/images", transform=PILToTensor())
    order = torch.Generator().manual_seed(seed)
    loader = torch.utils.data.DataLoader(
        images, batch_size=16, shuffle=True, num_workers=epoch.WORKERS, generator=order
    )
    for batch, labels in loader:
        for image, label in zip(batch, labels):
            yield torch.cat([image.flatten(), label.to(torch.uint8).reshape(1)]).numpy()


epoch.run(read)
