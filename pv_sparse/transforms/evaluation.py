"""The transform of inference: the same for every frame, nothing random."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from pv_sparse.transforms.normalization import Normalization, NormalizeClip
from pv_sparse.transforms.resizing import check_clip, check_interpolation, check_sizes, resize_clip


class EvaluationTransform(nn.Module):
    """Scale the shorter side, crop the centre, normalise: the same for every frame, nothing random.

    A clip of the host (float) and one of `SparseVideo` (uint8) are both taken, with pixels from 0 to 255.

    Args:
        resize: pixels of the shorter side.
        crop: pixels of the square cut from the centre; None keeps the whole frame.
        mean: of each channel, subtracted, in units of `value_range` and in `channel_order`.
        std: of each channel, divided by, likewise.
        value_range: what white becomes before `mean` and `std`: 1.0 or 255.0.
        channel_order: of the model, `RGB`, `BGR` (the networks that came from Caffe), or `XY` (optical flow).
        interpolation: `bilinear` or `bicubic`, with antialiasing, as PIL.
    """

    def __init__(
        self,
        resize: int = 256,
        crop: int | None = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        value_range: float = 1.0,
        channel_order: str = "RGB",
        interpolation: str = "bilinear",
    ):
        super().__init__()
        check_sizes(resize=resize, crop=resize if crop is None else crop)
        if crop is not None and crop > resize:
            raise ValueError(f"crop={crop} is larger than resize={resize}: crop at most what is there")
        self.resize = resize
        self.crop = crop
        self.interpolation = check_interpolation(interpolation)
        self.normalize = NormalizeClip(Normalization(mean, std, value_range, channel_order))

    def forward(self, clip: Tensor) -> Tensor:
        """(3, T, H, W) RGB, uint8 or float, pixels 0 to 255 -> (3, T, crop, crop) float32; flow has 2 channels.

        Raises:
            ValueError: a clip of another shape.
        """
        check_clip(clip, "the transform", self.normalize.normalization.num_channels)
        frames = resize_clip(clip, [self.resize], self.interpolation)
        if self.crop is not None:
            frames = F.center_crop(frames, [self.crop, self.crop])
        return self.normalize(frames)

    def extra_repr(self) -> str:
        """One line on what is done, for people."""
        return f"shorter side to {self.resize}, centre {self.crop}, {self.interpolation}"
