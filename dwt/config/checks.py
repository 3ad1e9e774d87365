"""Do the parts of params.yaml fit together? Each is sound in itself: `dwt.config.schema` saw to that."""

from dwt.config.schema import COUNTED, Arm


def filled_in(params, arm):
    """The arm with what it leaves out taken from `defaults`."""
    given = {key: getattr(arm, key) for key in arm.model_fields_set}
    defaults = {key: getattr(params.defaults, key) for key in Arm.model_fields if key != "teacher"}
    return Arm(**{**defaults, **given})


def faults_between(params):
    """Faults that take two places of the file to see: `key: what is wrong; what is allowed`."""
    allowed = ", ".join
    if params.scale not in params.scales:
        yield f"scale: '{params.scale}' is not a scale; choose one of {allowed(params.scales)}"
    for name in params.compare:
        if name not in params.scales:
            yield f"compare: '{name}' is not a scale; choose from {allowed(params.scales)}"
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds: {params.seeds} names a seed twice"
    if "scratch" not in params.models:
        yield "models: 'scratch', the student trained alone, is missing"
        return
    yield from _twice(params)
    student = params.models["scratch"].layers
    for name, arm in params.all_arms.items():
        key = f"arms.{name}" if name in params.arms else f"extended.arms.{name}"
        models = params.models if name in params.arms else params.all_models
        if arm.teacher not in (*models, *COUNTED):
            yield (
                f"{key}.teacher: '{arm.teacher}' is not a model; "
                f"choose one of {allowed([*models, *COUNTED])}"
            )
            continue
        counted = arm.teacher in COUNTED
        if counted and (arm.remap or arm.context):
            yield f"{key}: teacher '{arm.teacher}' has neither weights to copy nor contexts"
        teacher = 1 if counted else models[arm.teacher].layers
        if arm.remap and teacher > student:
            yield (
                f"{key}.remap: the student ({student} layers, models.scratch) is smaller than its "
                f"teacher '{arm.teacher}' ({teacher}); choose a teacher of at most {student} layers"
            )
        resolved = filled_in(params, arm)
        if resolved.hard_weight == 0 and resolved.soft_weight == 0:
            yield f"{key}: hard_weight and soft_weight are both 0: nothing to learn from"
        if counted and getattr(resolved.soft_weight, "shape", None) == "adaptive":
            yield f"{key}.soft_weight: teacher '{arm.teacher}' has no held-out loss to overtake"
    names = params.all_names()
    for analysis, arms in params.analyses.items():
        for name in arms:
            if name not in names:
                yield (f"analyses.{analysis}: '{name}' is not an arm; choose from {allowed(names)}")
    for name, claim in params.claims.items():
        yield from _sides(f"claims.{name}", claim, names)


def _twice(params):
    """Names that mean two things."""
    extended = params.extended
    for name in params.all_models.keys() & params.all_arms.keys():
        place = "arms" if name in params.arms else "extended.arms"
        yield f"{place}.{name}: there is a model of that name; give the arm another"
    for kind in ("models", "arms"):
        for name in getattr(params, kind).keys() & getattr(extended, kind).keys():
            yield f"extended.{kind}.{name}: {kind} has one of that name; give it another"


def _sides(key, claim, names):
    """Faults in the two arms that a claim compares."""
    if claim.measure == "equal_flops_loss" and claim.against != "scratch":
        yield f"{key}.against: equal_flops_loss compares with 'scratch', trained for longer"
    for side in ("arm", "against"):
        if getattr(claim, side) not in names:
            yield (
                f"{key}.{side}: '{getattr(claim, side)}' is not an arm; "
                f"choose from {', '.join(names)}"
            )
