"""The rules of an online recogniser's memory, on frame numbers alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv_sparse.online import MEMORIES, Held, PaperMemory, ScriptMemory, WindowMemory
from pv_sparse.online.memories import create_memory

GOLDEN = json.loads((Path(__file__).parent / "golden" / "eco_online_memory.json").read_text())["steps"]


def run(memory, num_frames: int) -> list[tuple[int, Held]]:
    """What is held at each prediction, and after which frame."""
    held, seen = Held(), []
    for frame in range(num_frames):
        held, is_due = memory.add(held, frame)
        if is_due:
            seen.append((frame, held))
    return seen


def test_the_script_is_as_recorded():
    seen = run(ScriptMemory(16), 16 * len(GOLDEN))
    assert [frame // 16 for frame, _ in seen] == [step["block"] for step in GOLDEN]
    assert [list(held.read) for _, held in seen] == [step["frames"] for step in GOLDEN]
    assert [[len(slot) for slot in held.slots] for _, held in seen] == [step["slots"] for step in GOLDEN]


@settings(max_examples=4)
@given(st.sampled_from([16, 32, 48]), st.integers(96, 300))
def test_the_script_thins_blocks_in_place(n, num_frames):
    """Against arrays of all frames of each block, thinned by NumPy."""
    slots, expected = [], []
    for block in range(num_frames // n):
        slots = [*slots, np.arange(block * n, (block + 1) * n)][-5:]
        shares = {1: [1], 2: [2, 2], 3: [4, 4, 2], 4: [8, 8, 4, 2], 5: [16, 16, 8, 4, 2]}[len(slots)]
        slots = [
            slot[np.rint(np.linspace(0, len(slot) - 1, n // share)).astype(int)]
            for slot, share in zip(slots, shares, strict=True)
        ]
        expected.append(np.concatenate(slots).tolist())
    assert [list(held.read) for _, held in run(ScriptMemory(n), num_frames)] == expected


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(0, 120))
def test_the_paper_takes_half_of_the_new_and_half_of_the_memory(n, num_frames):
    memory, expected = [], []
    for block in range(num_frames // n):
        new = list(range(block * n, (block + 1) * n))
        memory = halved(memory, n // 2) + halved(new, n - n // 2) if memory else new
        expected.append(memory)
    seen = run(PaperMemory(n), num_frames)
    assert [list(held.read) for _, held in seen] == expected
    assert [frame for frame, _ in seen] == [(block + 1) * n - 1 for block in range(num_frames // n)]


def halved(frames: list[int], number: int) -> list[int]:
    """The middle of each of `number` equal shares, the later where there is none."""
    return [frames[int((i + 0.5) * len(frames) / number)] for i in range(number)]


def test_the_papers_memory_in_numbers():
    assert [held.read for _, held in run(PaperMemory(4), 16)] == [
        (0, 1, 2, 3),
        (1, 3, 5, 7),
        (3, 7, 9, 11),
        (7, 11, 13, 15),
    ]
    blocks = [frame // 16 for frame in run(PaperMemory(16), 160)[-1][1].read]
    assert [blocks.count(block) for block in range(10)] == [0, 0, 0, 0, 0, 1, 1, 2, 4, 8]


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(0, 40))
def test_the_window_is_the_last_frames(n, num_frames):
    expected = [(last, tuple(range(last - n + 1, last + 1))) for last in range(n - 1, num_frames)]
    assert [(frame, held.read) for frame, held in run(WindowMemory(n), num_frames)] == expected


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("n", [16, 32])
def test_whether_a_frame_will_be_read_is_known_as_it_comes(name, n):
    memory, held = create_memory(name, n), Held()
    kept, read, most = set(), set(), 0
    for frame in range(8 * n):
        held, is_due = memory.add(held, frame)
        kept |= {frame} & set(held.frames)
        read |= set(held.read) if is_due else set()
        most = max(most, len(held.frames))
        assert len(set(held.frames)) == len(held.frames)
        assert list(held.read) == sorted(held.read)
    assert kept == read
    assert most <= 2 * n
    if name != "window":
        assert len(kept) == n + 7 * n // 2  # all of the first block, half of the others


def test_what_is_refused():
    with pytest.raises(ValueError, match="memory='long' is unknown: choose one of window, paper, script, or give a"):
        create_memory("long", 16)
    for number in (8, 24):
        with pytest.raises(ValueError, match=f"num_frames={number} is .* 16: give num_frames=16, or memory='paper'"):
            create_memory("script", number)
    for name in MEMORIES:
        for number in (0, 16.0):
            with pytest.raises(ValueError, match=f"num_frames={number} is not allowed: it must be a whole number"):
                create_memory(name, number)
