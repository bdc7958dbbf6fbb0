"""`seodang prompts`: what may be kept of a tenant's traffic, the frozen sets of prompts, and forgetting."""

import uuid
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from seodang.api.capture.v1 import capture_pb2
from seodang.base.errors import NotFound
from seodang.client import AsyncClient

_PAGE = 200
_LARGEST_PAGE = 1000


async def set_policy(address: str, policy: capture_pb2.Policy, console: Console) -> None:
    """Sets what may be kept of a tenant from now on."""
    async with AsyncClient(address) as client:
        await client.capture.SetPolicy(capture_pb2.SetPolicyRequest(policy=policy))
    console.print(f"{policy.sample_rate:.0%} of what people of {policy.tenant} agree to share is kept {_time(policy)}.")


async def stop_keeping(address: str, tenant: str, days: int | None, console: Console) -> None:
    """Keeps nothing more of a tenant; what is there stays for ``days``, or for as long as it was to stay."""
    async with AsyncClient(address) as client:
        found = (await client.capture.ListPolicies(capture_pb2.ListPoliciesRequest(tenant=tenant))).policies
        if not found:
            raise NotFound(f"tenant {tenant!r} has no policy, so nothing is kept of it; `seodang prompts policies`")
        policy = found[0]
        policy.enabled = False
        if days is not None:
            policy.retention_days = days
        await client.capture.SetPolicy(capture_pb2.SetPolicyRequest(policy=policy))
    console.print(f"Nothing more is kept of {tenant}; what is there stays {_time(policy)}.")


async def list_policies(address: str, console: Console) -> None:
    """Shows the policies, by tenant."""
    async with AsyncClient(address) as client:
        answer = await client.capture.ListPolicies(capture_pb2.ListPoliciesRequest(page_size=_LARGEST_PAGE))
    console.print(_policies_table(answer.policies))
    if answer.next_page_token:
        console.print(f"Only the first {_LARGEST_PAGE} are shown.")


async def freeze_prompts(address: str, dataset: str, console: Console) -> None:
    """Freezes what is kept of a dataset, and tells how a job names it."""
    async with AsyncClient(address) as client:
        request = capture_pb2.CreateDatasetVersionRequest(request_id=str(uuid.uuid4()), dataset=_full(dataset))
        version = (await client.capture.CreateDatasetVersion(request)).version
    console.print(versions_table([version]))
    console.print(f'\nA job names it as its data: "data": {{"dataset_version": "{version.name}"}}', highlight=False)


async def list_prompts(address: str, dataset: str, console: Console) -> None:
    """Shows the frozen versions, newest first."""
    async with AsyncClient(address) as client:
        request = capture_pb2.ListDatasetVersionsRequest(dataset=_full(dataset) if dataset else "", page_size=_PAGE)
        answer = await client.capture.ListDatasetVersions(request)
    console.print(versions_table(answer.versions))
    if answer.next_page_token:
        console.print(f"Only the newest {_PAGE} are shown; name a dataset to see fewer.")


async def forget_subject(address: str, request: capture_pb2.EraseSubjectRequest, console: Console) -> None:
    """Forgets a person, and tells which versions may no longer be used."""
    async with AsyncClient(address) as client:
        done = await client.capture.EraseSubject(request)
    console.print(f"{done.erased} exchanges were forgotten.")
    for name in done.withdrawn_versions:
        console.print(f"{name} held some of them and is withdrawn: freeze the dataset anew.", highlight=False)
    if request.HasField("refuse"):
        console.print("From now on nothing of them is kept." if request.refuse else "They may be kept again.")


def pieces(version: capture_pb2.DatasetVersion) -> str:
    """What was replaced in a version, in words."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(version.redactions.items())) or "none found"


def _policies_table(policies: Iterable[capture_pb2.Policy]) -> Table:
    """Policies as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("tenant", "kept", "how long", "what people agreed to"):
        table.add_column(heading, header_style="bold", overflow="fold")
    for policy in policies:
        kept = f"{policy.sample_rate:.0%}" if policy.enabled else "nothing more"
        table.add_row(policy.tenant, kept, _time(policy), policy.consent)
    return table


def _time(policy: capture_pb2.Policy) -> str:
    return f"for {policy.retention_days} days" if policy.retention_days else "until it is forgotten"


def versions_table(versions: Iterable[capture_pb2.DatasetVersion]) -> Table:
    """Versions as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("version", "prompts", "exchanges", "from", "to", "personal data replaced", "sha256", ""):
        table.add_column(heading, header_style="bold", overflow="fold")
    for version in versions:
        first, last = (f"{moment.ToDatetime():%Y-%m-%d %H:%M}" for moment in (version.first_time, version.last_time))
        table.add_row(
            version.name,
            f"{version.prompts:,}",
            f"{version.interactions:,}",
            first,
            last,
            pieces(version),
            version.sha256[:12],
            "[red]withdrawn" if version.withdrawn else "",
        )
    return table


def _full(dataset: str) -> str:
    return dataset if dataset.startswith("datasets/") else f"datasets/{dataset}"
