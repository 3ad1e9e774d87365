"""The names that `from dwt import ...` offers."""

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dwt
import dwt.config
import dwt.training

NAMES = "dwt_loss linear_dwt_loss weight_at remap build_model pretrain load_params resolve".split()


def public_functions(package):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = import_module(module.name)
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                if not name.startswith("_"):
                    yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_a_documented_function(name):
    value = getattr(dwt, name)
    assert inspect.isfunction(value) and value.__name__ == name
    assert f"`{name}`" in dwt.__doc__


def test_the_public_names_are_all_that_is_listed():
    assert sorted(dwt.__all__) == sorted(NAMES)
    assert {*NAMES} <= {*dir(dwt)}


def test_a_checker_sees_the_names_that_are_imported_lazily():
    source = Path(dwt.__file__).read_text()
    for name, module in dwt._MODULES.items():
        assert f"    from dwt.{module} import {name} as {name}\n" in source


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        dwt.distil  # noqa: B018


def test_importing_dwt_loads_neither_torch_nor_transformers():
    program = "import sys, dwt; dwt.weight_at(1, 0.5); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("package", [dwt.config, dwt.training], ids=["config", "training"])
def test_every_public_function_has_types(package):
    untyped = [
        f"{where}: {name}"
        for where, function in public_functions(package)
        for name in (*inspect.signature(function).parameters, "return")
        if name not in function.__annotations__
    ]
    assert untyped == []
