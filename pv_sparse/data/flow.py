"""Optical flow to disk, in the folders that the two-stream models' data sets read (extra `flow`).

A flow is (2, height, width) float32: how many pixels the picture moves to the right, and down, from one frame to the
next. On disk it is two grey JPEGs, as tsn-pytorch and TRN-pytorch read them.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from pv_sparse.data.video import SparseVideo

METHODS = ("tvl1", "dis")
BOUND = 20.0
LINEAGE_SIZE = (256, 340)
# Frames decoded at once take at most this much memory.
CHUNK_BYTES = 2**27
# Improved trajectories trust a homography found among more than 50 points, more than 25 of which agree with it.
LEAST_POINTS, LEAST_AGREEING = 50, 25
# Of a point tracked forth and back, in pixels; and of a point that agrees with the homography.
ROUND_TRIP_ERROR, AGREEMENT_ERROR = 1.0, 1.0


def compute_flow(previous: Tensor | np.ndarray, following: Tensor | np.ndarray, method: str = "tvl1") -> np.ndarray:
    """The motion between two frames.

    Args:
        previous: (3, height, width) uint8 RGB, or (height, width) uint8 grey.
        following: the same, of the same size.
        method: "tvl1", OpenCV's dual TV-L1 with its own parameters, which the published models were trained on; or
            "dis", dense inverse search at its medium preset: a hundred times faster, coarser at edges.

    Returns:
        (2, height, width) float32, pixels to the right and pixels down; what is at (x, y) in `previous` is at
        (x, y) + flow[:, y, x] in `following`.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
        ValueError: an unknown method, or frames of two sizes.
    """
    first, second = _grey(previous), _grey(following)
    if first.shape != second.shape:
        raise ValueError(f"frames of {first.shape} and {second.shape} pixels have no flow: give two of one size")
    return np.ascontiguousarray(_algorithm(method).calc(first, second, None).transpose(2, 0, 1))


def encode_flow(flow: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Pixels from -bound to bound as uint8 from 0 to 255, rounded, what lies outside clipped; no motion is 128."""
    levels = np.rint((np.clip(flow, -bound, bound) + bound) * (255 / (2 * bound)))
    return levels.astype(np.uint8)


def decode_flow(image: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """The float32 pixels that `encode_flow` wrote, exact to bound / 255; no motion comes back as that much."""
    return image.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)


def remove_camera_motion(previous: Tensor | np.ndarray, following: Tensor | np.ndarray) -> np.ndarray:
    """`following` as the camera of `previous` would have seen it; the flow to it is of what moves by itself.

    As in improved trajectories (Wang and Schmid, ICCV 2013) and TSN's warped flow: a homography, found by RANSAC among
    matched points, is undone. The points are corners tracked forth and back (Lucas-Kanade); the originals match SURF
    features and flow, and leave out people, whom RANSAC must leave out here. Where at most 50 points are matched,
    or at most 25 agree, the camera is taken to stand still. What only `previous` shows is filled from it.

    Args:
        previous: (3, height, width) uint8 RGB, or (height, width) uint8 grey.
        following: the same, of the same size.

    Returns:
        (height, width) uint8 grey.
    """
    cv2 = _cv2()
    first, second = _grey(previous), _grey(following)
    homography = _camera_motion(first, second)
    if homography is None:
        return second
    height, width = first.shape
    return cv2.warpPerspective(
        second,
        homography,
        (width, height),
        dst=first.copy(),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_TRANSPARENT,
    )


