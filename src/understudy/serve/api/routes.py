"""All routes: each protocol lists its own. What `/openapi.json` is written from."""

from __future__ import annotations

from understudy.serve.api import (
    anthropic,
    characters,
    collections,
    collections_ask,
    conversations,
    llama,
    lora,
    models,
    openai_chat,
    openai_completions,
    openai_embeddings,
    responses,
    slots,
    status,
    tokenize,
)

ROUTES = (
    *status.ROUTES,
    *models.ROUTES,
    *openai_chat.ROUTES,
    *openai_completions.ROUTES,
    *openai_embeddings.ROUTES,
    *responses.ROUTES,
    *anthropic.ROUTES,
    *tokenize.ROUTES,
    *llama.ROUTES,
    *lora.ROUTES,
    *slots.ROUTES,
    *characters.ROUTES,
    *collections.ROUTES,
    *collections_ask.ROUTES,
    *conversations.ROUTES,
)
