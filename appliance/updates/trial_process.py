"""The child of `appliance.updates.trials`: reads one order, compiles or tests one pack, prints what it
measured.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from appliance.config import Config
from appliance.errors import ApplianceError
from appliance.models.opening import engine_opener, engine_order
from appliance.models.pack import ModelPack
from appliance.models.pixels import pixel_input
from appliance.updates.exam import Exam
from appliance.updates.trial import Trial, describe, run_trial
from engines import probe_devices
from engines.errors import EngineError
from engines.options import QuantizedGraph

LOW_PRIORITY = 15


def main() -> None:
    """One order on standard input, one trial on standard output."""
    # runtimes print what they like: the answer goes to the real standard output, everything else to the log
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.read())
    config = Config.model_validate_json(order["config"])
    probe = probe_devices(order=engine_order(config))
    try:
        pack = ModelPack.open(Path(order["pack"]))
        if order["what"] == "compile":
            os.nice(LOW_PRIORITY)
            with engine_opener(config, probe)(pack.model_path, pixel_input(pack.manifest)) as engine:
                trial = Trial(engine=describe(engine))
        else:
            trial = run_trial(
                pack,
                engine_opener(config, probe),
                {name: Exam.read(Path(path)) for name, path in order["exams"].items()},
                engine_opener(config, probe, QuantizedGraph.FLOAT),
                resident_mib,
            )
    except (ApplianceError, EngineError) as exc:
        trial = Trial(fault=str(exc))
    answer.write(trial.to_json() + "\n")
    answer.flush()


def resident_mib() -> float:
    """Resident memory of this process, MiB (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    main()
