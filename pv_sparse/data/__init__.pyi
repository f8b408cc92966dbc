"""The public names of `pv_sparse.data`, for type checkers."""

from pv_sparse.data.annotations import VideoList as VideoList
from pv_sparse.data.annotations import frame_folders_of as frame_folders_of
from pv_sparse.data.annotations import read_class_folders as read_class_folders
from pv_sparse.data.annotations import read_hmdb51_split as read_hmdb51_split
from pv_sparse.data.annotations import read_kinetics_csv as read_kinetics_csv
from pv_sparse.data.annotations import read_path_list as read_path_list
from pv_sparse.data.annotations import read_something_json as read_something_json
from pv_sparse.data.annotations import read_ucf101_split as read_ucf101_split
from pv_sparse.data.annotations import read_videos as read_videos
from pv_sparse.data.clip_sampling import SegmentClipSampler as SegmentClipSampler
from pv_sparse.data.dataset import SparseVideoDataset as SparseVideoDataset
from pv_sparse.data.encoded_video import EncodedVideoSparse as EncodedVideoSparse
from pv_sparse.data.factories import Hmdb51 as Hmdb51
from pv_sparse.data.factories import Kinetics as Kinetics
from pv_sparse.data.factories import Ucf101 as Ucf101
from pv_sparse.data.factories import labeled_video_dataset as labeled_video_dataset
from pv_sparse.data.factories import sparse_decoding as sparse_decoding
from pv_sparse.data.frame_datasets import Charades as Charades
from pv_sparse.data.frame_datasets import SSv2 as SSv2
from pv_sparse.data.frame_folder import FrameFolder as FrameFolder
from pv_sparse.data.label_tables import read_label_table as read_label_table
from pv_sparse.data.path_handler import SparseVideoPathHandler as SparseVideoPathHandler
from pv_sparse.data.segments import segment_indices as segment_indices
from pv_sparse.data.video import SparseVideo as SparseVideo
