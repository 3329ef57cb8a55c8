from acda.models.ad_resnet import AdResNet, ad_resnet_l, ad_resnet_m, ad_resnet_s
from acda.models.crowd_counter import CrowdCounter
from acda.models.lenet import LeNet
from acda.models.single_layer import SingleLayer
from acda.models.weights import LoadReport, load_weights

__all__ = [
    "AdResNet",
    "CrowdCounter",
    "LeNet",
    "LoadReport",
    "SingleLayer",
    "ad_resnet_l",
    "ad_resnet_m",
    "ad_resnet_s",
    "load_weights",
]
