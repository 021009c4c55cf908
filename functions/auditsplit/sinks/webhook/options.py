"""The options of a webhook sink's URL."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from auditsplit.policy import Transform
from auditsplit.policy.applied import NO_POLICY, AppliedPolicy
from auditsplit.policy.rules import STAGES, Level, Policy, Rule
from auditsplit.routing.fields import WhichUser
from auditsplit.sinks import options

RequestBytes: TypeAlias = Annotated[
    int,
    msgspec.Meta(
        description="bytes of the events in a request. More events go in several requests. 0 is no limit", ge=0
    ),
]
"""The type of an option that bounds a request by its bytes."""

RequestEvents: TypeAlias = Annotated[
    int, msgspec.Meta(description="events in a request. More go in several requests. 0 is no limit", ge=0)
]
"""The type of an option that bounds a request by its events."""

_HIGHEST: Level = "RequestResponse"


class Stages(tuple[str, ...]):
    """The stages of requests that a downstream gets."""

    __slots__ = ()
    OPTION_WORDS: ClassVar[str] = f"some of {', '.join(STAGES)}, with commas between"

    def __str__(self) -> str:
        """Return the stages as an option has them."""
        return ",".join(self)

    @classmethod
    def from_option(cls, text: str, user: WhichUser) -> Stages:  # noqa: ARG003 - the signature of all option types
        """Return the stages in ``text``. ``ValueError`` if it has another one."""
        stages = text.split(",")
        for stage in stages:
            if stage not in STAGES:
                raise ValueError(f"must be {cls.OPTION_WORDS}, not {stage[:40]!r}")
        return cls(stages)


ALL_STAGES = Stages(STAGES)


def enforced(level: Level, stages: tuple[str, ...]) -> AppliedPolicy:
    """Return the policy of a downstream: a level for all requests, and the stages that it gets.

    It is what ``auditregistration.k8s.io`` made of an ``AuditSink``. Other stages are dropped. A level above the
    recorded one changes nothing.
    """
    omitted = tuple(stage for stage in STAGES if stage not in stages)
    if level == _HIGHEST and not omitted:
        return NO_POLICY
    return AppliedPolicy(Policy((Rule(level=level),), omitted), f"level {level}, stages {','.join(stages) or 'none'}")


class Options(options.Options, frozen=True, kw_only=True):
    """The options of a ``webhook+https:``, ``webhook+http:`` or ``webhook:`` URL."""

    kubeconfig: Annotated[
        str, msgspec.Meta(description="of `webhook:`, the path of the kubeconfig that kube-apiserver would be given")
    ] = ""
    token_file: Annotated[str, msgspec.Meta(description="the path of a file with the bearer token")] = ""
    ca_file: Annotated[
        str, msgspec.Meta(description="PEM file with the authority of the server's certificate, else the system's")
    ] = ""
    tls_server_name: Annotated[
        str, msgspec.Meta(description="the name in the server's certificate, if it is not the URL's host")
    ] = ""
    client_certificate: Annotated[str, msgspec.Meta(description="PEM file with the client's certificate")] = ""
    client_key: Annotated[str, msgspec.Meta(description="PEM file with its private key")] = ""
    proxy_url: Annotated[str, msgspec.Meta(description="the `http` proxy to the server")] = ""
    level: Annotated[
        Literal["None", "Metadata", "Request", "RequestResponse"],
        msgspec.Meta(description="the highest level that the downstream gets. Events above it are lowered"),
    ] = "RequestResponse"
    stages: Annotated[
        Stages, msgspec.Meta(description="the stages that the downstream gets. Others are dropped for it")
    ] = ALL_STAGES
    qps: Annotated[int, msgspec.Meta(description="requests a second and process, on average. 0 is no limit", ge=0)] = 0
    burst: Annotated[int, msgspec.Meta(description="requests at once, if `qps` was not used up", ge=1)] = 15
    timeout: options.TimeoutSeconds = 10
    truncate_max_batch_size: RequestBytes = 0
    batch_max_size: RequestEvents = 0
    required: Annotated[
        bool,
        msgspec.Meta(
            description="whether the answer 200 waits for the downstream. With 0, a batch that cannot be delivered is "
            "counted and lost for the downstream"
        ),
    ] = True

    @property
    def transforms(self) -> list[Transform]:
        """What is done to events for this downstream alone."""
        chain = (self.policy, enforced(self.level, self.stages), self.drop, self.truncate_max_event_size)
        return [transform for transform in chain if transform]
