from .accumulator import Accumulator
from .counts import LayerZeros
from .from_store import count_store
from .spread import Spread, spread_of

__all__ = ["Accumulator", "LayerZeros", "Spread", "count_store", "spread_of"]
