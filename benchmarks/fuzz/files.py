"""Any file of a campaign, from its seed and its number."""

import gzip
from dataclasses import replace

import numpy as np

# Both enter their cases in `HOSTILE`.
from benchmarks.fuzz import hostile_parquet as hostile_parquet
from benchmarks.fuzz import hostile_text as hostile_text
from benchmarks.fuzz.case import FuzzCase
from benchmarks.fuzz.hostile import HOSTILE, hostile
from benchmarks.fuzz.mutations import mutate, splice
from benchmarks.fuzz.parquet import draw_parquet, lie
from benchmarks.fuzz.shapes import draw_shape
from benchmarks.fuzz.text import draw_text
from perennial.storage.reading.formats import FORMATS
from perennial.storage.reading.settings import IngestSettings

_PARQUET_SHARE = 0.3
_SHAPE_SHARE = 0.25
_SOUND_SHARE = 0.35


def make_case(seed: int, number: int) -> FuzzCase:
    """The file of a number: first the named cases, then drawn and damaged ones.

    The same seed and number give the same file, whatever came before.
    """
    if number < len(HOSTILE):
        return hostile(list(HOSTILE)[number])
    rng = np.random.default_rng([seed, number])
    case = _draw(rng)
    if rng.random() >= _SOUND_SHARE:
        case = damage(case, rng)
    elif not case.name.endswith("parquet") and rng.random() < 0.3:
        case = replace(case, name=f"{case.name}.gz", content=_pack(case.content, rng))
    name = case.name.replace("drawn", f"{case.origin}-{number}")
    # Before identifiers with a type, others are refused as late as in the transaction.
    if rng.random() < 0.15:
        return replace(case, name=name, typed_store=True, must=None)
    return replace(case, name=name)


def damage(case: FuzzCase, rng: np.random.Generator) -> FuzzCase:
    """The file after one mishap or several, read as what it is or as something else."""
    content, name = case.content, case.name
    is_parquet = name.endswith("parquet")
    if is_parquet and rng.random() < 0.6:
        content = lie(content, rng)
    elif rng.random() < 0.1:
        content = splice(content, _draw(rng).content, rng)
    else:
        content = mutate(content, rng)
    if not is_parquet and rng.random() < 0.25:
        content, name = _pack(content, rng), f"{name}.gz"
        content = mutate(content, rng) if rng.random() < 0.5 else content
    settings = IngestSettings(
        format=str(rng.choice(list(FORMATS))) if rng.random() < 0.08 else None,
        user_column=str(rng.choice(["1", "user_id", "", "\0"])) if rng.random() < 0.05 else None,
        max_reject_share=float(rng.choice([0.05, 0.5, 1.0])),
    )
    return replace(
        case, content=content, name=name, origin="damaged", settings=settings, pairs=None, must=None
    )


def _draw(rng: np.random.Generator) -> FuzzCase:
    kind = rng.random()
    if kind < _PARQUET_SHARE:
        return draw_parquet(rng)
    return draw_shape(rng) if kind < _PARQUET_SHARE + _SHAPE_SHARE else draw_text(rng)


def _pack(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes as gzip, in one member or two, with the padding that tapes leave."""
    cut = int(rng.integers(0, len(content) + 1)) if rng.random() < 0.3 else len(content)
    level = int(rng.integers(0, 10))
    parts = [content[:cut], content[cut:]] if cut < len(content) else [content]
    packed = b"".join(gzip.compress(part, level, mtime=0) for part in parts)
    return packed + (b"\0" * 16 if rng.random() < 0.1 else b"")
