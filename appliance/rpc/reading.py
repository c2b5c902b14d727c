"""Request messages → domain values."""

from __future__ import annotations

import base64
import binascii
import json

from appliance.analysis import Modality
from appliance.errors import DtypeMismatch, EmptyInput, InvalidInput
from appliance.imaging import PixelType
from appliance.imaging.page import PageFormat
from appliance.inference import Priority
from appliance.pb import analysis_pb2, case_pb2, chest_xray_pb2, karyotype_pb2, review_pb2
from appliance.results import PageMark
from appliance.service import AnalysisRequest, RawImage

PIXEL_TYPES = {
    analysis_pb2.PIXEL_TYPE_UINT8: PixelType.UINT8,
    analysis_pb2.PIXEL_TYPE_UINT16: PixelType.UINT16,
    analysis_pb2.PIXEL_TYPE_FLOAT32: PixelType.FLOAT32,
}
PRIORITIES = {
    analysis_pb2.PRIORITY_UNSPECIFIED: Priority.ROUTINE,
    analysis_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    analysis_pb2.PRIORITY_ROUTINE: Priority.ROUTINE,
    analysis_pb2.PRIORITY_BATCH: Priority.BATCH,
    analysis_pb2.PRIORITY_BACKGROUND: Priority.BACKGROUND,
}
MODALITIES = {
    analysis_pb2.MODALITY_METAPHASE: Modality.METAPHASE,
    analysis_pb2.MODALITY_CHEST_XRAY: Modality.CHEST_XRAY,
}
DEFAULT_PAGE = 50
MAX_PAGE = 500

PAGE_FORMATS = {
    analysis_pb2.PAGE_FORMAT_PNG: PageFormat.PNG,
    analysis_pb2.PAGE_FORMAT_SVG: PageFormat.SVG,
    analysis_pb2.PAGE_FORMAT_PDF: PageFormat.PDF,
}
AnalyzeRequest = karyotype_pb2.AnalyzeMetaphaseRequest | chest_xray_pb2.AnalyzeChestXrayRequest
ImageRequest = (
    AnalyzeRequest | case_pb2.AddSpreadRequest | review_pb2.SubmitReviewRequest | review_pb2.GetReviewRequest
)


def read_analysis(message: AnalyzeRequest) -> AnalysisRequest:
    """What the caller wants analysed.

    Raises:
        EmptyInput: no image.
        DtypeMismatch: raw pixels without a known dtype.
        InvalidInput: another value is wrong.
    """
    return AnalysisRequest(
        image=read_image(message, message.WhichOneof("image")),
        pixel_size_um=message.pixel_size_um if message.HasField("pixel_size_um") else None,
        request_id=message.request_id,
        overlay=message.render.overlay,
        karyogram_formats=read_karyogram_formats(message.render),
        structured_report=message.render.structured_report,
        secondary_capture=message.render.secondary_capture,
    )


def read_priority(message: AnalyzeRequest | case_pb2.AddSpreadRequest) -> Priority:
    """Place in the queue; a number from a newer caller is routine."""
    return PRIORITIES.get(message.priority, Priority.ROUTINE)


def read_modality(number: analysis_pb2.Modality.ValueType) -> Modality | None:
    """The modality, None where it is not said; InvalidInput for an unknown one."""
    if number == analysis_pb2.MODALITY_UNSPECIFIED:
        return None
    if number not in MODALITIES:
        raise InvalidInput(f"expected a known modality and got number {number}")
    return MODALITIES[number]


def read_page_size(size: int) -> int:
    """Results on a page; InvalidInput above the limit."""
    if size > MAX_PAGE:
        raise InvalidInput(f"expected a page of at most {MAX_PAGE} results and got {size}")
    return size or DEFAULT_PAGE


def read_page_token(token: str) -> PageMark | None:
    """Where the page before ended; None for the first page, InvalidInput for a token that is none of ours."""
    if not token:
        return None
    try:
        created_ms, result_id = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, TypeError, binascii.Error) as exc:
        raise InvalidInput("expected the next_page_token of the page before and got something else") from exc
    if not isinstance(created_ms, int) or not isinstance(result_id, str):
        raise InvalidInput("expected the next_page_token of the page before and got something else")
    return PageMark(created_ms, result_id)


def write_page_token(mark: PageMark) -> str:
    """The token that `read_page_token` reads."""
    return base64.urlsafe_b64encode(json.dumps([mark.created_ms, mark.result_id]).encode()).decode("ascii")


def read_karyogram_formats(render: analysis_pb2.RenderOptions) -> tuple[PageFormat, ...]:
    """Each format once, PNG where only a karyogram is asked for; InvalidInput for an unknown one."""
    unknown = sorted({number for number in render.karyogram_formats if number not in PAGE_FORMATS})
    if unknown:
        raise InvalidInput(f"expected a karyogram as PNG, SVG or PDF and got format number {unknown[0]}")
    wanted = {PAGE_FORMATS[number] for number in render.karyogram_formats}
    if render.karyogram and not wanted:
        wanted = {PageFormat.PNG}
    return tuple(each for each in PageFormat if each in wanted)


def read_image(message: ImageRequest, kind: str | None) -> bytes | RawImage:
    """The image in the field `kind` of a message; EmptyInput where it is neither `encoded` nor `raw`."""
    if kind == "encoded":
        return message.encoded
    if kind == "raw":
        raw = message.raw
        if raw.dtype not in PIXEL_TYPES:
            raise DtypeMismatch(f"expected dtype UINT8, UINT16 or FLOAT32 and got number {raw.dtype}")
        return RawImage(raw.data, tuple(raw.shape), PIXEL_TYPES[raw.dtype])
    raise EmptyInput("expected an image in `encoded` or `raw` and got neither")
