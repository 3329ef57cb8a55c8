from acda.models.ad_resnet import AdResNet, ad_resnet_l, ad_resnet_m, ad_resnet_s
from acda.models.crowd_counter import CrowdCounter
from acda.models.dncnn import DnCNN
from acda.models.kpn import KPN, LPKPN
from acda.models.lenet import LeNet
from acda.models.pyramid import collapse_pyramid, laplacian_pyramid
from acda.models.restorer import Restorer
from acda.models.single_layer import SingleLayer
from acda.models.srresnet import SRResNet
from acda.models.stored_networks import pretrained
from acda.models.vdn import DNet, Posterior, SNet, VariationalDenoiser
from acda.models.vdsr import VDSR
from acda.models.weight_files import list_pretrained
from acda.models.weights import LoadReport, load_weights

__all__ = [
    "KPN",
    "LPKPN",
    "VDSR",
    "AdResNet",
    "CrowdCounter",
    "DNet",
    "DnCNN",
    "LeNet",
    "LoadReport",
    "Posterior",
    "Restorer",
    "SNet",
    "SRResNet",
    "SingleLayer",
    "VariationalDenoiser",
    "ad_resnet_l",
    "ad_resnet_m",
    "ad_resnet_s",
    "collapse_pyramid",
    "laplacian_pyramid",
    "list_pretrained",
    "load_weights",
    "pretrained",
]
