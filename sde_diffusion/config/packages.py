"""What other installed packages add to the command line, told to Hydra as its plug-ins."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from sde_diffusion.config import groups

SCHEME = "entrypoint"
GROUP = "network"


class Packages(SearchPathPlugin):
    """The ``conf`` folders of packages that declare an entry point of ours; then their networks."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for package, folder in groups.packages().items():
            search_path.append(package, f"file://{folder}")
        search_path.append("entry points", f"{SCHEME}://{GROUP}")


class DeclaredNetworks(ConfigSource):
    """A choice of ``network`` for each entry point; its package is imported if it is chosen."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path == GROUP

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return name in groups.declared(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if results_filter == ObjectType.GROUP:
            return [] if config_path else [GROUP]
        return sorted(groups.declared(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        node = OmegaConf.create(groups.declared_node(group, name))
        return ConfigResult(self.provider, self.full_path(), node, {"package": None})


def find_packages() -> None:
    """Let the composer find the choices of other packages, once a process."""
    if Packages not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(DeclaredNetworks)
        Plugins.instance().register(Packages)
