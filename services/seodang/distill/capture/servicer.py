"""CaptureService of the contract, translated."""

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from seodang.api.capture.v1 import capture_pb2 as pb
from seodang.api.capture.v1 import capture_pb2_grpc
from seodang.distill.capture.domain import DatasetVersion, Policy
from seodang.distill.capture.service import CaptureService
from seodang.distill.clock import to_timestamp
from seodang.distillation.spec import CAPTURED_LICENSE

Context = aio.ServicerContext[Any, Any]


class CaptureServicer(capture_pb2_grpc.CaptureServiceServicer):
    """Between messages and the service."""

    def __init__(self, service: CaptureService) -> None:
        self._service = service

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Context) -> pb.SetPolicyResponse:
        """What may be kept of a tenant."""
        asked = request.policy
        policy = Policy(asked.tenant, asked.enabled, asked.sample_rate, asked.retention_days, asked.consent)
        return pb.SetPolicyResponse(policy=_policy(await self._service.set_policy(policy)))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        """A page of policies."""
        page = await self._service.policies(request.tenant, request.page_size, request.page_token)
        return pb.ListPoliciesResponse(policies=map(_policy, page.items), next_page_token=page.next_token)

    async def AppendInteractions(
        self, request_iterator: AsyncIterator[pb.AppendInteractionsRequest], context: Context
    ) -> pb.AppendInteractionsResponse:
        """Exchanges that people agreed to."""
        tally = await self._service.append(request.interaction async for request in request_iterator)
        return pb.AppendInteractionsResponse(
            stored=tally.stored,
            dropped_by_policy=tally.dropped_by_policy,
            redactions=tally.redactions,
            duplicates=tally.duplicates,
            dropped_unfit=tally.dropped_unfit,
            dropped_full=tally.dropped_full,
        )

    async def CreateDatasetVersion(
        self, request: pb.CreateDatasetVersionRequest, context: Context
    ) -> pb.CreateDatasetVersionResponse:
        """Freezes."""
        return pb.CreateDatasetVersionResponse(
            version=_version(await self._service.freeze(request.dataset, request.request_id))
        )

    async def ListDatasetVersions(
        self, request: pb.ListDatasetVersionsRequest, context: Context
    ) -> pb.ListDatasetVersionsResponse:
        """A page of versions."""
        page = await self._service.page(request.dataset, request.page_size, request.page_token)
        return pb.ListDatasetVersionsResponse(versions=map(_version, page.items), next_page_token=page.next_token)

    async def EraseSubject(self, request: pb.EraseSubjectRequest, context: Context) -> pb.EraseSubjectResponse:
        """Forgets a person."""
        refuse = request.refuse if request.HasField("refuse") else None
        erased, versions = await self._service.erase(request.tenant, request.subject, refuse)
        return pb.EraseSubjectResponse(erased=erased, withdrawn_versions=[str(version.name) for version in versions])


def _policy(policy: Policy) -> pb.Policy:
    return pb.Policy(
        tenant=policy.tenant,
        enabled=policy.enabled,
        sample_rate=policy.sample_rate,
        retention_days=policy.retention_days,
        consent=policy.consent,
    )


def _version(version: DatasetVersion) -> pb.DatasetVersion:
    return pb.DatasetVersion(
        name=str(version.name),
        interactions=version.interactions,
        sha256=version.sha256,
        create_time=to_timestamp(version.create_time),
        withdrawn=version.withdrawn,
        prompts=version.prompts,
        redactions=version.redactions,
        first_time=to_timestamp(version.first_time),
        last_time=to_timestamp(version.last_time),
        tenants=version.tenants,
        models=version.models,
        consents=version.consents,
        license=CAPTURED_LICENSE,
        expire_time=to_timestamp(version.expire_time) if version.expire_time else None,
    )
