"""The catalog of components: names, parameters and documentation, read from source files without importing them."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfrun.config import plugins as plugin_files
from tfrun.config import registry
from tfrun.config.keras_names import KERAS_METRICS
from tfrun.config.plugins import Module
from tfrun.errors import ConfigError, TfrunError, unknown
from tfrun.protocols import MetricOffer, literals, reserved

# functions that are called with a tensor or a shape, whatever its name: that one has no default
CALLED_WITH_OTHERS = ("activation", "constraint", "initializer", "regularizer")
NOT_LITERAL = object()  # stands for a default that is known only by running the code

Definition = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True)
class Param:
    """A parameter that a config may set. `type` is the annotation's source; `default` may be NOT_LITERAL."""

    name: str
    type: str | None
    default: Any
    required: bool
    doc: str


@dataclass(frozen=True)
class Component:
    """A registered class or function, as its source file describes it.

    Attributes:
        attributes: the literals in a class and in the decorator's keywords.
    """

    kind: str
    name: str
    module: str
    qualname: str
    file: Path
    line: int
    params: tuple[Param, ...]
    doc: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def summary(self) -> str:
        return " ".join(self.doc.partition("\n\n")[0].split())

    def defaults(self) -> dict[str, Any]:
        """Returns the parameters as a config shows them; `???` stands for a value that must be given."""
        known = [param for param in self.params if param.default is not NOT_LITERAL]
        return {param.name: "???" if param.required else param.default for param in known}

    def declared(self, attribute: str) -> Any:
        """Returns an attribute that `protocols` lists as a literal, or its default. Raises KeyError for another one."""
        return self.attributes.get(attribute, literals(self.kind)[attribute])

    @property
    def is_shipped(self) -> bool:
        """Whether it is tfrun's own, not a plugin's."""
        return self.module.startswith("tfrun.")

    def load(self) -> Any:
        """Imports the module and returns the class or function.

        Raises:
            ConfigError: importing the plugin failed, or registered nothing under this name, or a metric that says
                something else of its direction than its source does.
        """
        if not self.is_shipped:
            plugin_files.make_importable()
        try:
            importlib.import_module(self.module)
        except SystemExit as error:  # must not end as a success
            raise TfrunError(
                f"{self._fault(error)}: sys.exit({error.code}) while importing plugin {self.module}"
            ) from error
        except Exception as error:
            if self.is_shipped:
                raise
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{self._fault(error)}: importing plugin {self.module} failed. {reason}") from error
        try:
            loaded = registry.lookup(self.kind, self.name)
        except KeyError:
            raise ConfigError(
                f"{self.origin}: importing {self.module} did not register {self.kind}={self.name}"
            ) from None
        if self.kind == "metric":
            self._check_direction(MetricOffer.of(loaded).higher_is_better)
        return loaded

    def _check_direction(self, higher_is_better: Any) -> None:
        """Raises ConfigError for a direction that wasn't read, as the wrong epoch's weights would be kept."""
        declared = self.declared("higher_is_better")
        # nothing is said if there is none, and one whose base says False may be silent: a config must give the mode
        says_nothing = higher_is_better is None or (declared is None and higher_is_better is False)
        if higher_is_better != declared and not says_nothing:
            raise ConfigError(
                f"{self.origin}: higher_is_better must be True or False in the class itself, or in the decorator: "
                f"@register.metric({self.name!r}, higher_is_better=True). "
                f"Received: {higher_is_better!r}, from elsewhere"
            )

    def _fault(self, error: BaseException) -> str:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == self.file
        ]
        return f"{self.file}:{lines[-1] if lines else self.line}"