def write_flow_folder(
    video_path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    method: str = "tvl1",
    size: tuple[int, int] | None = LINEAGE_SIZE,
    bound: float = BOUND,
    warped: bool = False,
    rgb: bool = True,
) -> int:
    """Write a video's flow, and its frames, as JPEGs: flow_x_00001.jpg, flow_y_00001.jpg, img_00001.jpg, ...

    Files are counted from 1: flow image k is the motion from frame k to frame k + 1, so that N frames have N images and
    N - 1 flows. The folder appears when it is complete: it is written beside itself, as .NAME.part, and renamed.

    Args:
        video_path: the video.
        folder: where its files go; the folders above it are made.
        method: see `compute_flow`.
        size: (height, width) in pixels that frames are scaled to first; None leaves them as they are.
        bound: see `encode_flow`.
        warped: whether the camera's motion is removed; see `remove_camera_motion`.
        rgb: whether the frames are written too.

    Returns:
        the number of the video's frames.

    Raises:
        FileExistsError: the folder is there.
        VideoDecodeError: the video cannot be read; no folder is left.
    """
    if os.path.exists(folder):
        raise FileExistsError(f"{os.fspath(folder)} is there: remove it to compute its flow again")
    part = Path(folder).with_name(f".{Path(folder).name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    part.mkdir(parents=True)
    try:
        num_frames = _write_images(os.fspath(video_path), part, method, size, bound, warped, rgb)
    except BaseException:
        shutil.rmtree(part)
        raise
    part.rename(folder)
    return num_frames


def check_installed(method: str = "tvl1") -> None:
    """The ModuleNotFoundError that computing flow by this method would end with, told before the work."""
    _algorithm(method)


def use_one_thread() -> None:
    """For processes beside each other, of which each is to use one core."""
    _cv2().setNumThreads(1)


def _write_images(
    video_path: str, folder: Path, method: str, size: tuple[int, int] | None, bound: float, warped: bool, rgb: bool
) -> int:
    previous = None
    number = 0
    for number, frame in enumerate(_frames(video_path, size), start=1):
        grey = _grey(frame)
        if rgb:
            _write_jpeg(folder / f"img_{number:05}.jpg", frame.flip(0).permute(1, 2, 0).contiguous().numpy())
        if previous is not None:
            target = remove_camera_motion(previous, grey) if warped else grey
            image_x, image_y = encode_flow(compute_flow(previous, target, method), bound)
            _write_jpeg(folder / f"flow_x_{number - 1:05}.jpg", image_x)
            _write_jpeg(folder / f"flow_y_{number - 1:05}.jpg", image_y)
        previous = grey
    return number


def _frames(video_path: str, size: tuple[int, int] | None) -> Iterator[Tensor]:
    """Every frame in order, (3, height, width) uint8; the memory is the same for a long video."""
    with SparseVideo(video_path, threads=1) as video:
        height, width = size or (video.height, video.width)
        step = max(1, CHUNK_BYTES // (3 * height * width))
        for start in range(0, video.num_frames, step):
            yield from video.frames_at(range(start, min(start + step, video.num_frames)), size)


def _grey(frame: Tensor | np.ndarray) -> np.ndarray:
    pixels = np.asarray(frame)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and len(pixels) == 3)):
        raise ValueError(f"{pixels.dtype} {pixels.shape} is no frame: give (3, height, width) or (height, width) uint8")
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)
    cv2 = _cv2()
    return cv2.cvtColor(np.ascontiguousarray(pixels.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)


def _algorithm(method: str) -> Any:
    cv2 = _cv2()
    if method == "tvl1":
        return _optflow(cv2).DualTVL1OpticalFlow_create()
    if method == "dis":
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    raise ValueError(f"method={method!r} is not allowed: choose from {', '.join(METHODS)}")


def _camera_motion(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """The (3, 3) homography that takes points of the first frame to the second; None where nothing proves one."""
    cv2 = _cv2()
    corners = cv2.goodFeaturesToTrack(first, maxCorners=1000, qualityLevel=0.001, minDistance=5)
    if corners is None:
        return None
    tracked, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None)
    returned, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, tracked, None)
    strayed = np.abs(returned - corners).reshape(-1, 2).max(axis=1)
    is_matched = (found.ravel() & found_back.ravel()).astype(bool) & (strayed < ROUND_TRIP_ERROR)
    if is_matched.sum() <= LEAST_POINTS:
        return None
    homography, agrees = cv2.findHomography(corners[is_matched], tracked[is_matched], cv2.RANSAC, AGREEMENT_ERROR)
    return homography if homography is not None and agrees.sum() > LEAST_AGREEING else None


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    """At OpenCV's own quality, 95, as the originals. Not imwrite, which is silent where a disk is full."""
    _, encoded = _cv2().imencode(".jpg", image)
    path.write_bytes(encoded.tobytes())


def _cv2() -> ModuleType:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('optical flow needs OpenCV: pip install "pv-sparse[flow]"') from error
    return cv2


def _optflow(cv2: ModuleType) -> Any:
    """The contrib module that has TV-L1."""
    if hasattr(cv2, "optflow"):
        return cv2.optflow
    raise ModuleNotFoundError(
        "tvl1 needs OpenCV with its contrib modules, and another opencv package is in its place: pip uninstall that "
        'one, then pip install --force-reinstall "pv-sparse[flow]"; method dis does without them'
    )
