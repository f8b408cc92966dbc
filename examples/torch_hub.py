"""PyTorchVideo's torch.hub tutorial: load a network by its name, and ask it what is in each video of a folder.

    python examples/torch_hub.py VIDEOS [--weights tsn_r50.mm_k400_1x1x8]

VIDEOS is a folder with a folder of videos for each class. What differs from the tutorial is marked `pv_sparse`.
"""

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader, SequentialSampler

import pv_sparse as pvs  # pv_sparse: first, so that pytorchvideo.transforms can be imported with today's torchvision
from pv_sparse.data import Kinetics

from pytorchvideo.transforms import ApplyTransformToKey  # isort: skip

# pv_sparse: this repository in the place of "facebookresearch/pytorchvideo"; local, so nothing is asked of the network.
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("videos")
    parser.add_argument("--weights", default="tsn_efficientnet_lite0.in1k", help="a name that pv-sparse zoo list shows")
    parser.add_argument("--top_k", default=5, type=int)
    args = parser.parse_args()

    architecture, _, tag = args.weights.partition(".")
    model = torch.hub.load(str(REPOSITORY), architecture, source="local", pretrained=tag)

    # pv_sparse: sampling, preprocessing and names of classes come with the weights; the tutorial writes them down.
    weights = pvs.get_weights(args.weights)
    dataset = Kinetics(
        args.videos,
        clip_sampler=weights.sampler(one_view=True),
        video_sampler=SequentialSampler,
        transform=ApplyTransformToKey(key="video", transform=weights.transform(one_view=True)),
    )
    for batch in DataLoader(dataset, num_workers=2):
        with torch.inference_mode():
            scores = model(batch["video"]).softmax(dim=-1)[0]
        best = scores.topk(args.top_k)
        names = [f"{weights.categories[i]} {score:.3f}" for score, i in zip(best.values, best.indices, strict=True)]
        print(f"{batch['video_name'][0]}: {', '.join(names)}")


if __name__ == "__main__":
    main()
