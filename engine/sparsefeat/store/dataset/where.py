"""Conditions on a store's rows, in the language of pandas' `DataFrame.query`.

pandas would evaluate more than conditions: ``@name`` reaches the caller's variables, and any
method of a column can be called, `to_pickle` among them. So a condition is parsed first, and
handed on only if it consists of what is listed here.
"""

import ast
import difflib
import io
import tokenize
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TEXT_METHODS: Final = (
    *("contains", "endswith", "fullmatch", "match", "startswith"),
    *("len", "lower", "strip", "upper"),
)
MOST: Final = 10_000  # characters of a condition

_PLAIN: Final = (
    *(ast.Expression, ast.Load, ast.BoolOp, ast.And, ast.Or),
    *(ast.UnaryOp, ast.Not, ast.Invert, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
    *(ast.List, ast.Tuple),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
)
_LISTS: Final = (ast.List, ast.Tuple)
_NO_CONSTANTS: Final = (ast.Name, ast.Call, *_LISTS)


def matching(obs: "pd.DataFrame", condition: str) -> npt.NDArray[np.int64]:
    """Find the lines of a table that a condition holds for: see `Store.where`."""
    if not isinstance(condition, str) or not condition.strip() or len(condition) > MOST:
        raise InputError(
            f"got {str(condition)[:50]!r} as a condition, expected text of 1 to {MOST} "
            "characters, such as 'width > 500'"
        )
    try:
        condition = _spelled_out(condition)
        _Checker(condition, obs).visit(ast.parse(condition, mode="eval"))
        found = obs.eval(condition, engine="python", parser="pandas", local_dict={}, global_dict={})
    except InputError:
        raise
    except SyntaxError as exc:
        _refuse(condition, exc.msg, exc)
    except Exception as exc:
        # Whatever Python's parser, pandas and NumPy make of it; among them RecursionError.
        _refuse(condition, f"{type(exc).__name__}: {exc}", exc)
    holds = np.asarray(found)
    if holds.shape != (len(obs),) or holds.dtype != np.bool_:
        _refuse(condition, f"it gives {holds.dtype} of shape {holds.shape}, no yes or no for a row")
    return np.flatnonzero(holds)


def _spelled_out(condition: str) -> str:
    """Write ``&`` and ``|`` as the words that they are to pandas, on one line.

    >>> _spelled_out("width > 5 & height > 5")
    'width > 5 and height > 5'
    """
    line = " ".join(condition.splitlines()).strip()
    words = {"&": "and", "|": "or"}
    for token in reversed([*tokenize.generate_tokens(io.StringIO(line).readline)]):
        if token.type == tokenize.COMMENT:  # the lines after it would be part of it
            _refuse(condition, f"{token.string}: a comment is not taken")
        if token.type == tokenize.STRING and token.string not in condition:
            _refuse(condition, "a text goes on in the next line: write \\n")
        if token.type == tokenize.OP and token.string in words:
            before, after = line[: token.start[1]].rstrip(), line[token.end[1] :].lstrip()
            line = f"{before} {words[token.string]} {after}"
    return line


class _Checker(ast.NodeVisitor):
    """Refuses what is no part of a condition."""

    def __init__(self, condition: str, obs: "pd.DataFrame") -> None:
        self._condition = condition
        self._kinds = {
            str(name): "numbers" if dtype.kind in "iuf" else "text"
            for name, dtype in [("index", np.dtype(object)), *obs.dtypes.items()]
        }

    def generic_visit(self, node: ast.AST) -> None:
        for each in (node, *ast.iter_child_nodes(node)):
            # An operator has no place in the text: what it stands in is shown.
            if not isinstance(each, _PLAIN) and not (each is not node and hasattr(each, "lineno")):
                self._refuse(node)
        super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str | int | float):
            self._refuse(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id not in self._kinds:
            near = difflib.get_close_matches(node.id, self._kinds) or list(self._kinds)
            _refuse(self._condition, f"there is no column {node.id!r}: try {', '.join(near)}")

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        said = ast.get_source_segment(self._condition, node)
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.In | ast.NotIn) and not isinstance(right, _LISTS):
                why = "in takes a list, as in label in ['cat', 'dog']; see also .str.contains"
                _refuse(self._condition, f"{said}: {why}")
        compared = (node.left, *node.comparators)
        elements = [one for each in compared if isinstance(each, _LISTS) for one in each.elts]
        # pandas would look for whole columns among the values of one, and find none.
        if any(isinstance(part, _NO_CONSTANTS) for one in elements for part in ast.walk(one)):
            _refuse(self._condition, f"{said}: a list is one of constants")
        kinds = {kind for each in (*compared, *elements) if (kind := self._kind(each))}
        if len(kinds) > 1:
            _refuse(self._condition, f"{said} compares text with numbers")

    def visit_Call(self, node: ast.Call) -> None:
        """Let ``column.str.method(...)`` pass, with constants for arguments."""
        constant = all(
            isinstance(value, ast.Constant)
            for value in (*node.args, *(keyword.value for keyword in node.keywords))
        )
        match node.func:
            case ast.Attribute(value=ast.Attribute(value=base, attr="str"), attr=method) if (
                method in TEXT_METHODS and constant
            ):
                self.visit(base)
            case _:
                self._refuse(node)

    def _kind(self, node: ast.AST) -> str | None:
        """Tell text from numbers, as far as it shows."""
        match node:
            case ast.Name(id=name):
                return self._kinds[name]
            case ast.Constant(value=str()):
                return "text"
            case ast.Constant(value=int() | float()):
                return "numbers"
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=part) | ast.BinOp(left=part):
                return self._kind(part)
            case ast.Call(func=ast.Attribute(attr="len")):
                return "numbers"
            case ast.Call(func=ast.Attribute(attr="lower" | "strip" | "upper")):
                return "text"
        return None

    def _refuse(self, node: ast.AST) -> NoReturn:
        said = ast.get_source_segment(self._condition, node) or type(node).__name__
        _refuse(
            self._condition,
            f"{said} is not taken, only columns, constants, comparisons, arithmetic, and, or, "
            f"not, in, and .str with {', '.join(TEXT_METHODS)}",
        )


def _refuse(condition: str, why: str, cause: Exception | None = None) -> NoReturn:
    shown = condition if len(condition) <= 100 else f"{condition[:100]}..."
    raise InputError(
        f"{shown!r} is no condition on rows ({' '.join(why.split())}), expected one such as "
        "'width > 500 and label == \"cat\"'"
    ) from cause
