"""Stream a folder of metaphase images to an appliance as one case, and show what it says as cells come in.

    python examples/microscope_client.py slides/7 --reference "box 7" --output karyograms/

A microscope's own software would do the same with images from its camera: open a case, add a spread after
each image, show what is still needed, stop when nothing is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.client import ApplianceClient, CallError, CaseClient
from appliance.client.credentials import read_token
from appliance.errors import ApplianceError
from appliance.pb import analysis_pb2, case_pb2

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".dcm"}
REQUEST_S = 120.0


def images(folder: Path) -> Iterator[Path]:
    """The folder's images by name, as a camera would number them."""
    yield from sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def add(cases: CaseClient, case_id: str, path: Path, output: Path | None) -> case_pb2.AddSpreadResponse:
    """Send one image; the reply says what this cell is, and what the case says with it."""
    reply = cases.add(
        case_pb2.AddSpreadRequest(
            case_id=case_id,
            encoded=path.read_bytes(),
            request_id=path.name[:128],
            render=analysis_pb2.RenderOptions(karyogram=output is not None),
            priority=analysis_pb2.PRIORITY_INTERACTIVE,
        ),
        REQUEST_S,
    )
    if output is not None:
        (output / f"{path.stem}.karyogram.png").write_bytes(reply.renderings.karyogram_png)
    return reply


def bar(done: int, all_of_them: int, width: int = 24) -> str:
    """Progress as text."""
    full = width * done // max(all_of_them, 1)
    return f"[{'#' * full}{'.' * (width - full)}] {done}/{all_of_them}"


def describe(summary: case_pb2.CaseSummary) -> list[str]:
    """The end of the case in sentences."""
    lines = [
        f"cells: {summary.counted.cells} counted, {summary.analysed.cells} analysed,"
        f" {summary.karyotyped.cells} karyotyped"
    ]
    lines += [f"line {line.karyotype or line.words}: {len(line.spreads)} cells" for line in summary.lines]
    if summary.HasField("excluded_share"):
        lines.append(f"mosaicism of {summary.excluded_share:.1%} and more is excluded at 95 %")
    lines += [f"note: {remark}" for remark in summary.remarks]
    lines += [f"needed: {need.words}" for need in summary.needs]
    lines.append(f"karyotype: {summary.iscn or 'none stated: ' + summary.iscn_withheld_reason}")
    return lines


def stream(cases: CaseClient, paths: list[Path], reference: str, output: Path | None) -> int:
    """Open a case, add every image, close it; the number of images that could not be added."""
    case_id = cases.open(case_pb2.OpenCaseRequest(reference=reference)).line.case_id
    print(f"case {case_id}")
    failed = 0
    for number, path in enumerate(paths, 1):
        began_s = time.perf_counter()
        try:
            reply = add(cases, case_id, path, output)
        except CallError as exc:
            failed += 1
            words = f"not added: {exc}"
        else:
            spread = reply.spread
            words = f"{spread.count} chromosomes, {spread.iscn or spread.iscn_withheld_reason}"
        print(f"{bar(number, len(paths))} {path.name}: {words} ({time.perf_counter() - began_s:.1f} s)")
    case = cases.close(case_id)
    print("\n".join(describe(case.summary)))
    print(case.notice)
    return failed


def main(words: list[str] | None = None) -> int:
    """The command line; exit status 1 if an image could not be added."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="images of the cells of one person")
    parser.add_argument("--server", default="127.0.0.1:8001", help="HOST:PORT or unix:/PATH")
    parser.add_argument("--reference", default="", help="your own reference; no patient data")
    parser.add_argument("--output", type=Path, help="folder for the karyograms")
    parser.add_argument(
        "--token-file", type=Path, help="a file with your token, where the appliance wants one"
    )
    given = parser.parse_args(words)
    paths = list(images(given.folder))
    if not paths:
        print(f"there is no image in {given.folder}", file=sys.stderr)
        return 1
    if given.output is not None:
        given.output.mkdir(parents=True, exist_ok=True)
    try:
        token = read_token(given.token_file) if given.token_file else None
        with ApplianceClient(given.server, token) as client:
            return 1 if stream(CaseClient(client), paths, given.reference, given.output) else 0
    except ApplianceError as exc:
        print(exc, file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
