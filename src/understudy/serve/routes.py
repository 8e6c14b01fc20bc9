"""The table of all routes."""

from __future__ import annotations

from understudy.serve import routes_completion, routes_openai, routes_server
from understudy.serve.openapi import Entry
from understudy.serve.protocol import openai

ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/health", routes_server.health),
    Entry("GET", "/ready", routes_server.ready),
    Entry("GET", "/metrics", routes_server.metrics, summary="Numbers for Prometheus"),
    Entry("GET", "/ps", routes_server.ps),
    Entry("GET", "/v1/models", routes_openai.models),
    Entry("GET", "/v1/models/{name:path}", routes_openai.model, summary="One model"),
    Entry("POST", "/v1/chat/completions", routes_openai.chat_completions, openai.ChatRequest, "Answer a conversation (OpenAI)"),
    Entry("POST", "/v1/completions", routes_completion.completions, openai.CompletionRequest, "Continue texts (OpenAI)"),
)
