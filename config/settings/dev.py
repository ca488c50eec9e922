"""A laptop: the embedded servers unless the environment names others."""

from config.settings.base import *  # noqa: F403  # a settings module is the union of its parts
