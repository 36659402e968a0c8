"""PyTorch's pickled weights (.bin) -> safetensors, a part at a time, by torch's reader that builds tensors and nothing else."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunebook.errors import TunebookError
from tunebook.records import write_json

if TYPE_CHECKING:
    import torch

INDEX = "pytorch_model.bin.index.json"
WHOLE = "pytorch_model.bin"


def convert(name: str, parts: list[Path], folder: Path) -> None:
    """Write the tensors of the pickled `parts` into `folder`: model.safetensors, or parts with an index.

    A tensor that several names share is written under each of them: whether it stays shared is for the architecture to
    say when it is loaded. Raises TunebookError where a part holds anything but tensors. `name`: the model's, for messages.
    """
    from safetensors.torch import save_file

    weight_map, total_bytes = {}, 0
    for part in sorted(parts):
        tensors = _tensors(name, part)
        target = "model.safetensors" if part.name == WHOLE else _new_name(part.name)
        save_file(_apart(tensors), folder / target, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, target)
        total_bytes += sum(tensor.nbytes for tensor in tensors.values())
        print(f"model {name}: {part.name} -> {target}, {len(tensors)} tensors", flush=True)
    if len(set(weight_map.values())) > 1 or (weight_map and not (folder / "model.safetensors").exists()):
        index = {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(folder / "model.safetensors.index.json", index)


def _new_name(part: str) -> str:
    return part.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"


def _tensors(name: str, part: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor. Nothing is executed: the reader knows tensors, numbers and texts, and refuses all else."""
    import torch

    try:
        # a zip archive is mapped, so that a part of 10 GB does not have to fit into memory
        loaded: Any = torch.load(part, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(part))
    except pickle.UnpicklingError as error:
        found = str(error).splitlines()[0][:200]
        raise TunebookError(
            f"model {name}: {part.name} holds more than tensors ({found}); opening it could run code of a stranger's, so "
            "it is refused: use a revision with safetensors"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise TunebookError(
            f"model {name}: {part.name} cannot be read as weights ({str(error).splitlines()[0][:200]}); use another revision"
        ) from None
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise TunebookError(
            f"model {name}: {part.name} is no mapping of names to tensors; it is no model's weights: use another revision"
        )
    return loaded


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, none of which shares its memory with another: safetensors refuses those that do."""
    seen: set[int] = set()
    apart = {}
    for key, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        apart[key] = tensor.detach() if whole and place not in seen else tensor.detach().clone().contiguous()
        seen.add(place)
    return apart