class Catalog:
    """The components by kind and name.

    Args:
        components: all of them.
        config_dirs: the folders of YAML files that plugins add.
        plugins: the modules of plugins.
    """

    def __init__(
        self, components: Iterable[Component], config_dirs: Sequence[Path] = (), *, plugins: Sequence[Module] = ()
    ):
        self.config_dirs = tuple(config_dirs)
        self.plugins = tuple(plugins)
        self._components: dict[tuple[str, str], Component] = {}
        for component in components:
            earlier = self._components.setdefault((component.kind, component.name), component)
            if earlier is not component:
                raise ConfigError(
                    f"{component.kind}={component.name} is registered twice: {earlier.origin} and {component.origin}"
                )

    def names(self, kind: str) -> list[str]:
        return sorted(name for its_kind, name in self._components if its_kind == kind)

    def get(self, kind: str, name: Any, *, where: str) -> Component:
        """Returns a component. Raises ConfigError, with the near miss, if none has the name."""
        try:
            return self._components[kind, name]
        except (KeyError, TypeError):
            raise unknown(where, kind, name=name, known=self.names(kind)) from None

    def find(self, kind: str, name: Any) -> Component | None:
        return self._components.get((kind, name))


def load_catalog(plugins: Sequence[str] = ()) -> Catalog:
    """Reads tfrun's own components, those of `plugins` and those of installed plugin packages.

    Raises:
        ConfigError: a plugin is missing or isn't Python, or two files register the same name.
    """
    folders = plugin_files.shipped_folders("components")
    of_plugins = plugin_files.find_plugins(plugins)
    modules = [module for folder in folders for module in plugin_files.package_modules("tfrun.components", folder)]
    modules += of_plugins.modules
    components = (component for module in modules for component in read_module(module))
    return Catalog(components, of_plugins.config_dirs, plugins=of_plugins.modules)


def read_module(module: Module) -> list[Component]:
    """Returns the components that a file registers at its top level."""
    try:
        source = module.file.read_text(encoding="utf-8")
        if "register." not in source:  # parsing costs more than reading
            return []
        tree = ast.parse(source, filename=str(module.file))
    except SyntaxError as error:
        raise ConfigError(f"{module.file}:{error.lineno}: not valid Python: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{module.file}: can't be read as Python: {error}") from error
    return list(_Reader(module, tree).components())


