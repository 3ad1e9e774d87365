"""Checks of params.yaml that involve more than one of its sections."""

from collections.abc import Iterator

from dwt.config.schema import CONTEXT_FREE, Arm, Params
from dwt.config.section import choices

FACTORS = {  # factor -> fewest arms, and what they are
    "teacher-quality": (2, "a reference and at least one arm"),
    "loss-weight": (3, "a reference, a base and at least one arm"),
    "parameter-remapping": (4, "four arms, remapped or not times with or without the soft loss"),
}


def with_defaults(params: Params, arm: Arm) -> Arm:
    """The arm, with what it leaves out taken from `defaults`."""
    defaults = params.defaults.model_dump(exclude_unset=True)
    return Arm(**defaults | arm.model_dump(exclude_unset=True))


def conflicts(params: Params) -> Iterator[str]:
    """Conflicts between sections, each as `key: what is wrong; what is allowed`."""
    if (scale := params.scale) not in params.scales:
        yield f"scale: '{scale}' is not a scale; choose one of {choices(scale, params.scales)}"
    for name in params.compare:
        if name not in params.scales:
            yield f"compare: '{name}' is not a scale; choose from {choices(name, params.scales)}"
    lists: dict[str, list] = {"compare": params.compare, "seeds": params.seeds}
    lists |= {"extended.seeds": params.extended.seeds}
    names_at = {f"analyses.{key}": arms for key, arms in params.analyses.items()}
    for key, values in {**lists, **names_at}.items():
        if twice := [value for value in values if values.count(value) > 1]:
            yield f"{key}: names {twice[0]!r} twice; each is allowed once"
    if "scratch" not in params.models:
        yield "models: 'scratch', the student without a teacher, is missing"
        return
    for kind in ("models", "arms"):
        for name in getattr(params, kind).keys() & getattr(params.extended, kind).keys():
            yield f"extended.{kind}.{name}: {kind} has one of that name; give it another"
    budgets = {name: model.budget for name, model in params.all_models.items()}
    budgets |= {name: arm.budget for name, arm in params.all_arms.items()}
    for name, budget in budgets.items():
        steps = round(budget * params.settings.train.steps) if scale in params.scales else 1
        if steps < 1:
            yield f"{name}: budget {budget:g} of scales.{scale}.train.steps is {steps} steps"
    for name in params.all_arms:
        yield from _of_arm(params, name)
    first_with: dict[str, str] = {}  # settings -> arm
    for name, arm in params.arms.items():
        first = first_with.setdefault(with_defaults(params, arm).model_dump_json(), name)
        if first != name:
            yield f"arms.{name}: has the settings of '{first}'; change or remove one of them"
    yield from _of_analyses(params)
    for key, claim in params.claims.items():
        names_at |= {f"claims.{key}.arm": [claim.arm], f"claims.{key}.against": [claim.against]}
        if claim.arm == claim.against:
            yield f"claims.{key}.against: '{claim.arm}' is also its arm; compare it with another"
        if claim.measure == "equal_flops_loss" and claim.against != "scratch":
            longer = "equal_flops_loss compares with 'scratch', trained for longer"
            yield f"claims.{key}.against: {longer}"
    allowed = params.all_names()
    for key, name in [(key, name) for key, names in names_at.items() for name in names]:
        if name not in allowed:
            yield f"{key}: '{name}' is not an arm; choose from {choices(name, allowed)}"


NO_ANALYSIS = ("corpus", "pretrain", "evaluate", "summary", "scales")  # notebooks of other stages


def _of_analyses(params: Params) -> Iterator[str]:
    """Conflicts between an analysis, its arms and its notebook."""
    notebooks = [path.stem[3:] for path in params.root.glob("notebooks/[0-9][0-9]-*.ipynb")]
    notebooks = [name for name in notebooks if name not in NO_ANALYSIS]
    for analysis in params.analyses:
        if (params.root / "notebooks").is_dir() and analysis not in notebooks:
            allowed = choices(analysis, sorted(notebooks))
            missing = f"there is no notebooks/NN-{analysis}.ipynb"
            yield f"analyses.{analysis}: {missing}; choose from {allowed}"
    for factor, (fewest, needed) in FACTORS.items():
        key = f"analyses.{factor}"
        if factor not in params.analyses:
            yield f"{key}: is missing; give {needed}"
            continue
        arms = params.analyses[factor]
        for name in [n for n in arms if n in {*params.extended.models, *params.extended.arms}]:
            where = f"'{name}' is in the extended grid, and factors compare runs of the study"
            yield f"{key}: {where}; choose from {', '.join(params.names())}"
        corners = {_corner(params, name) for name in arms if name in params.all_names()}
        crossed = factor != "parameter-remapping" or len(corners) == len(arms) == fewest
        if len(arms) < fewest or not crossed:
            yield f"{key}: found {', '.join(arms) or 'nothing'}; give {needed}"


def _corner(params: Params, name: str) -> tuple[bool, bool]:
    """Whether a run starts from copied weights, and whether it has a soft loss."""
    if name in params.all_models:
        return False, False
    arm = with_defaults(params, params.all_arms[name])
    return arm.remap is not None, arm.soft_weight != 0


def _of_arm(params: Params, name: str) -> Iterator[str]:
    """Conflicts between an arm, its teacher and the student."""
    key = f"arms.{name}" if name in params.arms else f"extended.arms.{name}"
    models = params.models if name in params.arms else params.all_models
    arm = with_defaults(params, params.all_arms[name])
    if name in params.all_models:
        yield f"{key}: there is a model of that name; give the arm another"
    student, trained = models["scratch"].layers, models.get(arm.teacher)
    if trained is None and arm.teacher not in CONTEXT_FREE:
        allowed = choices(arm.teacher, [*models, *CONTEXT_FREE])
        yield f"{key}.teacher: '{arm.teacher}' is not a model; choose one of {allowed}"
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
