"""Stand-ins for what is not installed: classes and values that go along with whatever is done to them.

A class of a missing module is a real class, so that it can be subclassed, caught, annotated and
asked for by isinstance. A value answers every attribute, call, index and operator with another
value that is named after the way it was come by. Iterated, it is empty; unpacked, it yields as
many values as the caller wants. Called with ``task_id=`` it is an operator.
"""

from __future__ import annotations

import dis
import sys
import types
from abc import ABCMeta
from collections.abc import Callable, Iterator
from typing import Any

from . import notes

_UNPACK = {dis.opmap[name] for name in ("UNPACK_SEQUENCE", "UNPACK_EX") if name in dis.opmap}
_UNPACK_EX = dis.opmap["UNPACK_EX"]

makers: dict[str, Callable[..., Any]] = {}
"""``operator``: (class or value, positional, keywords) -> a task; ``partial``: the same, to be mapped;
``class``: (name, module) -> a class of tasks. Filled in by `operators`."""


class Meta(ABCMeta):
    """Of every class that is not Airflow's own: unknown attributes are values, calls may be tasks."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or not cls.__dict__.get("__standin__", _inherits(cls)):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        if name == "partial":
            return lambda *args, **kwargs: makers["partial"](cls, args, kwargs)
        return member(f"{cls.__module__}.{cls.__qualname__}", name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        foreign = "task_id" in kwargs and not hasattr(cls, "_recorder_task") and _inherits(cls)
        if foreign and not _takes(cls, "task_id"):
            return makers["operator"](cls, args, kwargs)
        if args and _is_target(cls, args, kwargs):
            return decorated(args[0])
        return super().__call__(*args, **kwargs)

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __contains__(cls, item: object) -> bool:
        return False


def _inherits(cls: type) -> bool:
    return any("__standin__" in base.__dict__ for base in cls.__mro__)


def _takes(cls: type, name: str) -> bool:
    """Whether a class of the author's own, over a stand-in, names an argument of its constructor."""
    own = next(
        (base.__dict__["__init__"] for base in cls.__mro__ if "__init__" in base.__dict__), None
    )
    code = getattr(own, "__code__", None)
    if code is None or own is Unknown.__init__:
        return False
    return name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _is_target(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether ``cls(x)`` is meant as a decorator of x: a lower-case class of a missing module."""
    return (
        len(args) == 1
        and not kwargs
        and "__standin__" in cls.__dict__
        and cls.__name__[:1].islower()
        and isinstance(args[0], (types.FunctionType, type))
    )


class Unknown(metaclass=Meta):
    """A value nobody knows. Instances of missing classes are of subclasses of this."""

    __standin__ = True
    _path: str = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if hasattr(type(self), "_recorder_task"):
            super().__init__(*args, **kwargs)
            return
        cls = type(self)
        fields = _annotated(cls)
        for name, value in (*zip(fields, args), *kwargs.items()):
            try:
                object.__setattr__(self, name, value)
            except (AttributeError, TypeError):
                continue  # a property of the author's
        for name in fields:
            if name not in self.__dict__ and isinstance(getattr(cls, name, None), FieldDefault):
                object.__setattr__(self, name, getattr(cls, name).value())

    @classmethod
    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __init_subclass__(cls, **kwargs: Any) -> None:
        return None  # class keywords of a missing base mean nothing here

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _NOT_THERE:
            raise AttributeError(name)
        return member(path_of(self), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], (types.FunctionType, type)):
            return decorated(args[0])
        if "task_id" in kwargs:
            return makers["operator"](self, args, kwargs)
        return value(path_of(self) + "()")

    def __getitem__(self, key: Any) -> Any:
        return value(f"{path_of(self)}[{key!r:.60}]")

    def __setitem__(self, key: Any, item: Any) -> None: ...

    def __delitem__(self, key: Any) -> None: ...

    def __iter__(self) -> Iterator[Any]:
        wanted = unpacked(sys._getframe(1))
        if wanted is None:
            notes.guess(f"{path_of(self)} is taken to be empty")
            return iter(())
        notes.guess(f"{path_of(self)} is unpacked into {wanted}")
        return iter([value(f"{path_of(self)}[{i}]") for i in range(wanted)])

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __contains__(self, item: object) -> bool:
        return False

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: Any) -> None:
        return None

    def __str__(self) -> str:
        return path_of(self)

    __repr__ = __str__

    def __format__(self, how: str) -> str:
        return path_of(self)

    def __fspath__(self) -> str:
        return path_of(self)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __index__(self) -> int:
        return 1

    __int__ = __index__

    def __float__(self) -> float:
        return 1.0

    def __lt__(self, other: object) -> bool:
        return False

    def __ge__(self, other: object) -> bool:
        return True

    __le__ = __ge__
    __gt__ = __ge__

    def __rshift__(self, other: Any) -> Any:
        return other

    __lshift__ = __rshift__

    def __rrshift__(self, other: Any) -> Any:
        return self

    __rlshift__ = __rrshift__


def _operation(self: Any, *_: Any) -> Any:
    return value(path_of(self))


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod",
    "rmod", "pow", "rpow", "and", "rand", "or", "ror", "xor", "rxor", "neg", "pos", "abs", "invert",
    "round", "matmul",
):  # fmt: skip
    setattr(Unknown, f"__{_name}__", _operation)

_NOT_THERE = {
    # what libraries look for to treat an object in a way of its own
    "_asdict", "_fields", "_repr_html_", "model_dump", "to_dict", "function", "tzname_",
    "_standin_name", "_recorder_task",
}  # fmt: skip


class FieldDefault:
    """What a field declaration of a missing library (``Field(default=…)``) stands for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.value = make


def value(path: str) -> Any:
    """A value named by the way it was come by."""
    found = object.__new__(Unknown)
    object.__setattr__(found, "_path", path[:300])
    return found


def path_of(found: Any) -> str:
    """What a stand-in is shown as."""
    own = found.__dict__.get("_path")
    if own:
        return str(own)
    kind = type(found)
    return f"{kind.__module__}.{kind.__qualname__}()"


def member(path: str, name: str) -> Any:
    """What a stand-in has under a name: a class, by the look of the name, or a value."""
    if looks_like_class(name):
        return make_class(name, path)
    return value(f"{path}.{name}")


def looks_like_class(name: str) -> bool:
    """CamelCase; CONSTANTS are none."""
    return name[:1].isupper() and any(c.islower() for c in name)


_EXCEPTIONS = (
    "Error", "Exception", "Warning", "Failure", "Timeout", "NotFound", "DoesNotExist", "Forbidden",
    "Conflict", "Interrupt",
)  # fmt: skip
_OPERATORS = ("Operator", "Sensor", "OperatorAsync", "SensorAsync")
_classes: dict[tuple[str, str], Any] = {}


def make_class(name: str, module: str) -> Any:
    """The class of that name in a missing module; the same one each time."""
    key = (module, name)
    if key not in _classes:
        if name.endswith(_EXCEPTIONS) or (
            module.rpartition(".")[2] in ("exceptions", "errors", "exc", "error")
        ):
            _classes[key] = type(name, (Exception,), {"__module__": module})
        elif name.endswith(_OPERATORS) and not name.startswith("Base"):
            _classes[key] = makers["class"](name, module)
        else:
            return make_model(name, module)
    return _classes[key]


def make_model(name: str, module: str) -> Any:
    """A class of that name which is no exception, whatever it is called."""
    key = (module, name)
    if key not in _classes:
        _classes[key] = Meta(name, (Unknown,), {"__module__": module, "__standin__": True})
    return _classes[key]


def is_standin(item: Any) -> bool:
    """Whether something is a value or a class of a missing module."""
    return isinstance(item, (Unknown, StandInModule)) or (
        isinstance(item, type) and "__standin__" in item.__dict__
    )


def decorated(target: Any) -> Any:
    """What a decorator of a missing module makes of its target: the target, able to be built."""
    if isinstance(target, type) and "__init__" not in target.__dict__ and _annotated(target):
        init = Unknown.__init__

        def build(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)

        target.__init__ = build  # type: ignore[misc]
    return target


def _annotated(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(base.__dict__.get("__annotations__", {}) if base is not Unknown else {})
    return found


def unpacked(frame: types.FrameType | None) -> int | None:
    """How many values the instruction that a frame is at wants; None where it does not unpack."""
    if frame is None or frame.f_lasti < 0:
        return None
    code = frame.f_code.co_code
    operation, argument = code[frame.f_lasti], code[frame.f_lasti + 1]
    if operation not in _UNPACK:
        return None
    # UNPACK_EX: values before the starred one in this byte, after it in the prefix's
    return argument & 0xFF


class StandInModule(types.ModuleType):
    """A module that is not installed. Called, decorating, indexed it is a value like others."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__file__ = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[:1] == "_" and not name[1:2].isalpha():
            raise AttributeError(name)
        found = member(self.__name__, name)
        self.__dict__[name] = found
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return value(self.__name__)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} that is not installed>"
