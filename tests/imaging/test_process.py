"""The worker processes: bounded, confined, replaced after a crash or a hang, gone after close."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.clock import Deadline
from appliance.errors import (
    CorruptImage,
    DeadlineExceeded,
    DecodeTimeout,
    ImageTooLarge,
    LimitExceeded,
    Unavailable,
)
from appliance.imaging import ImageDecoder, ImageLimits, encode_png, process
from appliance.imaging import decoder as decoder_module
from appliance.imaging.process import DecoderProcess

REPOSITORY = Path(__file__).resolve().parents[2]


def children() -> set[int]:
    """Process ids of our decoder workers, dead ones that nobody reaped included."""
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in listed for pid in task.read_text().split()}


@pytest.fixture
def png(grey: NDArray[np.uint8]) -> bytes:
    return encode_png(grey)


def test_a_worker_is_reused(png: bytes) -> None:
    with ImageDecoder() as decoder:
        assert decoder.worker_pids == ()
        decoder.decode(png)
        (first,) = decoder.worker_pids
        for _ in range(5):
            decoder.decode(png)
        assert decoder.worker_pids == (first,)


def test_refusing_an_image_does_not_cost_the_worker(png: bytes) -> None:
    with ImageDecoder() as decoder:
        decoder.warm_up()
        before = decoder.worker_pids
        broken = png[:60] + bytes([png[60] ^ 0xFF]) + png[61:]
        with pytest.raises(CorruptImage, match="truncated or broken"):
            decoder.decode(broken)
        assert decoder.worker_pids == before


def test_a_crash_costs_one_worker_and_one_answer(png: bytes) -> None:
    with ImageDecoder(max_workers=1) as decoder:
        decoder.warm_up()
        (victim,) = decoder.worker_pids
        os.kill(victim, signal.SIGSTOP)  # holds the image still, so that the crash comes in the midst of it
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(decoder.decode, png)
            while decoder.worker_pids:  # taken out of the idle ones: the image is on its way
                pass
            os.kill(victim, signal.SIGSEGV)
            os.kill(victim, signal.SIGCONT)
            with pytest.raises(CorruptImage, match="ended its decoder process"):
                answer.result(timeout=10)
        assert decoder.worker_pids != (victim,)
        assert decoder.decode(png).width == 70
        assert victim not in children()


def test_a_hang_is_killed_at_the_decode_time(png: bytes) -> None:
    with ImageDecoder(ImageLimits(decode_time_s=0.3), max_workers=1) as decoder:
        decoder.warm_up()
        (victim,) = decoder.worker_pids
        os.kill(victim, signal.SIGSTOP)
        with pytest.raises(DecodeTimeout, match=r"within 0\.3 s"):
            decoder.decode(png)
        assert victim not in children()
        assert decoder.worker_pids not in ((), (victim,))


def test_the_callers_deadline_is_another_error(png: bytes) -> None:
    with ImageDecoder(max_workers=1) as decoder:
        decoder.warm_up()
        (victim,) = decoder.worker_pids
        os.kill(victim, signal.SIGSTOP)
        with pytest.raises(DeadlineExceeded, match="while the image was decoded"):
            decoder.decode(png, Deadline.after(0.01))
        assert victim not in children()


def test_a_deadline_that_has_passed_starts_nothing(png: bytes) -> None:
    with ImageDecoder() as decoder:
        with pytest.raises(DeadlineExceeded):
            decoder.decode(png, Deadline.after(-1))
        assert decoder.worker_pids == ()


def test_a_short_deadline_does_not_cost_the_worker(png: bytes) -> None:
    with ImageDecoder(max_workers=1) as decoder:
        decoder.warm_up()
        before = decoder.worker_pids
        outcomes = set()
        for _ in range(20):
            try:
                decoder.decode(png, Deadline.after(0.0005))
                outcomes.add("in time")
            except DeadlineExceeded:
                outcomes.add("late")
        assert "late" in outcomes
        assert decoder.worker_pids == before


def test_a_worker_that_died_idle_is_replaced_unnoticed(png: bytes) -> None:
    with ImageDecoder() as decoder:
        decoder.warm_up()
        (victim,) = decoder.worker_pids
        os.kill(victim, signal.SIGKILL)
        os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
        assert decoder.decode(png).width == 70
        assert victim not in children()


def test_no_more_workers_than_allowed(png: bytes) -> None:
    with ImageDecoder(max_workers=2) as decoder, ThreadPoolExecutor(8) as pool:
        before = children()
        images = list(pool.map(decoder.decode, [png] * 60))
        assert len(images) == 60
        assert 1 <= len(decoder.worker_pids) <= 2
        assert len(children() - before) <= 2


def test_all_workers_busy_for_too_long(png: bytes) -> None:
    limits = ImageLimits(decode_time_s=0.3)
    with ImageDecoder(limits, max_workers=1) as decoder:
        decoder.warm_up()
        os.kill(decoder.worker_pids[0], signal.SIGSTOP)
        entered = threading.Barrier(2)

        def ask() -> str:
            entered.wait(5)
            try:
                decoder.decode(png, Deadline.after(5))
            except (DecodeTimeout, LimitExceeded) as exc:
                return type(exc).__name__
            return "Image"

        with ThreadPoolExecutor(2) as pool:
            answers = sorted(future.result(timeout=10) for future in [pool.submit(ask), pool.submit(ask)])
        # The second one waits as long as the first one may take, so either order of the two ends is right.
        assert answers in (
            ["DecodeTimeout", "LimitExceeded"],
            ["DecodeTimeout", "Image"],
            ["Image", "LimitExceeded"],
        )


def test_waiting_for_a_turn_ends_with_the_deadline(png: bytes) -> None:
    with ImageDecoder(max_workers=1) as decoder:
        worker = decoder._take(Deadline.never())
        try:
            with pytest.raises(DeadlineExceeded):
                decoder.decode(png, Deadline.after(0.02))
        finally:
            decoder._give_back(worker)


def test_close_leaves_no_process_and_takes_no_image(png: bytes) -> None:
    before = children()
    decoder = ImageDecoder(max_workers=2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decoder.decode, [png] * 10))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    decoder.close()
    assert children() <= before
    assert len(list(Path("/proc/self/fd").iterdir())) < descriptors
    with pytest.raises(Unavailable, match="shut down"):
        decoder.decode(png)
    decoder.close()  # twice is once


def test_workers_are_replaced_after_many_images(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_module, "IMAGES_PER_WORKER", 3)
    with ImageDecoder(max_workers=1) as decoder:
        seen = set()
        for _ in range(9):
            decoder.decode(png)
            seen.update(decoder.worker_pids)
        assert len(seen) == 4
        assert len(children() & seen) == 1


def test_a_worker_that_cannot_start(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.sys, "executable", "/nonexistent/python")
    with ImageDecoder() as decoder, pytest.raises(Unavailable, match="the system refused"):
        decoder.decode(png)


def test_a_worker_that_ends_before_it_is_ready(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.sys, "executable", "/bin/false")
    with ImageDecoder() as decoder, pytest.raises(Unavailable, match="get ready and got status 1"):
        decoder.decode(png)


def test_a_daemon_that_is_killed_leaves_no_worker() -> None:
    code = """
