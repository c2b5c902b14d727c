"""The configuration: one TOML file, every bound named, and defaults that need no file at all."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from appliance.application_entity import parse_ae_title, parse_application_entity, parse_tcp_address
from appliance.callers import CallerRole
from appliance.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MIB = 1 << 20
HOST_AND_PORT = re.compile(r"^(\[[0-9A-Fa-f:.%]+\]|[^\s:/]+):([0-9]{1,5})$")
MAX_UNIX_PATH_BYTES = 107
"""Linux keeps 108 bytes for a Unix socket's path, the last of them zero (unix(7))."""

MAX_CONFIGURATION_BYTES = MIB


def parse_address(text: str) -> str:
    """Accept HOST:PORT or unix:/absolute/path, return it as gRPC wants it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
            raise ValueError(
                f"expected unix: and an absolute path of at most {MAX_UNIX_PATH_BYTES} bytes and got {text!r}"
            )
        return text
    match = HOST_AND_PORT.match(text)
    if match is None or int(match.group(2)) > 65535:
        raise ValueError(f"expected HOST:PORT with a port up to 65535, or unix:/PATH, and got {text!r}")
    return text


def parse_role(text: str) -> str:
    """Accept the name of a caller's role."""
    names = [role.value for role in CallerRole]
    if text not in names:
        raise ValueError(f"expected one of {', '.join(names)} and got {text!r}")
    return text


Address = Annotated[str, AfterValidator(parse_address)]
RoleName = Annotated[str, AfterValidator(parse_role)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=False)


class ServerConfig(_Section):
    """The gRPC server."""

    # beside these the daemon always listens on STATE_DIR/appliance.sock
    listen: Annotated[tuple[Address, ...], Field(max_length=16)] = ("127.0.0.1:8001",)
    workers: Annotated[int, Field(ge=2, le=64)] = 8  # requests handled at a time
    max_waiting: Annotated[int, Field(ge=1, le=1024)] = 32  # further requests accepted beyond the workers
    max_watchers: Annotated[int, Field(ge=1, le=32)] = 4  # open WatchResults streams; each one holds a worker
    # open ModelStreamInfer streams; each one holds a thread of its own
    max_streams: Annotated[int, Field(ge=1, le=64)] = 8
    max_in_flight: Annotated[int, Field(ge=1, le=16)] = 4  # requests of one such stream under way
    max_message_mib: Annotated[int, Field(ge=1, le=1024)] = 80  # largest request or reply
    # longest deadline, also for callers that set none
    max_request_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    max_arrival_s: Annotated[float, Field(gt=0, le=3600)] = 60.0  # how long one request may take to arrive
    # how long a new connection may take to say what it is
    max_handshake_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    # silence of a connection before it is asked whether it lives, and how long it may take to answer
    keepalive_s: Annotated[float, Field(ge=1, le=86400)] = 60.0
    keepalive_timeout_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    drain_s: Annotated[float, Field(ge=0, le=600)] = 20.0  # how long a stop waits for requests under way


class ImagesConfig(_Section):
    """What an image may be."""

    max_mib: Annotated[int, Field(ge=1, le=1024)] = 64  # encoded or raw
    max_megapixels: Annotated[float, Field(gt=0, le=1024)] = 64.0
    max_side_px: Annotated[int, Field(ge=64, le=65535)] = 16384
    min_side_px: Annotated[int, Field(ge=1, le=4096)] = 32
    max_decode_s: Annotated[float, Field(gt=0, le=60)] = 4.0
    decoders: Annotated[int, Field(ge=1, le=16)] = 2  # processes that decode, each apart from the daemon


class InferenceConfig(_Section):
    """Queues and engines."""

    queue_capacity: Annotated[int, Field(ge=1, le=1024)] = 32  # requests that wait for one model
    # largest size of a dynamic dimension in a raw tensor (Open Inference Protocol)
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 128
    batch_rows: Annotated[int, Field(ge=1, le=4096)] = 16  # most rows that calls are put together to
    batch_delay_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0  # how long two or more wait for others
    # after so long behind more urgent ones a call goes first, one in as long a time
    passed_over_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    threads: Annotated[int, Field(ge=0, le=256)] = 0  # CPU threads of one engine; 0: every core it may use
    streams: Annotated[int, Field(ge=1, le=64)] = (
        1  # engine calls that compute at a time, sharing the threads
    )
    engine: Annotated[str, Field(pattern="^(auto|openvino|onnxruntime|tensorrt)$")] = "auto"
    cache_dir: Path | None = None  # compiled engines; none means STATE_DIR/engines
    cache_max_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 2048  # the engines unused longest go beyond this
    drain_s: Annotated[float, Field(gt=0, le=600)] = 30.0  # how long a swap of models waits for the old one


class RepeatsConfig(_Section):
    """Answers kept for the same question again."""

    max_mib: Annotated[int, Field(ge=0, le=1 << 20)] = 0  # 0 turns it off; analyses and raw tensors each
    max_entries: Annotated[int, Field(ge=1, le=1 << 20)] = 1024  # each


