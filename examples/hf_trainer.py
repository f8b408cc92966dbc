"""Hugging Face's guide to video classification, Ucf101 and their Trainer, with sparse sampling.

    python examples/hf_trainer.py VIDEOS OUT

VIDEOS is a folder with a folder of videos for each class; pip install transformers accelerate. What differs from the
guide is marked `pv_sparse`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

import pv_sparse as pvs
import pv_sparse.data


# pv_sparse: in the place of VideoMAEForVideoClassification. Their Trainer wants a loss and logits of these arguments.
class SparseForVideoClassification(nn.Module):
    def __init__(self, num_labels: int, num_frames: int, backbone: str, backbone_weights: str | None):
        super().__init__()
        self.net = pvs.create_trn(
            num_classes=num_labels, num_segments=num_frames, backbone=backbone, backbone_weights=backbone_weights
        )

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.net(pixel_values.transpose(1, 2))  # (N, T, C, H, W) in their models, (N, C, T, H, W) in ours
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_dataset(args: argparse.Namespace, mode: str, rule: str) -> torch.utils.data.IterableDataset:
    # pv_sparse: the frames are chosen before they are decoded, in the place of make_clip_sampler("random", 2.13) and
    # UniformTemporalSubsample.
    return pv_sparse.data.Ucf101(
        data_path=args.videos,
        clip_sampler=pvs.SegmentClipSampler(args.num_frames, rule=rule),
        transform=pvs.create_sparse_video_transform(mode, size=args.size, resize=args.size * 8 // 7),
        decode_audio=False,
    )


def collate_fn(examples: list[dict]) -> dict[str, torch.Tensor]:
    pixel_values = torch.stack([example["video"].permute(1, 0, 2, 3) for example in examples])
    return {"pixel_values": pixel_values, "labels": torch.tensor([example["label"] for example in examples])}


def compute_metrics(eval_pred) -> dict[str, float]:
    predictions = np.argmax(eval_pred.predictions, axis=1)
    return {"accuracy": float((predictions == eval_pred.label_ids).mean())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("videos")
    parser.add_argument("out")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--backbone_weights", help="imagenet, a name of the zoo, or a file")
    parser.add_argument("--num_frames", default=8, type=int)
    parser.add_argument("--size", default=224, type=int)
    parser.add_argument("--batch_size", default=8, type=int)
    parser.add_argument("--num_epochs", default=4, type=int)
    args = parser.parse_args()

    num_labels = sum(folder.is_dir() for folder in Path(args.videos).iterdir())
    model = SparseForVideoClassification(num_labels, args.num_frames, args.backbone, args.backbone_weights)
    train_dataset = make_dataset(args, "train", rule="random")
    trainer = Trainer(
        model,
        TrainingArguments(
            args.out,
            remove_unused_columns=False,
            eval_strategy="epoch",
            save_strategy="epoch",
            learning_rate=5e-5,
            per_device_train_batch_size=args.batch_size,
            per_device_eval_batch_size=args.batch_size,
            logging_steps=10,
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            max_steps=max(1, train_dataset.num_videos // args.batch_size) * args.num_epochs,
            dataloader_num_workers=2,
            report_to="none",
        ),
        train_dataset=train_dataset,
        eval_dataset=make_dataset(args, "val", rule="center"),
        compute_metrics=compute_metrics,
        data_collator=collate_fn,
    )
    trainer.train()
    print(json.dumps(trainer.evaluate()))


if __name__ == "__main__":
    main()
