"""The engine: models, tokens, batches, losses, training, generation, metrics."""

import logging
import sys

# With the package `kernels`, bitsandbytes and transformers would fetch compiled code from the hub when they are imported.
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else it says that it could not
