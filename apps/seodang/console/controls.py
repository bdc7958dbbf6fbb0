"""Widgets that several pages share: which model, and how it samples."""

from dataclasses import dataclass

import streamlit as st

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.console import figures
from seodang.console.servers import Held


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn; a temperature of 0 takes the likeliest token."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    seed: int = 0
    stop: str = ""

    def request(self, model: str, prompt: chat_pb2.Prompt) -> generate_pb2.GenerateRequest:
        """The request to a model."""
        return generate_pb2.GenerateRequest(
            model=model,
            prompt=prompt,
            sampling=generate_pb2.Sampling(temperature=self.temperature, top_p=self.top_p, seed=self.seed),
            stopping=generate_pb2.Stopping(strings=[self.stop] if self.stop else []),
            max_new_tokens=self.max_new_tokens,
        )


def sampling(key: str) -> Sampling:
    """Widgets for all of it."""
    return Sampling(
        temperature=float(st.slider("Temperature", 0.0, 2.0, 0.0, 0.1, key=f"{key} temperature")),
        top_p=float(st.slider("Top p", 0.05, 1.0, 1.0, 0.05, key=f"{key} top p")),
        max_new_tokens=int(st.number_input("Longest answer, in tokens", 1, 4096, 128, key=f"{key} length")),
        seed=int(st.number_input("Seed", 0, step=1, key=f"{key} seed")),
        stop=st.text_input("Stop at", key=f"{key} stop", placeholder="nothing"),
    )


def model(label: str, held: list[Held], key: str, prefer: str = "") -> Held:
    """Chooses one of the models; ``prefer`` is the short name, or the server, to begin with."""
    index = next((at for at, entry in enumerate(held) if prefer in (entry.short_name, entry.server.name)), 0)
    chosen = st.selectbox(label, range(len(held)), index=index, format_func=lambda at: _title(held[at]), key=key)
    return held[int(chosen)]


def _title(entry: Held) -> str:
    return f"{entry.short_name} · {figures.count(entry.model.total_parameters)} · {entry.server.name}"
