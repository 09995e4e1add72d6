#!/usr/bin/env python3
"""Makes digits.safetensors: what one batch normalisation layer sees in the middle of a real training run.

Independent random numbers are kind to batch normalisation. Real activations are not independent: pixels
resemble their neighbours, channels have their own mean and spread, and the gradient is small, with
half of it exactly zero behind the ReLU. This script trains a small network on handwritten digits, takes
one more training batch and keeps the input of the second BatchNorm, the gradient that reached its
output, and its parameters and running statistics as they were before that step.

    python make_activations.py

Everything is seeded and runs on one CPU thread, so a machine makes the same bytes every time. Another
CPU may add up in another order, and training amplifies that: treat the file as a sample to compute
on, not as an answer to reproduce.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from sklearn.datasets import load_digits
from torch import nn

OUT = Path(__file__).resolve().parent / "digits.safetensors"
SEED = 20
TRAINING_IMAGES = 1437  # of 1797; the rest measures accuracy
BATCH = 64
WANTED_ACCURACY = 0.95
MAX_EPOCHS = 20
EPS, MOMENTUM = 1e-5, 0.1


def network():
    def block(inputs, outputs):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs, EPS, MOMENTUM), nn.ReLU()]

    blocks = [*block(1, 16), *block(16, 24), *block(24, 32)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def step(net, optimizer, images, labels):
    optimizer.zero_grad()
    F.cross_entropy(net(images), labels).backward()
    optimizer.step()


def train(net, optimizer, images, labels, generator):
    """Trains until the accuracy on the images held out is good enough; returns the epochs and that accuracy."""
    held_out = slice(TRAINING_IMAGES, None)
    for epoch in range(1, MAX_EPOCHS + 1):
        net.train()
        # The last, short batch is dropped: every step sees the same m.
        for batch in torch.randperm(TRAINING_IMAGES, generator=generator).split(BATCH)[:-1]:
            step(net, optimizer, images[batch], labels[batch])
        net.eval()
        with torch.no_grad():
            accuracy = (net(images[held_out]).argmax(1) == labels[held_out]).float().mean().item()
        print(f"epoch {epoch}: accuracy {accuracy:.4f}")
        if accuracy > WANTED_ACCURACY:
            return epoch, accuracy
    sys.exit(f"accuracy {accuracy:.4f} after {MAX_EPOCHS} epochs")


def capture(net, optimizer, images, labels):
    """One more step, seen from the second BatchNorm."""
    layer = [module for module in net if isinstance(module, nn.BatchNorm2d)][1]
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    kept = {name: getattr(layer, name).detach().clone() for name in names}

    def keep(_layer, inputs, output):
        kept["x"] = inputs[0].detach().clone()
        output.register_hook(lambda gradient: kept.update(dy=gradient.clone()))

    hook = layer.register_forward_hook(keep)
    net.train()
    step(net, optimizer, images, labels)
    hook.remove()
    return {name: tensor.contiguous() for name, tensor in kept.items()}


def encode(tensors, metadata):
    """A safetensors file whose bytes are reproducible: the library writes metadata in a random order."""
    blob = save(tensors, metadata)
    start = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + blob[start:]


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=generator)
    images = torch.from_numpy(digits.images.astype(np.float32) / 16.0).unsqueeze(1)[order]
    labels = torch.from_numpy(digits.target.astype(np.int64))[order]

    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    epochs, accuracy = train(net, optimizer, images, labels, generator)
    batch = torch.randperm(TRAINING_IMAGES, generator=generator)[:BATCH]
    tensors = capture(net, optimizer, images[batch], labels[batch])

    OUT.write_bytes(encode(tensors, {
        "source": "Optical Recognition of Handwritten Digits (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, "
                  "doi:10.24432/C50P49), as shipped with scikit-learn: 1797 images of 8x8",
        "license": "CC BY 4.0 (the data set); changed: the file holds activations of a network trained on it, not its images",
        "network": "[conv3x3 - BatchNorm - ReLU] x 3 (1-16-24-32 channels), average pool, linear; second BatchNorm, batch of 64",
        "epoch": str(epochs),
        "accuracy": f"{accuracy:.4f}",
        "eps": f"{EPS:g}",
        "momentum": f"{MOMENTUM:g}",
        # Without the local part (+cpu, +cu132).
        "torch": torch.__version__.split("+")[0],
    }))
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
