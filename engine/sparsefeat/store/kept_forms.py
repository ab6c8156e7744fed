"""The form in which layers of several parts can lie in one, without any value being changed."""

from collections.abc import Sequence

import numpy as np

from sparsefeat.store.forms import Form, Roots, Rounded, Steps, StoredValues
from sparsefeat.store.part import Part
from sparsefeat.store.values import Loss, Values
from sparsefeat.types import ChannelSteps
from sparsefeat_kernels import Csr


class Kept(Form):
    """Another form, for values that are stored in it already: what they have lost stays said.

    Parameters
    ----------
    form
        The other one.
    loss
        Of the values, before.
    """

    def __init__(self, form: Form, loss: Loss | None) -> None:
        super().__init__(chain=form.chain, steps=form.steps)
        self._form, self._loss = form, loss

    def written(self, csr: Csr) -> Csr:
        """Give the numbers that the values come from."""
        return self._form.written(csr)

    def n_fitting(self, csr: Csr) -> int:
        """Count the rows whose values are of that form."""
        return self._form.n_fitting(csr)

    def stored(self) -> StoredValues | None:
        """Say in what form the values are, and what they had lost."""
        values = self._form.stored()
        if values is None:
            return None
        return StoredValues(
            kind=values.kind, dtype=values.dtype, bits=values.bits, law=values.law, loss=self._loss
        )


def kept_form(parts: Sequence[Part], layer: str) -> Form | None:
    """Give the form in which one part can hold a layer of all of these; None if there is none.

    That is theirs, if they agree in it and in the steps of codes; float32 where they don't, but all
    are whole numbers of steps or float32 to the last bit. Parts with other steps for ``uint8``
    can't lie in one: their values would have to be rounded again.

    Raises
    ------
    StoreCorruptError
        Steps are not what was written.
    """
    stored = [part.layers[layer].values for part in parts]
    first = stored[0]
    lossless = all(values is None or values.law == "linear" for values in stored)
    if first is None or not all(values is not None and _same(values, first) for values in stored):
        return Form() if lossless else None
    if first.law is None:
        form: Form = Rounded(_choice(first))
    else:
        steps = [part.steps(layer) for part in parts]
        if not all(np.array_equal(one, steps[0]) for one in steps):
            return Form() if lossless else None
        largest = max(np.iinfo(values.dtype).max for values in stored if values is not None)
        whole = ChannelSteps(steps=steps[0], largest=int(largest))
        form = Steps(whole) if first.law == "linear" else Roots(steps[0])
    losses = [values.loss for values in stored if values is not None and values.loss is not None]
    return Kept(form, sum(losses, Loss()) if losses else None)


def _same(values: StoredValues, other: StoredValues) -> bool:
    return (values.kind, values.bits, values.law) == (other.kind, other.bits, other.law)


def _choice(values: StoredValues) -> Values:
    if values.kind == "float16":
        return Values(kind="float16")
    return Values(kind="bits", bits=values.bits or 0)
