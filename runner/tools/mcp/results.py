"""What a tool of an MCP server returned, as a model is told it. Runs on: the agent container."""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import get_args

from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from runner.contract.text import encodable, one_line
from runner.contract.tools import MAX_RESULT_CHARS, Image
from runner.tools.calls import Answer

MAX_IMAGES = 8
MAX_IMAGE_CHARS = 3_000_000
"""Of one image in base64, and of all of one result together."""
_MEDIA_TYPES: tuple[str, ...] = get_args(Image.model_fields["media_type"].annotation)


def answer_of(result: CallToolResult) -> Answer:
    """Return a result with its texts in their order; what cannot be shown is named instead."""
    images: list[Image] = []
    parts = [_text_of(block, images) for block in result.content]
    if not any(parts) and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = encodable(cut_in_the_middle(_joined(parts)))
    return Answer(text, is_error=result.is_error, images=tuple(images))


def cut_in_the_middle(text: str, limit: int = MAX_RESULT_CHARS) -> str:
    """Return `text`, or its beginning and its end where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    note = f"\n[… {len(text) - limit:,} characters are left out …]\n"
    half = (limit - len(note)) // 2
    return f"{text[:half]}{note}{text[-half:]}"


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def _text_of(block: ContentBlock, images: list[Image]) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return _with_image(block, images)
        case EmbeddedResource():
            return _resource_text(block)
        case ResourceLink():
            described = f": {one_line(block.description, 500)}" if block.description else ""
            return f"[resource {one_line(block.uri, 500)}{described}]"
        case AudioContent():
            return "[a recording is left out: models are not given sound]"


def _resource_text(block: EmbeddedResource) -> str:
    resource = block.resource
    uri = one_line(resource.uri, 500)
    if isinstance(resource, TextResourceContents):
        return f"[resource {uri}]\n{resource.text}"
    return f"[resource {uri}: {len(resource.blob):,} characters of base64 are left out]"


def _with_image(block: ImageContent, images: list[Image]) -> str:
    """Add an image to `images`, or say why it is left out."""
    why = _image_mistake(block, images)
    if why:
        return f"[an image is left out: {why}]"
    images.append(Image.model_validate({"media_type": block.mime_type, "data": block.data}))
    return ""


def _image_mistake(block: ImageContent, images: list[Image]) -> str:
    if block.mime_type not in _MEDIA_TYPES:
        return f"{one_line(block.mime_type, 60)} is not one of {', '.join(_MEDIA_TYPES)}"
    if len(images) == MAX_IMAGES:
        return f"more than {MAX_IMAGES}"
    if sum(len(image.data) for image in images) + len(block.data) > MAX_IMAGE_CHARS:
        return f"more than {MAX_IMAGE_CHARS:,} characters of base64"
    try:
        base64.b64decode(block.data, validate=True)
    except (binascii.Error, ValueError):
        return "it is no base64"
    return ""
