import lightning.pytorch as pl
import torch
from torch import nn


class Autoencoder(pl.LightningModule):
    def __init__(self, width=16, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Dropout(0.1), nn.Linear(64, width), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(width, 64), nn.Sigmoid())

    def training_step(self, batch, batch_idx):
        return self.measure("train_loss", batch)

    def validation_step(self, batch, batch_idx):
        self.measure("val_loss", batch)

    def test_step(self, batch, batch_idx):
        self.measure("test_loss", batch)

    def measure(self, name, batch):
        loss = nn.functional.mse_loss(self.decoder(self.encoder(batch[0])), batch[0])
        self.log(name, loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_loss"}
