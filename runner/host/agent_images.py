"""The images in which agents act, where they are not the run image. Runs on: host."""

from pathlib import Path

from runner.config.load import LoadedConfig
from runner.errors import ConfigurationError
from runner.host.container_spec import ContainerUser
from runner.host.engine import Engine
from runner.host.portable_tools import portable_tools
from runner.host.run_request import CurrentRun


def check_agent_images(loaded: LoadedConfig, engine: Engine) -> None:
    """Raise ConfigurationError for each image of an agent that the engine does not have."""
    missing = [
        f"{loaded.path}: agents.{index}.backend.command_line_docker_image: the engine has no image "
        f"{image!r}: build or load it, or leave the key out"
        for index, agent in enumerate(loaded.config.agents)
        if (image := agent.backend.command_line_docker_image)
        and agent.backend.acts
        and not engine.has_image(image)
    ]
    if missing:
        raise ConfigurationError(*missing)


def portable_for(current: CurrentRun, image: str, user: ContainerUser) -> Path | None:
    """Return the tool server for images that are not the run image, if an agent has one."""
    if not any(agent.own_image for agent in current.acting.values()):
        return None
    request = current.request
    return portable_tools(
        current.ready.engine, image, user, request.environ, current.observer.noticed
    )
