"""TSN, TRN, ECO, what they are compared with, and the parts they are made of."""

from pv_sparse.models.backbones import adapt_first_conv, create_backbone
from pv_sparse.models.conv_lstm import ConvLstmHead, create_conv_lstm
from pv_sparse.models.cost import Cost, model_cost
from pv_sparse.models.eco import EcoHead, create_eco, create_eco_lite
from pv_sparse.models.explanation import Explanation, TupleScore
from pv_sparse.models.fusion import FrameEnsemble, LateFusion, create_eco_ensemble
from pv_sparse.models.host import HostBackbone, create_multiscale_relation_head
from pv_sparse.models.recurrent import RecurrentHead, create_recurrent
from pv_sparse.models.resnet3d import C3DResNet18
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.models.trn import RelationHead, create_trn
from pv_sparse.models.tsn import ConsensusHead, create_tsn

__all__ = [
    "C3DResNet18",
    "ConsensusHead",
    "ConvLstmHead",
    "Cost",
    "EcoHead",
    "Explanation",
    "FrameEnsemble",
    "HostBackbone",
    "LateFusion",
    "RecurrentHead",
    "RelationHead",
    "SegmentNet",
    "TupleScore",
    "adapt_first_conv",
    "create_backbone",
    "create_conv_lstm",
    "create_eco",
    "create_eco_ensemble",
    "create_eco_lite",
    "create_multiscale_relation_head",
    "create_recurrent",
    "create_trn",
    "create_tsn",
    "model_cost",
]
