"""How does a larger student start from a smaller teacher's weights?"""

import re

import torch

LAYER = re.compile(r"^(.*?\.(?:layers|layer)\.)(\d+)(\..*)$")  # encoder blocks, all families


@torch.no_grad()
def remap(teacher, student, *, depth="repeat-last"):
    """Fill the student, in place, from the teacher's weights.

    ``repeat-last`` is parameter remapping of Lee et al. 2023 (section 3.3, after FNA, Fang et al.
    2020): student layer i is teacher layer ``min(i, L_t - 1)``. Embeddings, final norm and
    head are copied as they are.

    Parameters
    ----------
    teacher, student : PreTrainedModel
        Of one family, width and vocabulary; the student at least as deep.
    depth : str
        "repeat-last".

    Returns
    -------
    dict of str to (str or None)
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
    if teacher.config.model_type != student.config.model_type:
        raise ValueError(
            f"teacher is {teacher.config.model_type}, student is {student.config.model_type}; "
            "remapping needs one family"
        )
    last = teacher.config.num_hidden_layers - 1
    if student.config.num_hidden_layers <= last:
        raise ValueError(
            f"the student ({student.config.num_hidden_layers} layers) is smaller than its "
            f"teacher ({last + 1} layers); remapping only enlarges"
        )
    source = teacher.state_dict()
    copied = {}
    pairs = []
    for name, tensor in student.state_dict().items():
        origin = LAYER.sub(lambda m: f"{m[1]}{min(int(m[2]), last)}{m[3]}", name)
        copied[name] = origin if origin in source else None
        if origin not in source:
            continue
        if source[origin].shape != tensor.shape:
            raise ValueError(
                f"{name}: student {tuple(tensor.shape)}, teacher {tuple(source[origin].shape)}; "
                "remapping needs one width and one vocabulary"
            )
        pairs.append((tensor, source[origin]))
    for tensor, value in pairs:  # after every check: an error leaves the student as it was
        tensor.copy_(value)
    return copied
