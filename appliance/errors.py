"""The one error tree of the daemon; it knows no transport (rpc/ maps it to gRPC statuses).

ApplianceError
├── InvalidInput            the caller's bytes or numbers are wrong; sending them again will not help
│   ├── EmptyInput              no bytes at all
│   ├── UnsupportedFormat       the bytes are no image that we read
│   ├── CorruptImage            the right kind of bytes, but truncated or broken
│   ├── ImageTooLarge           more bytes, pixels or a longer side than the limit
│   ├── ImageTooSmall           a side shorter than the limit
│   ├── DtypeMismatch           raw pixels: size of the bytes, dtype and shape do not agree
│   ├── NonFinitePixels         NaN or infinity among the pixels
│   ├── DecodeTimeout           the image needs more time to decode than one may
│   ├── UnsuitableImage         a readable image without what the pipeline looks for (blank field, no spread)
│   ├── WrongImage              not the image that the result was made from
│   └── EditRefused             a set of edits that contradicts itself or names what is not there
├── NotFound                no such result, model or case
├── AlreadyExists           the name is taken
├── NotAllowed              the caller may not do this
├── WrongState              not as things stand now: the case is closed
├── Conflict                somebody else changed it meanwhile; read it again, then decide
├── NotAuthenticated        the caller has not said who they are, or with a token that is not known
├── NotOffered              this box does not do this, whoever asks
├── LimitExceeded           a bounded queue or table is full; try again later (carries retry_after_s)
├── DeadlineExceeded        the caller's time ran out before the work was done
├── Cancelled               the caller hung up
├── Unavailable             a part the request needs is not there now; try again
│   ├── ModelUnavailable        no engine is ready for the role
│   ├── StorageUnavailable      the result could not be made durable (disk full, database damaged)
│   └── SourceUnavailable       a source of releases is not reachable, or broke off
├── PackRejected            a model pack that must not be loaded (hash, contract, labels, size)
├── ReleaseRefused          a model release that must not be installed (signature, expiry, older, gate)
├── ConfigurationError      the configuration file or a command-line value is wrong
└── InferenceFailed         the engine failed on a valid input: our fault, logged with an id
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Root of every error that the daemon raises on purpose; its text is fit for the caller's eyes."""


class InvalidInput(ApplianceError):
    """The caller's bytes or numbers are wrong; sending them again will not help."""


class EmptyInput(InvalidInput):
    """No bytes at all."""


class UnsupportedFormat(InvalidInput):
    """The bytes are no image that we read."""


class CorruptImage(InvalidInput):
    """The right kind of bytes, but truncated or broken."""


class ImageTooLarge(InvalidInput):
    """More bytes, more pixels or a longer side than the configured limit."""


class ImageTooSmall(InvalidInput):
    """A side shorter than the configured limit."""


class DtypeMismatch(InvalidInput):
    """Raw pixels: the size of the bytes, the dtype and the shape do not agree."""


class NonFinitePixels(InvalidInput):
    """NaN or infinity among the pixels."""


class DecodeTimeout(InvalidInput):
    """The image needs more time to decode than the configured limit, whatever the caller's deadline."""


class UnsuitableImage(InvalidInput):
    """A readable image without what the pipeline looks for (a blank field, no metaphase spread)."""


class WrongImage(InvalidInput):
    """Not the image that the result was made from."""


class EditRefused(InvalidInput):
    """A set of edits that contradicts itself or names what is not there; none of it was done."""


class NotFound(ApplianceError):
    """No such result, model or case."""


class AlreadyExists(ApplianceError):
    """The name is taken."""


class NotAllowed(ApplianceError):
    """The caller may not do this."""


class WrongState(ApplianceError):
    """Not as things stand now, for example because the case is closed."""


class Conflict(ApplianceError):
    """Somebody else changed it meanwhile; read it again, then decide."""


class NotAuthenticated(ApplianceError):
    """The caller has not said who they are, or with a token that is not known."""


class NotOffered(ApplianceError):
    """This box does not do this, whoever asks."""


class LimitExceeded(ApplianceError):
    """A bounded queue or table is full; trying again later can work."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ApplianceError):
    """The caller's time ran out before the work was done."""


class Cancelled(ApplianceError):
    """The caller hung up."""


class Unavailable(ApplianceError):
    """A part that the request needs is not there now; trying again can work."""


class ModelUnavailable(Unavailable):
    """No engine is ready for the role."""


class StorageUnavailable(Unavailable):
    """The result could not be made durable (disk full, database damaged)."""


class SourceUnavailable(Unavailable):
    """A source of releases is not reachable, or broke off; asking again can work."""


class ReleaseRefused(ApplianceError):
    """A model release that must not be installed: unsigned, expired, older, unsuitable, or failed the
    gate.
    """


class PackRejected(ApplianceError):
    """A model pack that must not be loaded: hash, contract, labels or size are wrong."""


class ConfigurationError(ApplianceError):
    """The configuration file or a command-line value is wrong."""


class InferenceFailed(ApplianceError):
    """The engine failed on a valid input: our fault, logged with an id."""
