"""How does work survive a kill? Files and folders that appear whole or not at all."""

import os
import shutil

import torch


def save_state(folder, state):
    """Write folder/state.pt; the old one stays until the new one is whole and on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "state.partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / "state.pt")


def load_state(folder, device):
    """What `save_state` wrote last, or None."""
    file = folder / "state.pt"
    return torch.load(file, map_location=device, weights_only=True) if file.is_file() else None


def publish(partial, directory):
    """Put a finished folder in the place of an older one."""
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(partial, directory)
