"""Serializers of many reports in one call, and of the claim that may come with them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from hopper.rest.fields import Line, StrictList
from hopper.rest.problem_serializers import ProblemSerializer
from instances.api.instance_serializers import ClaimNext
from instances.api.task_serializers import ClaimSerializer, Complete
from instances.choices import TaskStatus

MOST_REPORTS = 100


class CompleteOne(Complete):
    """The worker has done the task of this id."""

    id = Line(max_length=64)


class ManyReports(StrictList):
    """The body that completes several tasks."""

    child = CompleteOne()

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_length": 1, "max_length": MOST_REPORTS, **options})


class ClaimAfter(ClaimNext):
    """A worker's claim, and the tasks that it has done before."""

    completed = ManyReports(required=False, min_length=0)


class VerdictSerializer(serializers.Serializer[Any]):
    """The answer to one report: the status of the task, and the problem of a refused report."""

    id = serializers.CharField()
    status = serializers.ChoiceField(choices=TaskStatus.choices, allow_null=True)
    problem = ProblemSerializer(allow_null=True)


class NextSerializer(ClaimSerializer):
    """The answers to the reports, and to the claim."""

    completed = VerdictSerializer(many=True)
