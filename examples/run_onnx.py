"""What happens in a video, by a model of `pv-sparse export`: without torch, and without pv_sparse.

    pv-sparse export tsn_efficientnet_lite0.in1k model.onnx
    python examples/run_onnx.py model.onnx video.mp4

For RGB models of one frame a segment, sampled by the rule `center`.
"""

import json
import sys

import av
import numpy as np
import onnxruntime
from PIL import Image


def main(model: str, path: str) -> None:
    session = onnxruntime.InferenceSession(model)
    about = json.loads(session.get_modelmeta().custom_metadata_map["pv_sparse.json"])  # it is in model.json too
    video = clip_of(path, about["sampling"]["num_segments"], about["preprocessing"])
    logits = session.run(["logits"], {"video": video})[0][0]
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    for number in scores.argsort()[::-1][:5]:
        print(f"{scores[number]:.4f} {about['categories'][number]}")


def clip_of(path: str, num_segments: int, want: dict) -> np.ndarray:
    """(1, 3, T, H, W) float32, normalised: the middle frame of each segment."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = [frames[(2 * number + 1) * len(frames) // (2 * num_segments)] for number in range(num_segments)]
    pixels = np.stack([cropped(frame, want) for frame in chosen]).astype(np.float32)  # (T, H, W, 3) RGB
    if want["channel_order"] == "BGR":
        pixels = pixels[..., ::-1]
    pixels = (pixels * want["value_range"] / 255 - np.float32(want["mean"])) / np.float32(want["std"])
    return np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)[None], np.float32)


def cropped(frame: np.ndarray, want: dict) -> np.ndarray:
    picture, crop = Image.fromarray(frame), want["crop"]
    sides = [want["resize"] * side // min(picture.size) for side in picture.size]
    picture = picture.resize(sides, Image.Resampling[want["interpolation"].upper()])
    left, top = (round((side - crop) / 2) for side in sides)
    return np.asarray(picture)[top : top + crop, left : left + crop]


if __name__ == "__main__":
    main(*sys.argv[1:3])
