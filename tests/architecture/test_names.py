"""No arrow points up, by import or by string, and no module exists for one other without reason."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache

from tests.architecture.sources import ROOMS, Source, sources

LOADING_CALLS = {"import_string", "import_module", "__import__", "get_model"}
LOADERS = {
    "hopper/cli/parser.py": "a command loads the handlers of its own group alone",
    "scopes/deciding.py": "scope_behaviors.yaml names the class that decides for a scope",
}
"""The modules that load others by a computed name, with the reason."""

UP_BY_STRING = {
    ("hopper/rest/urls.py", "instances.api.instance_urls"): "the addresses of a room",
    ("hopper/rest/urls.py", "instances.api.task_urls"): "the addresses of a room",
    ("hopper/rest/urls.py", "instances.api.urls"): "Django includes the addresses of a room",
    ("hopper/rest/urls.py", "scopes.api.urls"): "Django includes the addresses of a room",
    ("hopper/rest/urls.py", "delegation.api.urls"): "Django includes the addresses of a room",
    ("hopper/settings.py", "delegation.pages"): "Django lists the apps",
    ("hopper/urls.py", "delegation.pages.urls"): "Django includes the addresses of a room",
    ("hopper/urls.py", "instances.mcp.urls"): "Django includes the addresses of a room",
    ("hopper/settings.py", "instances.AgentToken"): "knox takes its model from the settings",
    ("hopper/settings.py", "instances.choices.InstanceStatus"): "drf-spectacular names an enum",
    ("hopper/settings.py", "instances.choices.TaskStatus"): "drf-spectacular names an enum",
    ("hopper/settings.py", "delegation.choices.DelegationStatus"): "drf-spectacular names an enum",
}
"""The strings that name a module or a model of a room above, with the reason."""

DOOR = "urls.py or the admin site lists each door once"
BEHIND = "the service or query behind one door, which only translates"
TABLE = "one table a file; the package gathers them"
ENGINE = "what one database engine does its own way; the package chooses"
INVARIANTS = "one group of invariants a file; the package gathers them"
NAMED = "loaded by name as well: by the parser or by scope_behaviors.yaml"
LATE = "loaded late, because its library is slow to load or optional"
FLOOR = "the part of a view that knows no room; the room's part stands on it"
SERVING = "one concern of serving: bytes, credentials, processes or settings"
TOOLS = "one group of tools a file; the server lists them"
STEP = "a step with its own locks and promises, tested by itself"

SINGLE_IMPORTER = {
    "delegation.api.filters": FLOOR,
    "delegation.api.serializers": "the shapes on the wire, apart from the calls",
    "delegation.api.views": DOOR,
    "delegation.archive.proving": "the invariants on files, apart from the database's",
    "delegation.audit.delegations": INVARIANTS,
    "delegation.audit.leases": INVARIANTS,
    "delegation.audit.questions": INVARIANTS,
    "delegation.audit.reasons": INVARIANTS,
    "delegation.audit.repair": BEHIND,
    "delegation.audit.structure": INVARIANTS,
    "delegation.audit.tasks": INVARIANTS,
    "delegation.audit.words": INVARIANTS,
    "delegation.pages.attention": DOOR,
    "delegation.pages.editing": "what a person edited, apart from the forms of all verbs",
    "delegation.pages.instance": DOOR,
    "delegation.pages.lists": DOOR,
    "delegation.pages.metrics": DOOR,
    "delegation.pages.readers": "the rights of all who look, apart from the streams",
    "delegation.pages.stream": DOOR,
    "delegation.pages.task": DOOR,
    "delegation.pages.way": "the story of a task, apart from its page",
    "delegation.questions": "what time brings to questions, apart from the round of the sweep",
    "delegation.receivers": "AppConfig.ready() connects them",
    "delegation.transfer.importing": BEHIND,
    "delegation.unplaced": "the words for a person, apart from the hops",
    "hopper.cli.handlers.local_commands": NAMED,
    "hopper.cli.handlers.questions": "what people decide, beside what workers report",
    "hopper.cli.handlers.tasks": NAMED,
    "hopper.cli.handlers.task_verbs": "the verbs of a task, beside its creating and reading",
    "hopper.cli.http": LATE,
    "hopper.cli.mcp.messages": "the lines on standard input, apart from the tools",
    "hopper.cli.mcp.planning": TOOLS,
    "hopper.cli.mcp.refusals": "what all messages share, apart from the tools",
    "hopper.cli.mcp.resources": "what an agent reads without a tool",
    "hopper.cli.mcp.tool": "a call of a tool, apart from the list of tools",
    "hopper.cli.setup.agents": "the table of agents, apart from the command",
    "hopper.cli.setup.json_text": "the form of a JSON file, apart from its meaning",
    "hopper.cli.worker.process": "the loop of a worker, apart from its options",
    "hopper.cli.worker.reporter": "delivering reports, apart from claiming and running",
    "hopper.cli.render.instances": "the drawing of a tree, apart from the commands",
    "hopper.config.yaml_lines": LATE,
    "hopper.database.pg_dump": LATE,
    "hopper.database.scratch": "a database in memory, apart from what is asked there",
    "hopper.database.sqlite": ENGINE,
    "hopper.environment": "reading a variable strictly, apart from what each one means",
    "hopper.logs": "the settings load it by name as well",
    "hopper.rest.health": DOOR,
    "hopper.rest.middleware": "the settings load it by name as well",
    "hopper.rest.root_view": DOOR,
    "hopper.rest.schema_view": DOOR,
    "hopper.rest.urls": "the root of the addresses of a local command",
    "hopper.rest.viewset": FLOOR,
    "hopper.serving.bodies": SERVING,
    "hopper.serving.connection": SERVING,
    "hopper.serving.mailboxes": SERVING,
    "hopper.serving.processes": SERVING,
    "hopper.serving.safety": SERVING,
    "hopper.serving.senders": SERVING,
    "hopper.serving.server": SERVING,
    "instances.admin.records": DOOR,
    "instances.admin.tree": DOOR,
    "instances.admin.webhooks": DOOR,
    "instances.api.dashboard_views": DOOR,
    "instances.api.instance_views": DOOR,
    "instances.api.lesson_views": DOOR,
    "instances.api.run_views": DOOR,
    "instances.api.task_views": DOOR,
    "instances.api.webhook_views": DOOR,
    "instances.lifecycle.runs": BEHIND,
    "instances.mcp.server": "the tools for a caller, apart from HTTP",
    "instances.mcp.view": DOOR,
    "instances.models.access": TABLE,
    "instances.models.comment": TABLE,
    "instances.models.lesson": TABLE,
    "instances.models.minute": TABLE,
    "instances.models.question": TABLE,
    "instances.models.records": TABLE,
    "instances.models.session": TABLE,
    "instances.models.tags": TABLE,
    "instances.models.webhook": TABLE,
    "instances.tasks.comments": BEHIND,
    "instances.tasks.decomposing": STEP,
    "instances.waiting.reasons": "one table of reasons, asked by Python and by SQL",
    "instances.tokens": BEHIND,
    "scopes.api.views": DOOR,
    "scopes.behaviors.global_scope": NAMED,
    "scopes.behaviors.project_scope": NAMED,
    "scopes.expectations": "AppConfig.ready() registers them",
    "scopes.feedback": BEHIND,
    "scopes.replay": BEHIND,
}
"""The modules that only one other file imports, with the reason why they are not folded."""

_DOTTED = re.compile(rf"({'|'.join(ROOMS)})(\.\w+)+")


def _module(source: Source) -> str:
    return source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _modules() -> dict[str, Source]:
    """Return the modules by name; no other test pays for reading them."""
    return {_module(source): source for source in sources()}


def _calls_that_load(tree: ast.Module) -> bool:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(ast.unparse(call.func).rsplit(".", 1)[-1] in LOADING_CALLS for call in calls)


def _named(tree: ast.Module) -> set[str]:
    """Return the strings that name a module, something in one, or a model by its app."""
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        text
        for text in texts
        if _DOTTED.fullmatch(text)
        and (
            text in _modules()
            or text.count(".") > 1
            or re.fullmatch(r"[a-z]+\.[A-Z]\w+", text)
        )
    }  # fmt: skip


def _points_up(path: str, text: str) -> bool:
    return ROOMS.index(text.split(".")[0]) > ROOMS.index(path.split("/")[0])


def _imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_modules_are_loaded_by_a_computed_name_only_for_a_reason() -> None:
    assert {s.path for s in sources() if _calls_that_load(s.tree)} == set(LOADERS)


def test_no_string_names_a_room_above_without_a_reason() -> None:
    found = {
        (source.path, text)
        for source in sources()
        for text in _named(source.tree)
        if _points_up(source.path, text)
    }
    assert found == set(UP_BY_STRING)


def test_an_arrow_up_by_string_would_be_found() -> None:
    tree = ast.parse('import_string("delegation.sweep.sweep")\nget_model("instances.Task")')
    assert _calls_that_load(tree)
    assert _named(tree) == {"delegation.sweep.sweep", "instances.Task"}
    assert _points_up("hopper/cli/startup.py", "delegation.sweep.sweep")
    assert not _points_up("delegation/sweep.py", "instances.Task")
    assert _named(ast.parse('event("delegation.offered")')) == set()


def test_a_module_that_one_other_file_imports_has_a_reason() -> None:
    importers = defaultdict(set)
    for source in sources():
        for name in _imported(source.tree) & _modules().keys():
            importers[name].add(source.path)
    single = {
        name
        for name, by in importers.items()
        if len(by) == 1 and len(_modules()[name].tree.body) > 1  # a package alone is no module
    }
    assert single == set(SINGLE_IMPORTER)
