"""transformers' own plans, that lay a model over the ranks."""

from torch.distributed.device_mesh import init_device_mesh
from transformers import PreTrainedModel
from transformers.distributed import DistributedConfig
from transformers.distributed.utils import TransformersDeviceMesh

from seodang.runtime.layout import is_latent
from seodang.runtime.sharding import Ranks, Shard
from seodang.worker.messages import Layout

# transformers' own plans copy latent attention to every rank; these rules share its heads out.
LATENT_ATTENTION_PLAN = {
    "model.layers.*.self_attn.q_b_proj": "colwise",
    "model.layers.*.self_attn.kv_b_proj": "colwise",
    "model.layers.*.self_attn.o_proj": "rowwise",
    "model.layers.*.self_attn.kv_a_proj_with_mqa": "mla_kv_a_proj",
}


def shard(model: PreTrainedModel, layout: Layout, ranks: Ranks) -> Shard:
    """Cut the meta ``model`` down to this rank's part, in place, and install the collectives of its layout."""
    part = ranks.part(layout)
    if layout.ranks == 1:
        return part
    plan: dict[str, str] | None = None
    if layout.tp > 1 and is_latent(model.config):
        plan = LATENT_ATTENTION_PLAN
    config = DistributedConfig(tp_size=layout.tp, ep_size=layout.ep, pp_size=layout.pp, tp_plan=plan)
    mesh = TransformersDeviceMesh(
        init_device_mesh(
            ranks.device.type, (layout.pp, 1, 1, layout.tp), mesh_dim_names=("pp", "dp_replicate", "fsdp", "tp")
        ),
        init_device_mesh(
            ranks.device.type,
            (layout.pp, 1, layout.tp // layout.ep, layout.ep),
            mesh_dim_names=("pp", "dp_replicate", "efsdp", "ep"),
        ),
    )
    type(model).maybe_distribute_model(model, config, mesh)
    return part
