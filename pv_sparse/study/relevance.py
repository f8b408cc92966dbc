"""Contact sheets of what a TRN found relevant: its frames, and the tuple of them that speaks most for its answer."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw
from torchvision.transforms.v2.functional import to_pil_image

from pv_sparse.data.annotations import VideoList
from pv_sparse.drawing import ACCENT, BACKGROUND, FAINT_INK, INK, fit, font
from pv_sparse.looking import Look
from pv_sparse.models.explanation import Explanation
from pv_sparse.recognition import ClassScore, Recognizer, best_classes
from pv_sparse.study.report import SHEETS_FILE
from pv_sparse.whole_files import whole_file

COLUMNS = 4
TILE_WIDTH, CAPTION_HEIGHT, MARGIN, FRAME = 150, 22, 10, 4
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Sheet:
    """A contact sheet as `sheets.json` tells of it.

    Attributes:
        file: name beside `sheets.json`.
        alt: for those who cannot see it.
        caption: what stands below it.
    """

    file: str
    alt: str
    caption: str


def write_sheets(model_path: Path, videos: VideoList, folder: Path, number: int = 4) -> list[Path]:
    """Write a sheet for each of some videos of different classes, and `sheets.json`, which the report reads.

    A frame is marked where the tuple of segments holds it that speaks most for the model's answer
    (`RelationHead.explain`; Zhou et al., ECCV 2018, show such frames of their networks).

    Args:
        model_path: `model.safetensors` of a TRN that reads RGB, as `train` writes it.
        videos: video files with labels and names of classes; the first of each class is taken.
        folder: made where it is missing; sheets of the same names are replaced.
        number: how many classes, evenly spread over all.

    Returns:
        The paths of the sheets, JPEG.

    Raises:
        ValueError: a model that cannot explain itself, or no number of classes.
        VideoDecodeError: a video that cannot be read.
    """
    if number < 1:
        raise ValueError(f"number={number} is not allowed: it must be at least 1")
    recognizer = Recognizer(model_path)
    folder.mkdir(parents=True, exist_ok=True)
    sheets = [_write_sheet(recognizer, path, name, folder) for name, path in _some_of_each(videos, number)]
    with whole_file(folder / SHEETS_FILE) as file:
        file.write((json.dumps([asdict(sheet) for sheet in sheets], indent=2) + "\n").encode("utf-8"))
    return [folder / sheet.file for sheet in sheets]


def draw_relevance(title: str, look: Look, marked: Iterable[int]) -> Image.Image:
    """The frames of a look, those of the segments in `marked` framed.

    Args:
        title: the heading.
        look: one frame a segment.
        marked: numbers of segments, counted from 0.
    """
    relevant = set(marked)
    tiles = [_tile(look, segment, segment in relevant) for segment in range(len(look.frames))]
    columns = min(COLUMNS, len(tiles))
    width, height = tiles[0].width + MARGIN, tiles[0].height + MARGIN
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + 28 + 2 * MARGIN), BACKGROUND)
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN), fit(title, sheet.width - 2 * MARGIN, 17), INK, font(17))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (MARGIN + place % columns * width, MARGIN + 28 + place // columns * height))
    return sheet


def _write_sheet(recognizer: Recognizer, path: str, label: str, folder: Path) -> Sheet:
    look = recognizer.look(path)
    best = best_classes(recognizer.scores(look), recognizer.weights.categories, top_k=1)[0]
    explanation = _explanation(recognizer, look, best)
    segments = explanation.tuples[0].segments
    name = f"{label.replace(' ', '_')}.jpg"
    with whole_file(folder / name) as file:
        title = f"{best.name} ({best.score:.0%})"
        draw_relevance(title, look, segments).save(file, "jpeg", quality=JPEG_QUALITY, optimize=True)
    frames = ", ".join(str(look.frame_indices[segment]) for segment in segments)
    said = "rightly" if best.name == label else f"wrongly, it is {label}"
    caption = (
        f"Taken for {best.name} with a score of {best.score:.2f}, {said}. Most relevant: frames {frames} of "
        f"{look.num_frames}; alone, this tuple gives the class a logit of {explanation.tuples[0].score:.2f}."
    )
    alt = f"{len(look.frames)} frames of a video of the class {label}; frames {frames} are marked as most relevant."
    return Sheet(name, alt, caption)


def _explanation(recognizer: Recognizer, look: Look, best: ClassScore) -> Explanation:
    clip = recognizer.viewer.clip(look)[None].to(recognizer.device)
    explain = getattr(recognizer.model, "explain", None)
    if explain is None:
        raise ValueError(f"{recognizer.weights.name} cannot explain itself: give a TRN")
    explanations: list[Explanation] = explain(clip, class_index=best.index, top_k=1)
    return explanations[0]


def _some_of_each(videos: VideoList, number: int) -> list[tuple[str, str]]:
    """Name of the class and path: the first video of each of `number` classes."""
    names = list(videos.classes) if isinstance(videos.classes, tuple) else []
    firsts: dict[int, str] = {}
    for path, info in videos.samples:
        firsts.setdefault(int(info["label"]), path)
    labels = sorted(firsts)
    taken = labels[:: max(1, len(labels) // number)][:number]
    return [(names[label] if names else str(label), firsts[label]) for label in taken]


def _tile(look: Look, segment: int, is_marked: bool) -> Image.Image:
    picture = to_pil_image(look.frames[segment])
    inner = TILE_WIDTH - 2 * FRAME
    height = max(1, round(inner * picture.height / picture.width))
    tile = Image.new("RGB", (TILE_WIDTH, height + 2 * FRAME + CAPTION_HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(tile)
    if is_marked:
        draw.rectangle((0, 0, TILE_WIDTH - 1, height + 2 * FRAME - 1), fill=ACCENT)
    tile.paste(picture.resize((inner, height)), (FRAME, FRAME))
    told = f"frame {look.frame_indices[segment]}" + (", relevant" if is_marked else "")
    draw.text((FRAME, height + 2 * FRAME + 3), told, ACCENT if is_marked else FAINT_INK, font(13))
    return tile
