from datamodules.crowd.points import PointsDataModule
from datamodules.crowd.shanghaitech import ShanghaiTechDataModule
from datamodules.crowd.synthetic import SyntheticCrowdDataModule
from datamodules.crowd.ucf_qnrf import UCFQNRFDataModule

__all__ = ["PointsDataModule", "ShanghaiTechDataModule", "SyntheticCrowdDataModule", "UCFQNRFDataModule"]