class _Reader:
    """Reads one file's syntax tree."""

    def __init__(self, module: Module, tree: ast.Module):
        self.module = module
        self.body = list(_statements(tree.body))
        self.definitions = {node.name: node for node in self.body if isinstance(node, Definition)}
        self.constants = dict(pair for node in self.body for pair in _assignments(node))

    def components(self) -> Iterator[Component]:
        for node in self.body:
            if isinstance(node, Definition):
                for decorator in node.decorator_list:
                    registered = self._registered(decorator)
                    if registered:
                        kind, name, keywords = registered
                        yield self._component(kind, name, keywords=keywords, node=node)

    def _registered(self, decorator: ast.expr) -> tuple[str, str, dict[str, Any]] | None:
        """Returns ("loss", "huber", {}) for `register.loss("huber")`, None for any other decorator."""
        if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)):
            return None
        if ast.unparse(decorator.func.value).rpartition(".")[2] != "register":
            return None
        kind, where = decorator.func.attr, f"{self.module.file}:{decorator.lineno}"
        if kind not in registry.KINDS:
            raise unknown(where, "kind of component", name=kind, known=registry.KINDS)
        name = decorator.args[0] if decorator.args else None
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            raise ConfigError(
                f"{where}: the name must be a literal string, so that it is known without running the file"
            )
        if not re.fullmatch(r"[A-Za-z_]\w*", name.value):
            raise ConfigError(f"{where}: a name has letters, digits and _ only. Received: {name.value!r}")
        return kind, name.value, dict(self._keyword(kind, keyword, where=where) for keyword in decorator.keywords)

    def _keyword(self, kind: str, keyword: ast.keyword, *, where: str) -> tuple[str, Any]:
        """Returns ("task", "regression") for `register.loss("huber", task="regression")`."""
        if keyword.arg not in literals(kind):
            raise unknown(where, f"attribute of {kind}", name=keyword.arg or "**", known=literals(kind))
        value = self._literal(keyword.value)
        if value is NOT_LITERAL:
            raise ConfigError(f"{where}: {keyword.arg} must be a literal, so that it is known without running the file")
        return keyword.arg, value

    def _component(self, kind: str, name: str, *, keywords: dict[str, Any], node: Definition) -> Component:
        function = self._function(node)
        doc = inspect.cleandoc(ast.get_docstring(node) or "")
        docs = _parameter_docs(doc) or _parameter_docs(
            inspect.cleandoc((function and ast.get_docstring(function)) or "")
        )
        params = tuple(self._params(function, docs, reserved(kind))) if function else ()
        if kind in CALLED_WITH_OTHERS and function is node:
            params = tuple(param for param in params if not param.required)
        attributes = (self._attributes(kind, node) if isinstance(node, ast.ClassDef) else {}) | keywords
        return Component(
            kind, name, self.module.name, node.name, self.module.file, node.lineno, params, doc, attributes
        )

    def _bases(self, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
        """Yields the class and those of its bases that are in the same file, the nearest first."""
        yield node
        for base in node.bases:
            parent = self.definitions.get(base.id) if isinstance(base, ast.Name) else None
            if isinstance(parent, ast.ClassDef) and parent is not node:
                yield from self._bases(parent)

    def _function(self, node: Definition) -> ast.FunctionDef | None:
        """Returns the function that makes the component: the component itself, or the class's `__init__`."""
        if isinstance(node, ast.FunctionDef):
            return node
        inner = (item for parent in self._bases(node) for item in parent.body)
        return next((item for item in inner if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)

    def _attributes(self, kind: str, node: ast.ClassDef) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        for parent in self._bases(node):
            for name, value in (pair for item in parent.body for pair in _assignments(item)):
                literal = self._literal(value)
                if literal is not NOT_LITERAL:
                    attributes.setdefault(name, literal)
            if kind == "metric":
                of_keras = (ast.unparse(base).rpartition(".")[2] for base in parent.bases)  # keras.metrics.AUC
                for name in of_keras:
                    if name in KERAS_METRICS:
                        attributes.setdefault("higher_is_better", KERAS_METRICS[name])
        return attributes

    def _params(self, function: ast.FunctionDef, docs: dict[str, str], outside: Collection[str]) -> Iterator[Param]:
        """Yields a function's parameters; those in `outside` are no config keys."""
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
        for argument, default in [
            *zip(positional, defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]:
            if argument.arg not in outside:
                annotation = ast.unparse(self._inlined(argument.annotation)) if argument.annotation else None
                value = None if default is None else self._literal(default)
                yield Param(argument.arg, annotation, value, default is None, docs.get(argument.arg, ""))

    def _literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(self._inlined(node))
        except (ValueError, TypeError):
            return NOT_LITERAL

    def _inlined(self, node: ast.expr) -> ast.expr:
        """Replaces names by the constants that the file defines: `Positive = Annotated[float, Gt(0)]`."""
        constants = self.constants

        class Inliner(ast.NodeTransformer):
            def visit_Name(self, name: ast.Name) -> ast.expr:
                return constants[name.id] if name.id in constants and not hasattr(builtins, name.id) else name

        return Inliner().visit(ast.parse(ast.unparse(node), mode="eval").body)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields a file's statements, also those inside `if`, `try` and `with`."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers"):
            if not isinstance(node, Definition | ast.AsyncFunctionDef):
                yield from _statements(getattr(node, part, []))


def _assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def _parameter_docs(doc: str) -> dict[str, str]:
    """Returns the entries of a Google-style "Args:" section, each on one line."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if not section:
        return {}
    text = inspect.cleandoc(section[1])
    entries = re.findall(r"^(\w+)[^\n:]*:[ \t]*(.*(?:\n[ \t]+.*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}