import os, signal
from appliance.imaging import ImageDecoder
decoder = ImageDecoder()
decoder.warm_up()
print(decoder.worker_pids[0], flush=True)
input()
os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        worker = os.pidfd_open(int(daemon.stdout.readline()))
        try:
            daemon.communicate("\n", timeout=30)
            ended, _, _ = select.select([worker], [], [], 10)
        finally:
            os.close(worker)
    assert daemon.returncode == -signal.SIGKILL
    assert ended == [worker]


def test_the_worker_is_confined() -> None:
    limits = ImageLimits()
    worker = DecoderProcess(limits)
    try:
        worker.wait_ready(Deadline.never())
        assert resource.prlimit(worker.pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(worker.pid, resource.RLIMIT_FSIZE) == (0, 0)
        assert resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)[1] <= 64
        memory_bytes = resource.prlimit(worker.pid, resource.RLIMIT_AS)[1]
        assert limits.max_pixels * 8 < memory_bytes < 4 * 2**30
        open_files = [str(path.readlink()) for path in Path(f"/proc/{worker.pid}/fd").iterdir()]
        assert sorted(name.split(":")[0] for name in open_files) == ["/dev/null", "/dev/null", "socket"]
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert b"HOME=" not in environment
    finally:
        worker.stop()


def test_an_image_larger_than_the_workers_memory_is_too_large() -> None:
    small = encode_png(np.zeros((64, 64), np.uint8))
    large = encode_png(np.zeros((8000, 8000), np.uint8))
    with ImageDecoder(max_workers=1) as cramped:
        cramped.warm_up()
        (pid,) = cramped.worker_pids
        used_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        bound = used_bytes + 40 * 2**20
        resource.prlimit(pid, resource.RLIMIT_AS, (bound, bound))
        with pytest.raises(ImageTooLarge, match="in the memory there is"):
            cramped.decode(large)
        assert cramped.decode(small).width == 64
        assert cramped.worker_pids == (pid,)


def test_the_worker_loads_nothing_heavy() -> None:
    code = "import sys, appliance.imaging.worker; print(' '.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "cv2" in loaded
    assert not loaded & {"pydicom", "PIL", "torch", "onnxruntime", "openvino", "grpc", "pydantic", "asyncio"}
