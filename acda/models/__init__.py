from acda.models.lenet import LeNet
from acda.models.single_layer import SingleLayer

__all__ = ["LeNet", "SingleLayer"]
