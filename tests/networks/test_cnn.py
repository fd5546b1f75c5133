import torch

from dlrun.networks.cnn import ConvNet


def test_parameters_are_the_labs() -> None:
    network = ConvNet([32, 64, 128, 256], 512, 0.5, 100)
    assert sum(p.numel() for p in network.parameters()) == 964_516


def test_shapes() -> None:
    assert ConvNet([4, 8], 16, 0, 10)(torch.zeros(3, 3, 32, 32)).shape == (3, 10)


def test_two_classes_need_one_logit() -> None:
    assert ConvNet([4, 8], 16, 0, 2)(torch.zeros(3, 3, 32, 32)).shape == (3,)