class SharedMemoryConfig(_Section):
    """POSIX shared memory that callers register (Open Inference Protocol)."""

    max_regions: Annotated[int, Field(ge=0, le=4096)] = 64  # 0 turns it off
    max_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 1024  # in all regions together
    max_regions_each: Annotated[int, Field(ge=1, le=4096)] = 32  # of one caller
    max_mib_each: Annotated[int, Field(ge=1, le=1 << 20)] = 512  # in all regions of one caller


class AccessConfig(_Section):
    """Roles of callers who carry no token (`appliance token` makes tokens)."""

    # over the Unix socket and from loopback; everything but taking models in and out over the stock protocol
    local_roles: tuple[RoleName, ...] = ("device", "reviewer", "technician")
    remote_roles: tuple[RoleName, ...] = ()  # from any other address


class ResultsConfig(_Section):
    """The database of results."""

    max_age_days: Annotated[float, Field(gt=0, le=36500)] = 365.0
    max_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 512  # the oldest results go beyond this
    prune_every_s: Annotated[float, Field(gt=0, le=86400)] = 600.0


class CasesConfig(_Section):
    """What is kept of cases."""

    max_open: Annotated[int, Field(ge=1, le=10_000)] = 64  # cases open at a time
    max_spreads: Annotated[int, Field(ge=1, le=1000)] = 200  # of one case
    max_revisions: Annotated[int, Field(ge=1, le=10_000)] = 200  # sets of edits of one spread
    max_edits: Annotated[int, Field(ge=1, le=1000)] = 200  # of one set
    max_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 256  # of all; the oldest closed cases go beyond this
    max_age_days: Annotated[float, Field(gt=0, le=36500)] = 730.0  # since the last change, open or closed


