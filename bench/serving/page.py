"""What `bench.serving` found, as a section of docs/performance.md and as two ratios for the README."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.serving.contenders import CONTENDERS
from bench.serving.payloads import PAYLOADS

BEGIN, END = "<!-- serving: make performance -->", "<!-- end of serving -->"
HEADLINE = "uint8"
TITLES = {one.name: one.title for one in CONTENDERS}
Tree = dict[str, Any]

SERVING_CONDITIONS = """\
One model file (a factory pack's ONNX graph, INT8) in OpenVINO everywhere, prepared in the same way; the same
cores for servers and clients; one stock client, tritonclient over gRPC, in closed loops (Ray Serve answers it
through its gRPC proxy; Triton is the server in PyTriton's wheel). Who is not being measured stands still. The
JPEG is a phantom film of 2048 × 2048 pixels: the peers decode, scale, infer and suppress with OpenCV in their
handlers and answer with boxes; ours also checks the file in a process apart, commits the result to disk and
answers with the complete JSON. Latency is what the client sees. Server CPU is the processor time of all
processes of the server for one request, memory their proportional set size. The bare engine computes in the
process that asks: with more clients than streams its latency is waiting. Ours computes one call at a time on
both cores by default; `two streams` is `inference.streams = 2`, which computes two on one core each."""


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
    ]


def verdict(row: Tree) -> str:
    """Whether a row keeps its target, in words."""
    if row["target"] is None:
        return ""
    relation, limit = row["target"].split()
    met = row["value"] <= float(limit) if relation == "<=" else row["value"] >= float(limit)
    words = "at most" if relation == "<=" else "at least"
    return f"{words} {limit}: {'met' if met else '**missed**'}"


def section(tree: Tree) -> str:
    """The part of docs/performance.md about serving: against the bare engine and the peers."""
    against_bare = [row for row in tree["rows"] if "bare engine" in row["name"]]
    against_peers = [row for row in tree["rows"] if "best peer" in row["name"]]
    met = sum("missed" not in verdict(row) for row in against_peers)
    instances = tree["instances_of_each_peer"]
    lines = ["## Serving", "", "`make bench-serving`. " + where(tree), ""]
    lines.append(f"{SERVING_CONDITIONS} Each peer runs {instances} copies of the model.")
    if any(len(cell.get("per_second_repeats", ())) == 1 for cell in tree["cells"]):
        lines += [
            "",
            "**One window a cell, beside other work on the same cores: an order of size, no verdict.**",
        ]
    lines += ["", "### Against the bare engine", ""]
    lines += table(
        ("what", "measured", "windows from … to", "target"),
        [
            (row["name"], number(row), f"{row['low']:.2f} … {row['high']:.2f}", verdict(row))
            for row in against_bare
        ],
    )
    lines += [
        "### Against the peers",
        "",
        f"Ours is better in {met} of {len(against_peers)} comparisons with the best peer.",
        "",
    ]
    lost = [row for row in against_peers if "missed" in verdict(row)]
    if lost:
        lines += table(("lost", "ratio"), [(row["name"], f"{row['value']:.2f}") for row in lost])
    for name, payload in PAYLOADS.items():
        cells = [cell for cell in tree["cells"] if cell["payload"] == name]
        if not cells:
            continue
        lines += [f"### {payload.title}", ""]
        head = (
            "who",
            "clients",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "answers/s",
            "server CPU ms",
            "memory MB",
            "n",
        )
        lines += table(head, [cell_line(cell) for cell in sorted(cells, key=lambda one: one["clients"])])
        absent = tree["absent"].get(name, {})
        lines += [f"Not measured: {TITLES[who]}: {why}." for who, why in absent.items()] + [""] * bool(absent)
    return "\n".join(lines).rstrip() + "\n"


def cell_line(cell: Tree) -> tuple[str, ...]:
    """One cell of the comparison."""
    return (
        TITLES[cell["contender"]],
        str(cell["clients"]),
        f"{cell['p50_ms']:.1f}",
        f"{cell['p95_ms']:.1f}",
        f"{cell['p99_ms']:.1f}",
        f"{cell['per_second']:.1f}",
        f"{cell['server_cpu_ms']:.1f}",
        f"{cell['resident_mb']:.0f}",
        str(cell["n"]),
    )


def number(row: Tree) -> str:
    """A value with its unit, whole numbers as such."""
    digits = 0 if row["value"] == int(row["value"]) else 2
    return f"{row['value']:,.{digits}f} {row['unit']}".strip()


def where(tree: Tree) -> str:
    """The machine and the commit."""
    one = tree["machine"]
    return (
        f"{one['cores']} cores of {one['processor']}, {one['memory_gib']:g} GiB, {one['system']}, Python"
        f" {one['python']}; commit `{tree['commit']}`; load average"
        f" at the end {one['load_before']:g}."
    )


def headline(tree: Tree) -> str:
    """Two ratios for the README."""
    title = PAYLOADS[HEADLINE].title
    bare = [
        row
        for row in tree["rows"]
        if row["name"].startswith(f"{title}: throughput") and "/ bare" in row["name"]
    ]
    peers = [
        row
        for row in tree["rows"]
        if row["name"].startswith(f"{title}: throughput of {TITLES['ours-tcp']} / best peer")
    ]
    if not bare or not peers:
        return ""
    best, peer = max(bare, key=lambda row: float(row["value"])), peers[-1]
    return "\n".join(
        [
            f"Serving ({title}, [docs/performance.md](docs/performance.md)):",
            "",
            *table(
                ("", "measured"),
                [
                    (str(row["name"]).removeprefix(f"{title}: "), f"{row['value']:.2f} ×")
                    for row in (best, peer)
                ],
            )[:-1],
        ]
    )


def with_headline(readme: str, text: str) -> str:
    """The README with what stands between the two marks replaced; ValueError if a mark is missing."""
    before, mark, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"expected {BEGIN} and {END} in the README and got no such place")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
