"""/lessons: the lessons of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django_filters import rest_framework as filters
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.errors import Invalid, NotFound
from hopper.rest.described import extend_schema
from hopper.rest.fields import Line, ShownSerializer, StrictSerializer, Text, Word
from hopper.rest.filters import matching
from hopper.words import key_of
from instances.api.base import Answering
from instances.api.permissions import (
    actor_of,
    lessons_of_project,
    require_worker_somewhere,
    seen_task,
    visible_instances,
    visible_lessons,
)
from instances.choices import Confidence
from instances.lessons import file_lesson
from instances.models import Lesson


class LessonSerializer(ShownSerializer[Lesson]):
    """A lesson."""

    task_id = serializers.CharField(allow_null=True)
    instance_id = serializers.CharField(allow_null=True)

    class Meta:
        model = Lesson
        fields = (
            "id",
            "task_id",
            "instance_id",
            "title",
            "domain",
            "confidence",
            "description",
            "project",
            "created_by",
            "created_at",
        )


class NewLesson(StrictSerializer):
    """The body of a new lesson."""

    ignored = frozenset(LessonSerializer.Meta.fields)

    title = Line(max_length=500)
    task_id = Line(required=False, allow_null=True, max_length=64)
    domain = Text(required=False, max_length=200)
    confidence = Word(choices=Confidence.choices, required=False)
    description = Text(required=False, max_length=10_000_000)
    project = Text(required=False, max_length=200)


class LessonFilter(filters.FilterSet):
    """Lessons. `project` is an instance by id or name, else a label: a project or a tag.

    `applies_to` is a task: its lessons are those of its holder and of the instances above.
    """

    project = filters.CharFilter(method="keep_of_project")
    domain = filters.CharFilter(method=matching(lambda word: Q(domain_key=key_of(word))))
    confidence = filters.MultipleChoiceFilter(choices=Confidence.choices)
    task_id = filters.CharFilter()
    applies_to = filters.CharFilter(method="keep_applying")
    search = filters.CharFilter(
        method=matching(lambda text: Q(title__icontains=text) | Q(description__icontains=text))
    )

    def keep_of_project(self, queryset: Any, name: str, value: str) -> Any:
        """Keep lessons of the project."""
        return lessons_of_project(actor_of(self.request), queryset, value)

    def keep_applying(self, queryset: Any, name: str, value: str) -> Any:
        """Keep lessons that apply to the task. Raises Invalid for a task that is not visible."""
        try:
            return queryset.applying_to(seen_task(actor_of(self.request), value))
        except NotFound as error:
            raise Invalid.field(name, f"there is no task {value}", "unknown") from error


def shown_lessons(rows: Sequence[Lesson]) -> list[Any]:
    """Return lessons as JSON; no query."""
    return list(LessonSerializer(rows, many=True).data)


class LessonViewSet(Answering):
    """Lessons."""

    queryset = Lesson.objects.all()
    serializer_class = LessonSerializer
    filterset_class = LessonFilter
    lookup_value_regex = r"[^/]+"

    @extend_schema(responses=LessonSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List the lessons that the caller may see, the newest first."""
        return self.paged(visible_lessons(self.actor).order_by("-created_at", "-pk"), shown_lessons)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one lesson."""
        row = visible_lessons(self.actor).filter(pk=pk).first()
        if row is None:
            raise NotFound(f"There is no lesson {pk}.")
        return Response(shown_lessons([row])[0])

    @extend_schema(request=NewLesson, responses={201: LessonSerializer})
    def create(self, request: Request) -> Response:
        """File a lesson at an instance where the caller works.

        With a task: at the instance on its line that `project` names, else at the lowest that is no
        run. Without one: at the instance that `project` names; any other word is a label.
        """
        data: dict[str, Any] = self.body(NewLesson)
        task_id = data.pop("task_id", None)
        task = None
        if task_id is None:
            require_worker_somewhere(self.actor, "To file a lesson")
        else:
            try:
                task = seen_task(self.actor, task_id, "worker")
            except NotFound as error:
                raise Invalid.field("task_id", f"there is no task {task_id}", "unknown") from error
        made = file_lesson(task=task, seen=visible_instances(self.actor), actor=self.actor, **data)
        return Response(shown_lessons([made])[0], status=status.HTTP_201_CREATED)
