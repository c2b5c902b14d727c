"""`ImageDecoder`: decodes images in a few worker processes, so that no input can take the daemon down.

Native decoders have crashed, hung and eaten memory on malformed files. Here such a file costs one worker
process, which is replaced, and its sender gets an error; see docs/adr/0002-decoding.md.
"""

from __future__ import annotations

import threading
from types import TracebackType

from appliance.clock import Deadline
from appliance.errors import LimitExceeded, Unavailable
from appliance.imaging.image import Image, ImageLimits, MediaType
from appliance.imaging.process import DecoderProcess
from appliance.imaging.raster import read_header
from appliance.imaging.sniffing import sniff

IMAGES_PER_WORKER = 2000  # then it is replaced: a native decoder that leaks, leaks only so much


class ImageDecoder:
    """Encoded bytes → Image in at most `max_workers` processes; safe to use from several threads.

    Workers start when first needed (or by `warm_up`), serve many images, and end with `close`. The size of
    the bytes and the header of a raster file are checked here, before a worker sees them.
    """

    def __init__(self, limits: ImageLimits | None = None, max_workers: int = 2) -> None:
        """Nothing is started yet.

        Args:
            limits: of every input; the defaults of ImageLimits when absent.
            max_workers: processes at most, at least 1; further calls wait for their turn.
        """
        if max_workers < 1:
            raise ValueError(f"expected at least 1 worker and got {max_workers}")
        self.limits = limits or ImageLimits()
        self._turns = threading.Semaphore(max_workers)
        self._lock = threading.Lock()
        self._idle: list[DecoderProcess] = []  # last in, first out: its caches are warm
        self._closed = False

    def decode(self, data: bytes, deadline: Deadline | None = None, for_report: bool = False) -> Image:
        """Decode PNG, JPEG, TIFF, WebP, BMP or DICOM; which of them is told by the bytes alone.

        Args:
            data: one encoded image.
            deadline: when the caller stops waiting; the limits' decode time holds as well.
            for_report: bring the patient's fields of a DICOM film as well, see `FilmReferences`.

        Raises:
            InvalidInput: in one of its forms: EmptyInput, UnsupportedFormat, CorruptImage (also where the
                bytes took a worker down), ImageTooLarge, ImageTooSmall, DecodeTimeout.
            DeadlineExceeded: the caller's deadline passed first.
            LimitExceeded: every worker was busy for the whole decode time.
            Unavailable: the decoder is closed, or no worker can be started on this box.
        """
        deadline = deadline or Deadline.never()
        deadline.check()
        self.limits.check_bytes(len(data))
        media_type = sniff(data)
        if media_type is not MediaType.DICOM:
            read_header(data, media_type, self.limits)
        worker = self._take(deadline)
        try:
            image = worker.decode(data, deadline, for_report)
        finally:
            self._give_back(worker)
        deadline.check()
        return image

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for an image, for a status page."""
        with self._lock:
            return tuple(worker.pid for worker in self._idle)

    def warm_up(self) -> None:
        """Start one worker and wait for it, so that the first image does not.

        Raises:
            Unavailable: no worker can be started on this box.
        """
        worker = self._take(Deadline.never())
        try:
            worker.wait_ready(Deadline.never())
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """End all idle workers now and each busy one as its image is done; no further image is taken."""
        with self._lock:
            self._closed = True
            leaving, self._idle = self._idle, []
        for worker in leaving:
            worker.stop()

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, deadline: Deadline) -> DecoderProcess:
        """A worker of one's own, after waiting for one's turn."""
        wait_s = self.limits.decode_time_s
        if not self._turns.acquire(timeout=max(0.0, min(wait_s, deadline.remaining_s()))):
            deadline.check()
            raise LimitExceeded(f"expected a free image decoder within {wait_s:g} s and all were busy")
        try:
            with self._lock:
                if self._closed:
                    raise Unavailable("expected an open image decoder and got one that is shut down")
                while self._idle:
                    worker = self._idle.pop()
                    if worker.usable:
                        return worker
                    worker.kill()  # it died idle, for example when the whole machine ran out of memory
            return DecoderProcess(self.limits)
        except BaseException:
            self._turns.release()
            raise

    def _give_back(self, worker: DecoderProcess) -> None:
        """Keep the worker for the next image, or start its successor while nobody waits for it."""
        try:
            successor: DecoderProcess | None = worker
            if not worker.usable:
                worker.kill()
                successor = self._start_successor()
            elif worker.images >= IMAGES_PER_WORKER:
                worker.stop()
                successor = self._start_successor()
            with self._lock:
                if not self._closed and successor is not None:
                    self._idle.append(successor)
                    return
            if successor is not None:
                successor.stop()
        finally:
            self._turns.release()

    def _start_successor(self) -> DecoderProcess | None:
        try:
            return DecoderProcess(self.limits)
        except Unavailable:
            return None  # the next image tries again, and says so if that fails too
