"""stack file -> settings -> target -> regions -> global load balancer -> outputs."""

import pulumi

from components import assembly
from components.settings.read import read_stack_settings

settings = read_stack_settings()  # every mistake of the stack file is reported here, before any resource
target = assembly.target_of(settings)
regions = assembly.build_regions(target, settings)
balancer = assembly.build_global_load_balancer(target, regions, settings)

for name, value in assembly.outputs(regions, balancer).items():
    pulumi.export(name, value)
