"""Let mkdocstrings take docstrings and signatures as they are written here.

numpydoc begins what is returned with a line for its type. Ours often say it in prose, as the type
stands in the signature; and an example may follow the text without a heading of its own.
"""

import inspect
import re
from typing import Any

import griffe

RESULT = re.compile(r"^(Returns|Yields)\n-+\n((?:.+\n?)+)", re.MULTILINE)
EXAMPLE = re.compile(r"\n\n(?=>>> )")


def as_numpydoc(docstring: str) -> str:
    """Give a docstring in the form that numpydoc asks for."""

    def typed(match: re.Match[str]) -> str:
        title, text = match.groups()
        if re.search(r"^    ", text, re.MULTILINE):  # a type, and what it is
            return match[0]
        indented = re.sub("^(?=.)", "    ", text, flags=re.MULTILINE)
        return f"{title}\n{'-' * len(title)}\n:\n{indented}"

    text = RESULT.sub(typed, inspect.cleandoc(docstring))
    if "\nExamples\n---" not in text:
        text = EXAMPLE.sub("\n\nExamples\n--------\n", text, count=1)
    return text


class Numpydoc(griffe.Extension):
    """Changes docstrings before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change that of an object."""
        if obj.docstring is not None:
            obj.docstring.value = as_numpydoc(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Show in signatures the options that are handed over to `ExtractorOptions`."""
        if pkg.name == "sparsefeat":
            fields = pkg["pipeline.options.ExtractorOptions"].attributes.values()
            options = [
                griffe.Parameter(
                    field.name,
                    annotation=field.annotation,
                    kind=griffe.ParameterKind.keyword_only,
                    default=field.value,
                )
                for field in fields
                if field.name not in ("layers", "_")
            ]
            for name in ("extractor.Extractor.__init__", "extraction.extract"):
                function = pkg[f"pipeline.{name}"]
                *own, _ = function.parameters
                function.parameters = griffe.Parameters(*own, *options)
