"""What the languages of local AWS share: parsers from grammars, and what to say when one stops."""

from __future__ import annotations

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

_SHOWN = 40


class ParseError(ValueError):
    """A text that its grammar does not allow; `position` counts its characters from 0."""

    def __init__(self, text: str, position: int) -> None:
        rest = text[position:].strip()
        shown = rest if len(rest) <= _SHOWN else f"{rest[:_SHOWN]}..."
        super().__init__(f"unexpected text at {shown!r}" if rest else "unexpected end")
        self.position = position


class Grammar:
    """A language; its parser is made when it is first needed."""

    def __init__(self, rules: str) -> None:
        self._rules = rules
        self._parser: Lark | None = None

    def parse(self, text: str) -> Tree[Token]:
        """The syntax tree of a text, with positions; raises `ParseError`."""
        if self._parser is None:
            self._parser = Lark(
                self._rules, parser="lalr", propagate_positions=True, maybe_placeholders=False
            )
        try:
            return self._parser.parse(text)
        except UnexpectedInput as error:
            at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
            position = len(text) if at_end or error.pos_in_stream is None else error.pos_in_stream
            raise ParseError(text, position) from None
