"""A run folder as memreel writes it, made without a model: drawn pictures, a real MP4, the real files and formats.

Run as a script to look at a report: ``python tests/output/conftest.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from memreel.output.growing import GrowingVideo
from memreel.output.report import write_report
from memreel.output.run_folder import RunFolder

WIDTH, HEIGHT, FPS = 192, 112, 16
CHUNK = 12
LOOKS: dict[int, tuple[str, str, list[str], tuple[str, str, str | None]]] = {
    1: ("Mia", "character", ["red hair", "blue sweater", "green hat"], ("#b3261e", "#2f5fb3", "#2e7d4f")),
    2: ("Noah", "character", ["black hair", "yellow jacket"], ("#26221f", "#e0b02f", None)),
    3: ("notebook", "object", ["red"], ("#c62f2f", "#c62f2f", None)),
    4: ("Mr. Okafor", "character", ["grey hair", "purple coat"], ("#8b8f96", "#6b3fa0", None)),
}
PROMPTS: list[tuple[str, str, list[tuple[int, str, list[str]]], str]] = [
    (
        "Mia, a young woman with red hair, a blue sweater and a green hat, walks into a quiet library.",
        "",
        [(1, "Mia", ["red hair", "blue sweater", "green hat"])],
        "#d9c7a8",
    ),
    (
        "Noah, a man with black hair and a yellow jacket, joins Mia at the long table and puts a red notebook on it.",
        " Mia: red hair, blue sweater, green hat.",
        [(2, "Noah", ["black hair", "yellow jacket"]), (1, "Mia", []), (3, "red notebook", ["red"])],
        "#d9c7a8",
    ),
    (
        "Noah reads alone while the rain runs down the windows.",
        " Noah: black hair, yellow jacket.",
        [(2, "Noah", [])],
        "#9fb4c7",
    ),
    (
        "The old librarian Mr. Okafor, with grey hair and a purple coat, crosses the hall.",
        "",
        [(4, "Mr. Okafor", ["grey hair", "purple coat"])],
        "#c9d3b4",
    ),
    ("Mia walks back into the library.", " Mia: red hair, blue sweater, green hat.", [(1, "Mia", [])], "#d9c7a8"),
    (
        "She finds the notebook from before; Mr. Okafor smiles.",
        " Mia: red hair, blue sweater, green hat. Notebook: red. Mr. Okafor: grey hair, purple coat.",
        [(1, "She", []), (3, "notebook", []), (4, "Mr. Okafor", [])],
        "#c9d3b4",
    ),
]


def draw(entities: list[int], place: str, at: float) -> np.ndarray:
    """Draw one picture of a drawn run: who is there, where, at time ``at`` in 0..1 of the prompt."""
    image = Image.new("RGB", (WIDTH * 2, HEIGHT * 2), place)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 168, WIDTH * 2, HEIGHT * 2), fill="#7a5c3e")
    for shelf in range(5):
        pen.rectangle((12 + shelf * 76, 20, 66 + shelf * 76, 110), fill="#8d6b48", outline="#5f452c", width=3)
    for slot, entity in enumerate(entities):
        hair, top, hat = LOOKS[entity][3]
        x = 70 + slot * 110 + 40 * at
        if LOOKS[entity][1] == "object":
            pen.rectangle((x - 22, 176, x + 22, 206), fill=top, outline="#40100f", width=3)
            continue
        pen.rounded_rectangle((x - 26, 108, x + 26, 190), 18, fill=top)
        pen.ellipse((x - 24, 58, x + 24, 110), fill=hair)
        pen.ellipse((x - 17, 70, x + 17, 112), fill="#f0c9a4")
        if hat:
            pen.rectangle((x - 30, 62, x + 30, 70), fill=hat)
            pen.rectangle((x - 19, 40, x + 19, 64), fill=hat)
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def drawn_run(path: Path, chunks_per_prompt: int = 13, prompts: int = 6, finished: bool = True) -> RunFolder:
    """Write the folder of a run of the first ``prompts`` prompts; an unfinished one has a log and nothing else."""
    rng = np.random.default_rng(0)
    folder = RunFolder.create(path)
    folder.append_event(
        {"type": "run", "video_id": path.name, "prompts": [p[0] for p in PROMPTS[:prompts]],
         "chunks_per_prompt": chunks_per_prompt, "chunk_pictures": CHUNK, "width": WIDTH, "height": HEIGHT, "fps": FPS,
         "model": "sketch", "reader": "analyst", "seed": 7, "memory_slots": 3, "seconds": {"load": 0.4}}
    )  # fmt: skip
    archive: dict[str, dict[str, Any]] = {}
    registry: dict[str, dict[str, Any]] = {}
    decisions: list[dict[str, Any]] = []
    memory: list[str] = []
    writer = GrowingVideo(folder.film, WIDTH, HEIGHT, FPS)
    places = [(p, c) for p in range(prompts) for c in range(chunks_per_prompt)]
    for index, (p, c) in enumerate(places):
        prompt, added, mentions, place = PROMPTS[p]
        who = [mention[0] for mention in mentions]
        if c == 0:
            entities = [{"entity": e, "kind": LOOKS[i][1], "attrs": a, "global_id": i} for i, e, a in mentions]
            for i, entity, attrs in mentions:
                member = registry.setdefault(
                    str(i), {"name": LOOKS[i][0], "all_entities": [], "all_attrs": [], "instances": []}
                )
                member["all_entities"] += [entity] if entity not in member["all_entities"] else []
                member["all_attrs"] += [a for a in attrs if a not in member["all_attrs"]]
                member["instances"].append({"prompt_id": p + 1, "entity": entity, "attrs": attrs})
            if p:
                fitting = [f for f in archive if set(archive[f]["associated_entities"]) & set(who)]
                memory = sorted(fitting, key=lambda f: -archive[f]["score"])[:3]
            decisions.append({"prompt_id": p + 1, "prompt": prompt, "entities": entities})
            folder.append_event(
                {"type": "prompt", "prompt_id": p + 1, "prompt": prompt, "text": prompt + added, "entities": entities,
                 "memory": memory, "reader": "analyst", "seconds": {"parse": 0.021}}
            )  # fmt: skip
        writer.add(np.stack([draw(who, place, (c * CHUNK + n) / (chunks_per_prompt * CHUNK)) for n in range(CHUNK)]))
        attended = list(memory)
        evicted = index - 2 if index >= 2 else None
        kept, scores = None, {}
        if evicted is not None and rng.random() < 0.8:
            born_p, born_c = places[evicted]
            visible = [mention[0] for mention in PROMPTS[born_p][2]]
            kept = f"p{born_p + 1}_c{born_c + 1}_f{int(rng.integers(3))}"
            scores = {str(i): round(float(rng.uniform(0.45, 0.97)), 3) for i in visible}
            Image.fromarray(draw(visible, PROMPTS[born_p][3], born_c / chunks_per_prompt)).save(
                folder.frames / f"{kept}.png"
            )
            archive[kept] = {"frame_path": f"frames/{kept}.png", "prompt_id": born_p + 1,
                             "associated_entities": visible, "score": max(scores.values()),
                             "entity_scores": scores}  # fmt: skip
            for i in visible:
                mine = sorted(
                    (f for f in archive if i in archive[f]["associated_entities"]), key=lambda f: -archive[f]["score"]
                )
                for name in mine[3:]:
                    archive.pop(name)
                    (folder.frames / f"{name}.png").unlink()
            if set(visible) & set(who):
                memory = sorted({*memory, kept} & set(archive), key=lambda f: -archive[f]["score"])[:3]
        seconds = {
            "denoise": 0.36 * rng.uniform(0.95, 1.1), "clean": 0.09 * rng.uniform(0.9, 1.1),
            "bank": 0.02 * rng.uniform(0.5, 1.5), "decode": 0.06 * rng.uniform(0.9, 1.2),
            "encode": 0.014 * rng.uniform(0.9, 1.3),
        }  # fmt: skip
        if index == 0:
            seconds["denoise"] = 1.9
        folder.append_event(
            {"type": "chunk", "index": index, "prompt_id": p + 1, "chunk_id": c + 1, "evicted": evicted,
             "kept_frame": kept, "kept_scores": scores, "memory": attended, "memory_next": list(memory),
             "seconds": seconds}
        )  # fmt: skip
    if not finished:
        writer.abort()
        return folder
    writer.close()
    folder.write_json(folder.llm_agent, decisions)
    folder.write_json(
        folder.memory_bank,
        {"global_registry": registry, "frame_archive": archive, "frame_active_memory": memory, "prompts": {}},
    )
    folder.write_json(
        folder.run, {"video_id": path.name, "model": "sketch", "seed": 7, "config": {}, "seconds": {"total": 45.2}}
    )
    folder.append_event({"type": "done", "status": "done"})
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of three prompts with four chunks each; tests read it and change nothing."""
    return drawn_run(tmp_path_factory.mktemp("runs") / "library", chunks_per_prompt=4, prompts=3)


if __name__ == "__main__":
    sys.stdout.write(f"{write_report(drawn_run(Path(sys.argv[1])))}\n")
