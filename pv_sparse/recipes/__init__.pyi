"""The public names of `pv_sparse.recipes`, for type checkers."""

from pv_sparse.recipes.activation_checkpointing import checkpoint_activations as checkpoint_activations
from pv_sparse.recipes.averaging import ExponentialAverage as ExponentialAverage
from pv_sparse.recipes.batch_norm import PartialBatchNorm as PartialBatchNorm
from pv_sparse.recipes.batch_norm import freeze_batch_norm as freeze_batch_norm
from pv_sparse.recipes.config import compose as compose
from pv_sparse.recipes.data import VideoDataModule as VideoDataModule
from pv_sparse.recipes.evaluation import evaluate as evaluate
from pv_sparse.recipes.fusing import fuse as fuse
from pv_sparse.recipes.history import History as History
from pv_sparse.recipes.inputs import ClipInput as ClipInput
from pv_sparse.recipes.losses import TaskLoss as TaskLoss
from pv_sparse.recipes.mixing import mixup as mixup
from pv_sparse.recipes.module import RecognitionModule as RecognitionModule
from pv_sparse.recipes.optimization import Optimization as Optimization
from pv_sparse.recipes.policies import parameter_groups as parameter_groups
from pv_sparse.recipes.progress import progress_callbacks as progress_callbacks
from pv_sparse.recipes.protocols import get_protocol as get_protocol
from pv_sparse.recipes.report import write_report as write_report
from pv_sparse.recipes.training import train as train