def _same_text(parse: Callable[[str], object]) -> AfterValidator:
    """Accept what `parse` accepts, and keep it as it was written."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


class DicomConfig(_Section):
    """The DICOM node, `appliance dicom serve`."""

    listen: Annotated[str, _same_text(parse_tcp_address)] = "127.0.0.1:11112"
    ae_title: Annotated[str, AfterValidator(parse_ae_title)] = "ANALYZER"
    # nobody else may send films; the node does not start without one
    calling_ae_titles: Annotated[
        tuple[Annotated[str, AfterValidator(parse_ae_title)], ...], Field(max_length=64)
    ] = ()
    destination: Annotated[str, _same_text(parse_application_entity)] | None = None  # AE_TITLE@HOST:PORT
    tls_certificate: Path | None = None  # PEM, with its chain; given, callers have to speak TLS
    tls_key: Path | None = None
    tls_authorities: Path | None = (
        None  # PEM; given, callers have to show a certificate signed by one of them
    )
    destination_tls: bool = False  # deliver over TLS
    max_associations: Annotated[int, Field(ge=1, le=64)] = 4
    associate_s: Annotated[float, Field(gt=0, le=300)] = 10.0  # for a peer to associate
    idle_s: Annotated[float, Field(gt=0, le=3600)] = 60.0  # silence of a peer before it is hung up on
    answer_s: Annotated[float, Field(gt=0, le=300)] = 20.0  # for the daemon, while a sender waits
    max_waiting: Annotated[int, Field(ge=1, le=100_000)] = 500  # films and reports in the queue
    max_waiting_mib: Annotated[int, Field(ge=64, le=1 << 20)] = 2048  # their size
    max_age_hours: Annotated[float, Field(gt=0, le=8760)] = 72.0  # what waits longer is given up
    first_retry_s: Annotated[float, Field(gt=0, le=3600)] = 2.0  # pause after the first failure; it doubles
    longest_retry_s: Annotated[float, Field(gt=0, le=86400)] = 300.0

    @model_validator(mode="after")
    def _consistent(self) -> DicomConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("expected dicom.tls_certificate and dicom.tls_key together and got one of them")
        return self


class LogConfig(_Section):
    """What goes to stderr."""

    format: Annotated[str, Field(pattern="^(auto|human|json)$")] = "auto"  # human on a terminal, else JSON
    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"


class ModelsConfig(_Section):
    """Where model packs lie."""

    directory: Path | None = None  # a folder with one pack per sub-folder; none means the factory packs


class ReleasesConfig(_Section):
    """Model releases: whom to trust, what the gate asks, when a new model counts as confirmed."""

    root: Path | None = None  # TUF root metadata that came with the box; none means that nothing is installed
    group: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = "everyone"
    spare_mib: Annotated[int, Field(ge=0, le=1 << 20)] = 256  # left free on the disk beside a new bundle
    attempts: Annotated[int, Field(ge=1, le=20)] = 5  # for one file of a source
    first_pause_s: Annotated[float, Field(gt=0, le=60)] = 0.5  # before the second attempt; it doubles
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0  # of an https source: connecting, and each read
    tls_authorities: Path | None = None  # PEM; none means the system's
    trial_s: Annotated[float, Field(gt=0, le=86400)] = 1800.0  # longest compiling and longest testing
    margin: Annotated[float, Field(ge=0, le=1)] = 0.02  # non-inferiority, in the metric's own unit
    min_parity: Annotated[float, Field(ge=-1, le=1)] = 0.98  # cosine of INT8 with float arithmetic
    confirm_requests: Annotated[int, Field(ge=1, le=100_000)] = 20
    confirm_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    max_failures: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of engine calls while unconfirmed
    max_slowdown: Annotated[float, Field(ge=1, le=100)] = 2.0  # p95 of live calls over the release's budget
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.8  # of the new model with the one before it
    max_starts: Annotated[int, Field(ge=1, le=100)] = 3  # of the daemon on an unconfirmed model
    shadow_requests: Annotated[int, Field(ge=1, le=100_000)] = 50
    shadow_hours: Annotated[float, Field(gt=0, le=720)] = 24.0


class Config(_Section):
    """The whole configuration."""

    state_dir: Path | None = None  # see `default_state_dir`
    server: ServerConfig = ServerConfig()
    images: ImagesConfig = ImagesConfig()
    inference: InferenceConfig = InferenceConfig()
    repeats: RepeatsConfig = RepeatsConfig()
    shared_memory: SharedMemoryConfig = SharedMemoryConfig()
    access: AccessConfig = AccessConfig()
    results: ResultsConfig = ResultsConfig()
    cases: CasesConfig = CasesConfig()
    models: ModelsConfig = ModelsConfig()
    dicom: DicomConfig = DicomConfig()
    releases: ReleasesConfig = ReleasesConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.server.max_message_mib <= self.images.max_mib:
            raise ValueError(
                f"expected server.max_message_mib above images.max_mib ({self.images.max_mib}), so that an"
                f" image fits into a request, and got {self.server.max_message_mib}"
            )
        if self.images.min_side_px > self.images.max_side_px:
            raise ValueError(
                f"expected images.min_side_px up to images.max_side_px ({self.images.max_side_px})"
                f" and got {self.images.min_side_px}"
            )
        return self

    @property
    def state_directory(self) -> Path:
        """Where the daemon keeps its database, compile cache and socket; absolute."""
        return (self.state_dir or default_state_dir(os.environ, os.geteuid(), Path.home())).absolute()

    @property
    def cache_directory(self) -> Path:
        """Where compiled engines are kept; absolute."""
        return (self.inference.cache_dir or self.state_directory / "engines").absolute()

    @property
    def token_path(self) -> Path:
        """The tokens of callers."""
        return self.state_directory / "tokens.json"

    @property
    def socket_path(self) -> Path:
        """The Unix socket beside the TCP addresses."""
        return self.state_directory / "appliance.sock"


def load_config(path: Path | None = None, **overrides: Any) -> Config:
    """Read a configuration file over the defaults.

    Args:
        path: TOML file; None means the defaults alone.
        overrides: values from the command line that replace the file's: `state_dir`, `cache_dir`, `listen`,
            and `dicom`, a dictionary of that section's keys.

    Raises:
        ConfigurationError: unreadable file, or values that are wrong; all of them in one message.
    """
    tree = _read_toml(path) if path is not None else {}
    if overrides.get("state_dir") is not None:
        tree["state_dir"] = str(overrides["state_dir"])
    if overrides.get("cache_dir") is not None:
        tree["inference"] = {**tree.get("inference", {}), "cache_dir": str(overrides["cache_dir"])}
    if overrides.get("listen"):
        tree["server"] = {**tree.get("server", {}), "listen": list(overrides["listen"])}
    given = {name: value for name, value in overrides.get("dicom", {}).items() if value}
    if given:
        tree["dicom"] = {**tree.get("dicom", {}), **given}
    try:
        return Config.model_validate(tree)
    except ValidationError as exc:
        source = str(path) if path is not None else "the command line"
        mistakes = [f"  {_key(error['loc'])}: {_sentence(error)}" for error in exc.errors()]
        raise ConfigurationError(
            f"{len(mistakes)} mistake{'s' * (len(mistakes) > 1)} in {source}:\n" + "\n".join(mistakes)
        ) from exc


def default_state_dir(environment: os._Environ[str] | dict[str, str], user_id: int, home: Path) -> Path:
    """$STATE_DIRECTORY (systemd), else /var/lib/appliance for root, else ~/.local/state/appliance."""
    given = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if user_id == 0:
        return Path("/var/lib/appliance")
    return Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "appliance"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIGURATION_BYTES:
            raise ConfigurationError(
                f"expected a configuration of at most {MAX_CONFIGURATION_BYTES} bytes and got"
                f" {path.stat().st_size} in {path}"
            )
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError(f"cannot read the configuration {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"expected TOML in {path} and got: {exc}") from exc
    return tree


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "configuration"


def _sentence(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such key"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message if "got" in message else f"{message}, got {error['input']!r}"
