"""Policies: what a tool's argument must be. A violation is refused before the tool runs.

``@taximeter.tool(allow={"path": Workdir("/srv/data"), "url": Hosts("api.example.com")})``
"""

from taximeter.policies.commands import Commands
from taximeter.policies.hosts import Hosts
from taximeter.policies.paths import Workdir
from taximeter.policies.sql import ReadOnlySql
from taximeter.policies.values import Values
from taximeter.tools.denied import Denied, Policy

__all__ = ["Commands", "Denied", "Hosts", "Policy", "ReadOnlySql", "Values", "Workdir"]
