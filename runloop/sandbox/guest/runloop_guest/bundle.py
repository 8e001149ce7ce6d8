"""Importing from the bundle's sources: pure Python, lazily, without a file system."""

import importlib.abc
import importlib.machinery
import sys
from types import CodeType, ModuleType

from runloop_guest import frozen


class BundleImporter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules of one bundle."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources
        self._directories = {path[:at] for path in sources for at, letter in enumerate(path) if letter == "/"}

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
        code: CodeType = compile(self._sources[file], file, "exec", dont_inherit=True)
        return code

    def is_package(self, fullname: str) -> bool:
        """Tell whether a module is a package."""
        return self._file(fullname).endswith("/__init__.py")

    def get_data(self, path: str) -> bytes:
        """Read any text file of the bundle, for ``pkgutil.get_data``."""
        if path not in self._sources:
            raise FileNotFoundError(f"the bundle has no file {path!r}")
        return self._sources[path].encode()

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Leave the module object to the import system."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - this is what an importer does


class MissingImporter(importlib.abc.MetaPathFinder):
    """The last finder: says why there is no such module."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> None:
        """Raise with a hint."""
        raise ModuleNotFoundError(f"No module named {fullname!r}: {frozen.explain(fullname)}", name=fullname)


def install(sources: dict[str, str]) -> BundleImporter:
    """Let imports come from what is frozen and from ``sources``, and from nowhere else."""
    importer = BundleImporter(sources)
    sys.meta_path[:] = [*(finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder), importer, MissingImporter()]
    return importer
