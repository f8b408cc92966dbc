from pv_sparse import data as data
from pv_sparse import models as models
from pv_sparse import transforms as transforms
from pv_sparse import zoo as zoo
from pv_sparse.data.clip_sampling import EncodedVideoSparse as EncodedVideoSparse
from pv_sparse.data.clip_sampling import SegmentClipSampler as SegmentClipSampler
from pv_sparse.data.clip_sampling import SparseVideoPathHandler as SparseVideoPathHandler
from pv_sparse.data.segments import segment_indices as segment_indices
from pv_sparse.data.video import SparseVideo as SparseVideo
from pv_sparse.doctor import doctor as doctor
from pv_sparse.errors import PvSparseError as PvSparseError
from pv_sparse.errors import VideoDecodeError as VideoDecodeError
from pv_sparse.errors import WeightsError as WeightsError
from pv_sparse.models.segment_net import SegmentNet as SegmentNet
from pv_sparse.models.tsn import create_tsn as create_tsn
from pv_sparse.recognition import Recognition as Recognition
from pv_sparse.recognition import Recognizer as Recognizer
from pv_sparse.recognition import recognize as recognize
from pv_sparse.transforms import EvaluationTransform as EvaluationTransform
from pv_sparse.zoo.loading import load_model as load_model
from pv_sparse.zoo.loading import save_model as save_model
from pv_sparse.zoo.weights import Weights as Weights
from pv_sparse.zoo.weights import get_weights as get_weights
from pv_sparse.zoo.weights import list_weights as list_weights

__version__: str
