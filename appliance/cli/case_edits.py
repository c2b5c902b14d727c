"""Edits as words of a command line, or from a JSON file → messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from google.protobuf.json_format import ParseDict, ParseError

from appliance.pb import review_pb2

MAX_FILE_BYTES = 4 << 20


def read_edits(
    reclassify: Sequence[str],
    rotate: Sequence[str],
    flip: Sequence[int],
    join: Sequence[str],
    delete: Sequence[int],
) -> list[review_pb2.Edit]:
    """The edits that options name.

    Args:
        reclassify: OBJECT=CLASS.
        rotate: OBJECT=DEGREES.
        flip, delete: OBJECT.
        join: OBJECT,OBJECT…=CLASS.

    Raises:
        UsageError: an option has another form.
    """
    edits = []
    for word in reclassify:
        number, label = _pair("--reclassify", word, "OBJECT=CLASS")
        edits.append(
            review_pb2.Edit(
                reclassify=review_pb2.Reclassify(object_id=_object("--reclassify", number), label=label)
            )
        )
    for word in rotate:
        number, degrees = _pair("--rotate", word, "OBJECT=DEGREES")
        turn = review_pb2.Rotate(object_id=_object("--rotate", number), degrees=_degrees(degrees))
        edits.append(review_pb2.Edit(rotate=turn))
    edits += [review_pb2.Edit(flip=review_pb2.Flip(object_id=number)) for number in flip]
    for word in join:
        numbers, label = _pair("--join", word, "OBJECT,OBJECT…=CLASS")
        ids = [_object("--join", number) for number in numbers.split(",")]
        edits.append(review_pb2.Edit(join=review_pb2.Join(object_ids=ids, label=label)))
    edits += [review_pb2.Edit(delete=review_pb2.Delete(object_id=number)) for number in delete]
    return edits


def read_edits_file(path: Path) -> list[review_pb2.Edit]:
    """A JSON list of edits in protobuf's JSON form, for example `[{"flip": {"objectId": 12}}]`.

    Raises:
        ClickException: it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise click.ClickException(f"Expected at most {MAX_FILE_BYTES} bytes of edits in {path}.")
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise click.ClickException(f"Cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise click.ClickException(f"Expected JSON in {path} and got: {exc}") from exc
    if not isinstance(entries, list):
        raise click.ClickException(f"Expected a list of edits in {path}.")
    edits = []
    for number, entry in enumerate(entries, 1):
        try:
            edits.append(ParseDict(entry, review_pb2.Edit()))
        except (ParseError, AttributeError, TypeError) as exc:
            raise click.ClickException(f"Edit {number} in {path} is none: {exc}") from exc
    return edits


def _pair(option: str, word: str, form: str) -> tuple[str, str]:
    left, sign, right = word.partition("=")
    if not sign or not left or not right:
        raise click.UsageError(f"{option} expects {form} and got {word!r}.")
    return left.strip(), right.strip()


def _object(option: str, word: str) -> int:
    if not word.strip().isdecimal() or len(word) > 9:
        raise click.UsageError(f"{option} expects the number of an object and got {word!r}.")
    return int(word)


def _degrees(word: str) -> float:
    try:
        return float(word)
    except ValueError as exc:
        raise click.UsageError(f"--rotate expects degrees and got {word!r}.") from exc
