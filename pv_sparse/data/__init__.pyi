from pv_sparse.data.factories import Hmdb51 as Hmdb51
from pv_sparse.data.factories import Kinetics as Kinetics
from pv_sparse.data.factories import Ucf101 as Ucf101
from pv_sparse.data.factories import labeled_video_dataset as labeled_video_dataset
from pv_sparse.data.factories import sparse_decoding as sparse_decoding
from pv_sparse.data.frame_datasets import Charades as Charades
from pv_sparse.data.frame_datasets import SSv2 as SSv2
