"""Generates appliance/pb/ from proto/: `python proto/generate.py`, or with --check fails if it would change.

protoc derives Python's import paths from the proto's own path (appliance/v1, inference), which is no place
for code; so the output goes to a temporary directory first and its imports are pointed at appliance.pb.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTO_ROOT = Path(__file__).resolve().parent
OUTPUT = PROTO_ROOT.parent / "appliance" / "pb"
PACKAGES = ("appliance/v1", "inference")
INIT = '"""Generated from proto/ by proto/generate.py; do not edit."""\n'


def generate() -> dict[str, str]:
    """File name → text of every generated module."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # protoc-gen-mypy
    well_known = resources.files("grpc_tools") / "_proto"
    sources = sorted(
        str(path.relative_to(PROTO_ROOT))
        for package in PACKAGES
        for path in (PROTO_ROOT / package).glob("*.proto")
    )
    with tempfile.TemporaryDirectory() as directory:
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={PROTO_ROOT}",
                f"--proto_path={well_known}",
                f"--python_out={directory}",
                f"--grpc_python_out={directory}",
                f"--mypy_out=quiet:{directory}",
                f"--mypy_grpc_out=quiet:{directory}",
                *sources,
            ]
        )
        if status != 0:
            raise SystemExit(f"expected protoc to succeed and got exit status {status}")
        texts = {
            path.name: repoint(path.read_text(), package)
            for package in PACKAGES
            for path in sorted((Path(directory) / package).glob("*.py*"))
            if has_content(path, package)
        }
    return {"__init__.py": INIT} | texts


def repoint(text: str, package: str) -> str:
    """Imports of the package's own modules, from where they will lie."""
    return text.replace(f"from {package.replace('/', '.')} import ", "from appliance.pb import ")


def has_content(path: Path, package: str) -> bool:
    """False for the service modules that protoc writes for a file without services."""
    source = PROTO_ROOT / package / (path.name.split("_pb2")[0] + ".proto")
    return "_pb2_grpc" not in path.name or "\nservice " in source.read_text()


def main() -> int:
    """Write the files, or compare them with --check; the exit status."""
    wanted = generate()
    if "--check" in sys.argv[1:]:
        present = {path.name: path.read_text() for path in OUTPUT.glob("*.py*")}
        stale = sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))
        print(f"stale: {', '.join(stale)}; run python proto/generate.py" if stale else "stubs are up to date")
        return 1 if stale else 0
    OUTPUT.mkdir(exist_ok=True)
    for path in OUTPUT.glob("*.py*"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (OUTPUT / name).write_text(text)
    print(f"wrote {len(wanted)} files to {OUTPUT.relative_to(PROTO_ROOT.parent)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
