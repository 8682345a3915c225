"""`/v1/pipeline` over HTTP."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from service_kit.authorization import SCOPE_PROBLEMS
from service_kit.problems import problem_responses
from sync_service.apply.processor import RouteProcessor
from sync_service.dependencies import SyncReader
from sync_service.kafka.gaps import KnownGap
from sync_service.kafka.stops import Stop
from sync_service.monitoring.pipeline.broker import TopicState
from sync_service.monitoring.pipeline.schemas import (
    Broker,
    Connectors,
    Partition,
    PipelineRoute,
    PipelineState,
    StoreState,
    Topic,
)
from sync_service.monitoring.pipeline.service import Pipeline, PipelineSnapshot, Probed, connector_of
from sync_service.monitoring.status.schemas import as_gaps, as_proof
from sync_service.proof.store import Proof, differs
from sync_service.routes.schemas import as_stops, route_state
from sync_service.runner import SyncRunner
from sync_service.sinks.targets import Store

router = APIRouter(prefix="/v1", tags=["pipeline"])


async def _pipeline(request: Request) -> Pipeline:
    pipeline: Pipeline = request.app.state.pipeline
    return pipeline


PipelineDep = Annotated[Pipeline, Depends(_pipeline)]


@router.get(
    "/pipeline",
    summary="Read the state of stores, connectors, topics and routes",
    responses=problem_responses(*SCOPE_PROBLEMS),
)
async def read_pipeline(*, _caller: SyncReader, pipeline: PipelineDep, request: Request) -> PipelineState:
    """The state is at most a second old. A part that does not answer within two seconds is null, with the reason; the
    other parts are reported all the same.

    `lag` and `done` are those of the whole consumer group. `problem` and `blocked_by` are of the process that answers.
    """
    runner: SyncRunner = request.app.state.runner
    snapshot = await pipeline.snapshot()
    topics = {topic.name: topic for topic in snapshot.broker.value.topics} if snapshot.broker.value else {}
    return PipelineState(
        observed_at=snapshot.at,
        problem=runner.problem,
        stores=[_store(name, answer) for name, answer in snapshot.stores.items()],
        connectors=Connectors(
            items=None if snapshot.connectors.value is None else list(snapshot.connectors.value),
            reason=snapshot.connectors.reason,
        ),
        broker=Broker(
            topics=[_topic(topic) for topic in topics.values()] if snapshot.broker.value else None,
            group_id=request.app.state.settings.sync_group_id,
            members=snapshot.broker.value.members if snapshot.broker.value else None,
            reason=snapshot.broker.reason,
        ),
        routes=[
            _route(
                processor,
                topics.get(topic),
                snapshot,
                gaps=runner.gaps.of(topic),
                stops=runner.stops.of(topic),
                proof=runner.proofs.get(processor.route.name),
            )
            for topic, processor in runner.processors.items()
        ],
        dead_letters_reason=snapshot.letters.reason,
    )


def _store(name: Store, answer: Probed[float]) -> StoreState:
    return StoreState(
        name=name,
        answers=answer.value is not None,
        milliseconds=None if answer.value is None else round(answer.value * 1000, 1),
        reason=answer.reason,
    )


def _topic(topic: TopicState) -> Topic:
    return Topic(
        name=topic.name,
        events=topic.events,
        partitions=[Partition.model_validate(each) for each in topic.partitions],
    )


def _route(
    processor: RouteProcessor,
    topic: TopicState | None,
    snapshot: PipelineSnapshot,
    *,
    gaps: Sequence[KnownGap],
    stops: Sequence[Stop],
    proof: Proof | None,
) -> PipelineRoute:
    route, blocked_by = processor.route, processor.statistics.blocked_by
    lag = None if topic is None else topic.lag
    connector = connector_of(route.topic, snapshot.connectors.value or ())
    return PipelineRoute(
        name=route.name,
        source=route.source_store,
        source_name=".".join(route.source) if route.source else None,
        connector=connector.name if connector else None,
        topic=route.topic,
        target=route.target.store,
        target_name=route.target.name,
        gaps=as_gaps(gaps),
        stops=as_stops(stops),
        proof=as_proof(proof),
        state=route_state(lag, blocked_by, is_in_doubt=bool(gaps), differs=differs(proof), stops=stops),
        lag=lag,
        done=None if topic is None else topic.done,
        open_dead_letters=None if snapshot.letters.value is None else snapshot.letters.value.get(route.topic, 0),
        blocked_by=blocked_by,
    )
