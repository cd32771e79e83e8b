"""Figures as Dagster shows them: a picture inside markdown, so that no file has to be served."""

import base64

import dagster as dg


def as_markdown(png: bytes, caption: str) -> dg.MarkdownMetadataValue:
    """The picture, embedded; about 40 kB each."""
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")
