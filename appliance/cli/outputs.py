"""The files that an analysis leaves: the reply as JSON, and its pictures beside it."""

from __future__ import annotations

import copy
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from appliance.pb import analysis_pb2, chest_xray_pb2, karyotype_pb2

Reply = karyotype_pb2.AnalyzeMetaphaseResponse | chest_xray_pb2.AnalyzeChestXrayResponse


def to_json(message: Message) -> str:
    """Protobuf's JSON form, with fields at their default value written as well."""
    return MessageToJson(message, always_print_fields_with_no_presence=True, ensure_ascii=False)


def write_outputs(reply: Reply, folder: Path, name: str) -> list[Path]:
    """Write NAME.json and the pictures that the reply carries; the files written."""
    pictures = {
        f"{name}.overlay.png": reply.renderings.overlay_png,
        f"{name}.karyogram.png": reply.renderings.karyogram_png,
        f"{name}.karyogram.svg": reply.renderings.karyogram_svg,
        f"{name}.karyogram.pdf": reply.renderings.karyogram_pdf,
        f"{name}.sr.dcm": reply.renderings.structured_report_dicom,
        f"{name}.sc.dcm": reply.renderings.secondary_capture_dicom,
    }
    numbers = copy.deepcopy(reply)
    numbers.ClearField("renderings")  # they are files of their own
    contents = {f"{name}.json": to_json(numbers).encode()} | {n: png for n, png in pictures.items() if png}
    for file_name, content in contents.items():
        write_atomically(folder / file_name, content)
    return [folder / file_name for file_name in contents]


def write_pictures(renderings: analysis_pb2.Renderings, folder: Path, name: str) -> None:
    """Write NAME.karyogram.png and NAME.overlay.png, those that there are."""
    for kind, png in (("karyogram", renderings.karyogram_png), ("overlay", renderings.overlay_png)):
        if png:
            write_atomically(folder / f"{name}.{kind}.png", png)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none: a temporary one, synced, then renamed."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp's files are for their owner alone
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name for each input's outputs, all different, without regard to case.

    The file's stem where no other input has the same one; else with the folder and the suffix; else numbered.
    """
    candidates = [[path.stem, path.name, f"{path.absolute().parent.name}-{path.name}"] for path in paths]
    names = [choices[0] for choices in candidates]
    for level in (1, 2):
        crowded = _repeated(names)
        names = [
            choices[level] if name.casefold() in crowded else name
            for name, choices in zip(names, candidates, strict=True)
        ]
    taken: set[str] = set()
    for index, name in enumerate(names):
        unique, number = name, 2
        while unique.casefold() in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique.casefold())
        names[index] = unique
    return names


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, times in Counter(name.casefold() for name in names).items() if times > 1}
