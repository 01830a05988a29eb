"""Run by torchrun: what each rank of a Lightning DDP training gets, and where it stops.

    torchrun --nproc-per-node 2 ranks.py STORE OUT STEPS [CHECKPOINT]

Writes OUT/rank-R.json with the ids of each step's batch, and OUT/step=N.ckpt after each step.
"""

import json
import os
import sys
from pathlib import Path

import lightning as L
import torch

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Sampler, Shuffled
from earthloom.chips.store import open_chips


class Mean(L.LightningModule):
    """One number that all ranks must agree on: DDP averages its gradient."""

    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append(list(batch.ids))
        target = torch.tensor([float(name.split("-")[1]) for name in batch.ids])
        return ((self.value - target) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main(folder, out, steps, checkpoint=None):
    import numpy as np

    store = open_chips(Path(folder))
    sampler = Sampler(Shuffled(np.arange(len(store))), seed=5)
    loader = Loader(store, sampler, Loading(batch_size=2, workers=1))
    keep = L.pytorch.callbacks.ModelCheckpoint(
        out, filename="{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )
    model = Mean()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_steps=int(steps),
        max_epochs=-1,
        callbacks=[keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader, ckpt_path=checkpoint, weights_only=True)
    loader.close()
    result = {"seen": model.seen, "value": model.value.item()}
    path = Path(out) / f"rank-{os.environ['RANK']}.json"
    path.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
