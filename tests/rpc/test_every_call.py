"""The generated base classes refuse every call: each one has to be answered by a class of ours."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import appliance.rpc


def servicers() -> list[tuple[type, type]]:
    """Our servicers, each with the generated class that names its calls."""
    found = []
    for entry in pkgutil.walk_packages(appliance.rpc.__path__, "appliance.rpc."):
        module = importlib.import_module(entry.name)
        for _, ours in inspect.getmembers(module, inspect.isclass):
            bases = [base for base in ours.__mro__[1:] if base.__module__.endswith("_pb2_grpc")]
            if ours.__module__ == entry.name and bases:
                found.append((ours, bases[0]))
    return found


def test_no_call_is_left_to_the_generated_class() -> None:
    calls = [(ours, base, name) for ours, base in servicers() for name in vars(base) if name[0].isupper()]
    assert len(servicers()) == 7
    left = [
        f"{ours.__name__}.{name}" for ours, base, name in calls if getattr(ours, name) is getattr(base, name)
    ]
    assert left == []
