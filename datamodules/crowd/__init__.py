from datamodules.crowd.shanghaitech import ShanghaiTechDataModule
from datamodules.crowd.synthetic import SyntheticCrowdDataModule
from datamodules.crowd.ucf_qnrf import UCFQNRFDataModule

__all__ = ["ShanghaiTechDataModule", "SyntheticCrowdDataModule", "UCFQNRFDataModule"]
