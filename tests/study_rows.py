"""Results of a study that nobody ran, by formula, for the tests of its report."""

from collections.abc import Iterator

from pv_sparse.study.results import Results, Row

ORDERED = "ordered"
HEADS = {
    "tsn_avg": 0.495,
    "tsn_max": 0.47,
    "tsn_topk": 0.48,
    "tsn_attention": 0.49,
    "lstm": 0.81,
    "gru": 0.86,
    "trn": 0.925,
    "trn_multi_scale": 0.952,
    "conv_lstm": 0.88,
    "eco_lite": 0.961,
    "eco": 0.957,
}
FRAMES = {"center": (0, 6.0), "random": (0.004, 6.2), "keyframe": (0.11, 1.4), "decode budget": (0.03, 2.6)}
FRAMES |= {"motion": (0.05, 6.1)}
# On order, and on appearance.
MODALITIES = {"tsn_rgb": (0.49, 0.98), "tsn_rgbdiff": (0.71, 0.6), "tsn_flow": (0.61, 0.058)}
MODALITIES |= {"trn_rgb": (0.95, 0.98), "trn_rgbdiff": (0.9, 0.42), "trn_flow": (0.73, 0.049)}
MODALITIES |= {"tsn_rgb+rgbdiff": (0.75, 0.97), "tsn_rgb+flow": (0.66, 0.96), "trn_rgb+rgbdiff+flow": (0.99, 0.975)}


def study_results(seeds: int = 3, level: str = "full") -> Results:
    """All experiments; accuracies of seeds differ a little."""
    rows = [_row(*cell, seed, top1, decode_ms) for cell, top1, decode_ms in _cells() for seed in range(seeds)]
    machine = {"processor": "A Processor", "cores": 2, "accelerator": None}
    commands = {name: f"pv-sparse study --{level} --only {name}" for name in {row.experiment for row in rows}}
    return Results(level, machine, {"pv_sparse": "0.1", "torch": "2.0", "devices": []}, rows, commands)


def _cells() -> Iterator[tuple[tuple[str, str, str, str], float, float]]:
    """Experiment, data, model and variant; accuracy; milliseconds to decode."""
    for model, top1 in HEADS.items():
        yield ("study_fusion", "order20", model, ORDERED), top1, 0.8
        yield ("study_fusion", "appearance20", model, ORDERED), 0.975 + 0.02 * (top1 - 0.5), 0.8
    for model in ("tsn_avg", "trn_multi_scale", "eco_lite"):
        for variant, left in ((ORDERED, 1.0), ("shuffled", 0.5), ("reversed", 0.02)):
            top1 = HEADS[model] * (left if model != "tsn_avg" else 1)
            yield ("study_time_order", "order20", model, variant), top1, 0.8
            yield ("study_time_order", "appearance20", model, variant), 0.98 - 0.01 * (left < 1), 0.8
    yield from _segments()
    for model in ("tsn_avg", "trn_multi_scale"):
        for variant, (loss, decode_ms) in FRAMES.items():
            lost = loss * (model != "tsn_avg")
            yield ("study_sampling", "order20", model, variant), HEADS[model] - lost, decode_ms
            yield ("study_sampling", "appearance20", model, variant), 0.98 - 0.1 * lost, decode_ms
    yield ("study_grid", "walking", "tsn_avg", "1x1"), 0.5, 3.0
    for grid, top1 in (("1x1", 0.74), ("1x5", 0.99), ("2x5", 0.985)):
        yield ("study_grid", "walking", "trn_multi_scale", grid), top1, 3.0
    for number, top1 in ((4, 0.93), (8, 0.95), (12, 0.955), (16, 0.96)):
        yield ("study_ensemble", "order20", f"eco_lite_{number}", ORDERED), top1, 0.8
    yield ("study_ensemble", "order20", "eco_ensemble", ORDERED), 0.985, 3.2
    yield ("study_ensemble", "order20", "trn_multi_scale", ORDERED), 0.952, 0.8
    yield from _selection()
    yield from _spliced()
    for model, (on_order, on_appearance) in MODALITIES.items():
        yield ("study_modalities", "order20", model, ORDERED), on_order, 0.8
        yield ("study_modalities", "appearance20", model, ORDERED), on_appearance, 0.8


def _selection() -> Iterator[tuple[tuple[str, str, str, str], float, float]]:
    for number, even in ((4, 0.2), (8, 0.3), (16, 0.45), (32, 0.6)):
        cell = ("study_selection", "untrimmed_appearance", "tsn_avg")
        yield (*cell, f"even {number}"), even, 2.0 * number
        for selector, gain in (("motion", 0.05), ("diverse", -0.02), ("saliency", 0.5)):
            if number <= 16:
                yield (*cell, f"{selector} {number}"), min(even + gain, 0.95), 6.0 + 2.0 * number
    for data, model, even, gain in (
        ("untrimmed_order", "trn_multi_scale", 0.3, 0.4),
        ("appearance20", "tsn_avg", 0.98, 0.001),
        ("order20", "trn_multi_scale", 0.98, -0.002),
    ):
        yield ("study_selection", data, model, "even 8"), even, 16.0
        for selector, share in (("motion", 0.1), ("diverse", 0.06), ("saliency", 1.0)):
            yield ("study_selection", data, model, f"{selector} 8"), even + share * gain, 22.0


def _spliced() -> Iterator[tuple[tuple[str, str, str, str], float, float]]:
    cell = ("study_spliced", "spliced", "tsn_efficientnet_lite0")
    for number, even in ((4, 0.2), (8, 0.35), (16, 0.45), (32, 0.6)):
        yield (*cell, f"even {number}"), even, 20.0 * number
        for selector, gain in (("motion", 0.32), ("diverse", 0.25)):
            if number <= 16:
                yield (*cell, f"{selector} {number}"), even + gain, 60.0 + 20.0 * number


def _segments() -> Iterator[tuple[tuple[str, str, str, str], float, float]]:
    for trained in (1, 2, 3, 5, 8, 16):
        for tested in (1, 2, 3, 5, 8, 16):
            name = f"{trained} trained, {tested} tested"
            top1 = 0.5 - 0.15 / trained - 0.1 / tested
            yield ("study_segments", "order20", "tsn_avg", name), top1, 0.1 * tested
    for number in (2, 3, 5, 8, 16):
        name = f"{number} trained, {number} tested"
        yield ("study_segments", "order20", "trn_multi_scale", name), 0.97 - 0.7 / number**1.5, 0.1 * number
    for number in (4, 8, 16):
        name = f"{number} trained, {number} tested"
        yield ("study_segments", "order20", "eco_lite", name), 0.97 - 0.5 / number, 0.1 * number


def _row(experiment: str, data: str, model: str, variant: str, seed: int, top1: float, decode_ms: float) -> Row:
    moved = top1 + 0.004 * (seed - 1)
    is_fused = model == "eco_ensemble" or "+" in model
    return Row(
        experiment=experiment,
        data=data,
        model=model,
        variant=variant,
        seed=seed,
        top1=min(1.0, max(0.0, moved)),
        cpu_seconds=0.2 * (decode_ms + 9 + len(model)),
        decode_cpu_seconds=0.2 * decode_ms,
        train_cpu_seconds=None if is_fused else 60.0 + seed,
        num_videos=200,
    )
