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
        """Show the options that `Extractor` hands over to `ExtractorOptions` in its signature."""
        if pkg.name == "sparsefeat":
            init = pkg["pipeline.extractor.Extractor.__init__"]
            itself, model, *_ = init.parameters
            fields = pkg["pipeline.options.ExtractorOptions"].attributes.values()
            kinds = griffe.ParameterKind
            options = [
                griffe.Parameter(
                    field.name,
                    annotation=field.annotation,
                    kind=kinds.keyword_only if number else kinds.positional_or_keyword,
                    default=field.value,
                )
                for number, field in enumerate(field for field in fields if field.name != "_")
            ]
            init.parameters = griffe.Parameters(itself, model, *options)
