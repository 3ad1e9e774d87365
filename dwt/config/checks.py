"""Checks of params.yaml that involve more than one of its sections."""

from collections.abc import Iterator

from dwt.config.schema import CONTEXT_FREE, Arm, Params


def with_defaults(params: Params, arm: Arm) -> Arm:
    """The arm, with what it leaves out taken from `defaults`."""
    defaults = params.defaults.model_dump(exclude_unset=True)
    return Arm(**defaults | arm.model_dump(exclude_unset=True))


def conflicts(params: Params) -> Iterator[str]:
    """Conflicts between sections, each as `key: what is wrong; what is allowed`."""
    allowed = ", ".join
    if params.scale not in params.scales:
        yield f"scale: '{params.scale}' is not a scale; choose one of {allowed(params.scales)}"
    for name in params.compare:
        if name not in params.scales:
            yield f"compare: '{name}' is not a scale; choose from {allowed(params.scales)}"
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds: {params.seeds} names a seed twice"
    if "scratch" not in params.models:
        yield "models: 'scratch', the student without a teacher, is missing"
        return
    for kind in ("models", "arms"):
        for name in getattr(params, kind).keys() & getattr(params.extended, kind).keys():
            yield f"extended.{kind}.{name}: {kind} has one of that name; give it another"
    for name in params.all_arms:
        yield from _of_arm(params, name)
    named = [(f"analyses.{key}", name) for key, arms in params.analyses.items() for name in arms]
    for key, claim in params.claims.items():
        key = f"claims.{key}"
        named += [(f"{key}.arm", claim.arm), (f"{key}.against", claim.against)]
        if claim.measure == "equal_flops_loss" and claim.against != "scratch":
            yield f"{key}.against: equal_flops_loss compares with 'scratch', trained for longer"
    names = params.all_names()
    for key, name in named:
        if name not in names:
            yield f"{key}: '{name}' is not an arm; choose from {allowed(names)}"


def _of_arm(params: Params, name: str) -> Iterator[str]:
    """Conflicts between an arm, its teacher and the student."""
    key = f"arms.{name}" if name in params.arms else f"extended.arms.{name}"
    models = params.models if name in params.arms else params.all_models
    arm = with_defaults(params, params.all_arms[name])
    if name in params.all_models:
        yield f"{key}: there is a model of that name; give the arm another"
    student, trained = models["scratch"].layers, models.get(arm.teacher)
    if trained is None and arm.teacher not in CONTEXT_FREE:
        choices = ", ".join([*models, *CONTEXT_FREE])
        yield f"{key}.teacher: '{arm.teacher}' is not a model; choose one of {choices}"
        return
    if trained is None and (arm.remap or arm.context):
        yield f"{key}: teacher '{arm.teacher}' has neither weights to copy nor contexts to shuffle"
    if trained is None and getattr(arm.soft_weight, "shape", None) == "adaptive":
        yield f"{key}.soft_weight: teacher '{arm.teacher}' has no held-out loss to overtake"
    if trained is not None and arm.remap and trained.layers > student:
        smaller = f"the student ({student} layers, models.scratch) is smaller than its teacher"
        choice = f"choose a teacher of at most {student} layers"
        yield f"{key}.remap: {smaller} '{arm.teacher}' ({trained.layers}); {choice}"
    if arm.hard_weight == 0 and arm.soft_weight == 0:
        yield f"{key}: hard_weight and soft_weight are both 0: nothing to learn from"
