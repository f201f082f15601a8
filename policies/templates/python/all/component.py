"""The component: the classes that componentize-py looks for, made of the policy."""

from codex_policy import component
from policy import Policy

globals().update(component(Policy))
