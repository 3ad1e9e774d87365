"""Parameter remapping: a larger student starts from the weights of a smaller teacher."""

import re

import torch
from transformers import PreTrainedModel

from dwt.training.families import family_of


@torch.no_grad()
def remap(
    teacher: PreTrainedModel, student: PreTrainedModel, *, depth: str = "repeat-last"
) -> dict[str, str | None]:
    """Fill the student, in place, from the teacher's weights.

    ``repeat-last`` is parameter remapping of Lee et al. 2023 (section 3.3, after FNA, Fang et al.
    2020): student layer i is teacher layer ``min(i, L_t - 1)``. Embeddings, final norm and
    head are copied unchanged.

    Parameters
    ----------
    teacher, student : PreTrainedModel
        Of one family, width and vocabulary; the student at least as deep.
    depth : {"repeat-last"}

    Returns
    -------
    dict
        For each tensor of the student, the teacher's tensor it was copied from; None where the
        teacher has none (ModernBERT's first layer has no attention norm, so a student layer
        copied from it keeps its own initial one).

    Raises
    ------
    ValueError
        If families differ, a tensor differs in shape, or the student is smaller.
    """
    if depth != "repeat-last":
        raise ValueError(f"unknown depth operator '{depth}'; choose repeat-last")
    family, other = student.config.model_type, teacher.config.model_type
    if other != family:
        raise ValueError(f"teacher is {other}, student is {family}; remapping needs one family")
    last = teacher.config.num_hidden_layers - 1
    if student.config.num_hidden_layers <= last:
        raise ValueError(
            f"the student ({student.config.num_hidden_layers} layers) is smaller than its "
            f"teacher ({last + 1} layers); remapping only enlarges"
        )
    in_layer = re.compile(rf"(?<=^{re.escape(family_of(family).layers)}\.)\d+")
    source = teacher.state_dict()
    copied: dict[str, str | None] = {}
    for name, tensor in student.state_dict().items():
        origin = in_layer.sub(lambda number: str(min(int(number[0]), last)), name)
        copied[name] = origin if origin in source else None
        if origin in source and source[origin].shape != tensor.shape:
            raise ValueError(
                f"{name}: student {tuple(tensor.shape)}, teacher {tuple(source[origin].shape)}; "
                "remapping needs one width and one vocabulary"
            )
    # After every check: an error leaves the student unchanged.
    weights = {name: source[origin] for name, origin in copied.items() if origin}
    student.load_state_dict(weights, strict=False)
    return copied
