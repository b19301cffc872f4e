"""A model's card as HTML: it came with the model, from whoever made it, so nothing in it is trusted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict


class _Renderer(RendererHTML):
    """Renders neither pictures nor links, which would lead browser or reader to another server."""

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Mapping[str, object]
    ) -> str:
        """Return what the picture is said to show, and that it is one."""
        return f"[picture: {escape(tokens[idx].content)}]"

    def link_open(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        """Return nothing: the words stay."""
        return ""

    def link_close(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        """Return the address as text, unless the words were the address."""
        opening = next(token for token in reversed(tokens[:idx]) if token.type == "link_open")
        address = str(opening.attrs.get("href", ""))
        words = "".join(token.content for token in tokens[tokens.index(opening) + 1 : idx])
        return "" if words == address else f" ({escape(address)})"


@lru_cache(maxsize=32)
def card_html(markdown: str) -> str:
    """Return a card with its headings, lists and tables; whatever else it holds is shown as text."""
    made = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    return f'<div class="mod-card">{made.render(markdown)}</div>'
