"""Importing from the bundle's sources: pure Python, lazily, without a file system."""

import binascii
import importlib.abc
import importlib.machinery
import importlib.readers
import marshal
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from types import CodeType, ModuleType

from . import frozen, reading

_ANY = DistributionFinder.Context()
_ASKING = 2
"""How many frames above a finder is who looks for the module; between them is the import system's own search."""


class BundleImporter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules of one bundle."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._directories: set[str] = set()

    def open(self, sources: dict[str, str], codes: dict[str, str]) -> None:
        """Serve these sources from now on, with what is compiled of them."""
        self._sources = sources
        self._codes = codes
        self._directories = {path[:at] for path in sources if "/" in path for at, letter in enumerate(path) if letter == "/"}

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        """Find a module, a package or a namespace package of the bundle."""
        base = fullname.replace(".", "/")
        for file in (f"{base}/__init__.py", f"{base}.py"):
            if file in self._sources:
                spec = importlib.machinery.ModuleSpec(fullname, self, origin=file, is_package=file.endswith("/__init__.py"))
                spec.has_location = True
                spec.cached = None
                if spec.submodule_search_locations is not None:
                    spec.submodule_search_locations.append(base)
                return spec
        if base in self._directories:
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [base]
            return spec
        return None

    def _file(self, fullname: str) -> str:
        base = fullname.replace(".", "/")
        package = f"{base}/__init__.py"
        return package if package in self._sources else f"{base}.py"

    def get_source(self, fullname: str) -> str:
        """Give the source of a module, for tracebacks too."""
        return self._sources[self._file(fullname)]

    def get_code(self, fullname: str) -> CodeType:
        """Compile a module."""
        file = self._file(fullname)
        return self.code_of(file)

    def code_of(self, file: str) -> CodeType:
        """Give a file's code: as compiled by an earlier guest, or compiled now."""
        compiled = self._codes.get(file)
        code: CodeType
        if compiled is not None:
            code = marshal.loads(binascii.a2b_base64(compiled))  # noqa: S302 - made by compile_all in a guest like this one
        else:
            code = compile(self._sources[file], file, "exec", dont_inherit=True)
        return code

    def find_distributions(self, context: DistributionFinder.Context = _ANY) -> Iterable[Distribution]:
        """Give the packages that are installed beside the agent, for ``importlib.metadata``."""
        return MetadataPathFinder.find_distributions(DistributionFinder.Context(name=context.name, path=["."]))

    def is_package(self, fullname: str) -> bool:
        """Tell whether a module is a package."""
        return self._file(fullname).endswith("/__init__.py")

    def get_data(self, path: str) -> bytes:
        """Read any file of the bundle, for ``pkgutil.get_data``."""
        found = reading.content(path)
        if found is None:
            raise FileNotFoundError(f"the bundle has no file {path!r}")
        return found

    def get_resource_reader(self, fullname: str) -> importlib.readers.FileReader:
        """Give the files beside a module, for ``importlib.resources``."""
        return importlib.readers.FileReader(importlib.machinery.SourceFileLoader(fullname, self._file(fullname)))

    def iter_modules(self, prefix: str = "") -> Iterable[tuple[str, bool]]:
        """Give the modules beside the agent to ``pkgutil.iter_modules()``."""
        return _Below("").iter_modules(prefix)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Leave the module object to the import system."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - this is what an importer does


class _Below:
    """What ``pkgutil`` asks for the modules of a directory of the bundle."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def iter_modules(self, prefix: str = "") -> Iterable[tuple[str, bool]]:
        """Give the name of each module and whether it is a package, sorted."""
        for name in reading.listing(self._directory) or ():
            inner = reading.listing(f"{self._directory}/{name}" if self._directory else name)
            module, dot, ending = (name, "", "") if inner is not None else name.rpartition(".")
            if "." not in module and ((inner is not None and "__init__.py" in inner) or (dot and ending == "py" and module != "__init__")):
                yield prefix + module, inner is not None


def _path_hook(path: str) -> _Below:
    directory = reading.within(path)
    if directory is None or reading.listing(directory) is None:
        raise ImportError("no directory of the bundle", path=path)
    return _Below(directory)


class MissingImporter(importlib.abc.MetaPathFinder):
    """The last finder: says why there is no such module."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> None:
        """Raise with a hint; who only asks whether there is one (``importlib.util.find_spec``) hears that there is none."""
        if sys._getframe(_ASKING).f_code.co_name == "find_spec":  # noqa: SLF001 - an import and a question look alike from here
            return
        raise ModuleNotFoundError(f"No module named {fullname!r}: {frozen.explain(fullname)}", name=fullname)


importer = BundleImporter()


def install() -> None:
    """Let imports come from what is frozen and from the bundle, and from nowhere else."""
    sys.path_hooks[:] = [_path_hook]  # type: ignore[list-item]  # pkgutil asks for no more than it has
    sys.meta_path[:] = [*(finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder), importer, MissingImporter()]


def compile_all(sources: dict[str, str]) -> dict[str, str]:
    """Compile every Python file that compiles: path to marshalled code in base64, for the guests that follow."""
    codes = {}
    for file, source in sources.items():
        if file.endswith(".py"):
            try:
                code = compile(source, file, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            codes[file] = binascii.b2a_base64(marshal.dumps(code), newline=False).decode()
    return codes


def load_entry(sources: dict[str, str], codes: dict[str, str], data: dict[str, str], entry: str) -> ModuleType:
    """Take a bundle's sources and other files, and run its entry file as a module named after it."""
    importer.open(sources, codes)
    reading.serve(sources, data)
    name = entry.removesuffix(".py").replace("/", ".")
    if entry not in sources:
        raise ModuleNotFoundError(f"the bundle has no file {entry!r}; its entry must be one of its Python files", name=name)
    module = ModuleType(name)
    module.__file__ = entry
    module.__loader__ = importer
    module.__spec__ = importlib.machinery.ModuleSpec(name, importer, origin=entry)
    if "." in name:
        module.__package__ = name.rpartition(".")[0]
    sys.modules[name] = module
    exec(importer.code_of(entry), module.__dict__)  # noqa: S102 - this is what an importer does
    return module


def forget() -> None:
    """Take back what a warming run loaded."""
    importer.open({}, {})
    reading.serve({}, {})
    sys.modules.pop("agent", None)
