"""The table of all routes."""

from __future__ import annotations

from understudy.serve import (
    routes_anthropic,
    routes_characters,
    routes_collections,
    routes_completion,
    routes_embeddings,
    routes_llama,
    routes_openai,
    routes_responses,
    routes_server,
    routes_tokens,
)
from understudy.serve.openapi import Entry
from understudy.serve.protocol import anthropic, llama, openai, ours, responses

ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/health", routes_server.health),
    Entry("GET", "/ready", routes_server.ready),
    Entry("GET", "/metrics", routes_server.metrics, summary="Numbers for Prometheus"),
    Entry("GET", "/ps", routes_server.ps),
    Entry("GET", "/v1/models", routes_openai.models),
    Entry("GET", "/v1/models/{name:path}", routes_openai.model, summary="One model"),
    Entry(
        "POST",
        "/v1/chat/completions",
        routes_openai.chat_completions,
        openai.ChatRequest,
        "Answer a conversation (OpenAI)",
    ),
    Entry(
        "POST",
        "/v1/completions",
        routes_completion.completions,
        openai.CompletionRequest,
        "Continue texts (OpenAI)",
    ),
    Entry(
        "POST",
        "/v1/embeddings",
        routes_embeddings.embeddings,
        openai.EmbeddingsRequest,
        "Vectors of texts (OpenAI)",
    ),
    Entry(
        "POST",
        "/v1/responses",
        routes_responses.responses,
        responses.ResponsesRequest,
        "Answer a conversation and remember it (OpenAI)",
    ),
    Entry("GET", "/v1/responses/{id}", routes_responses.get_response),
    Entry("DELETE", "/v1/responses/{id}", routes_responses.delete_response),
    Entry(
        "POST",
        "/v1/messages",
        routes_anthropic.messages,
        anthropic.MessagesRequest,
        "Answer a conversation (Anthropic)",
    ),
    Entry(
        "POST", "/v1/messages/count_tokens", routes_anthropic.count_tokens, anthropic.CountRequest
    ),
    Entry("POST", "/tokenize", routes_tokens.tokenize, llama.TokenizeBody),
    Entry("POST", "/detokenize", routes_tokens.detokenize, llama.DetokenizeBody),
    Entry("GET", "/tokenizer_info", routes_tokens.tokenizer_info),
    Entry("GET", "/props", routes_llama.props),
    Entry(
        "POST",
        "/completion",
        routes_llama.completion,
        llama.CompletionBody,
        "Continue a text (llama-server)",
    ),
    Entry("GET", "/slots", routes_llama.slots),
    Entry("POST", "/slots/{id}", routes_llama.slot_action, llama.SlotBody),
    Entry("POST", "/v1/characters", routes_characters.add_character),
    Entry("GET", "/v1/characters", routes_characters.characters),
    Entry("GET", "/v1/characters/{id}", routes_characters.character),
    Entry("DELETE", "/v1/characters/{id}", routes_characters.delete_character),
    Entry("POST", "/v1/sessions", routes_characters.add_session, ours.SessionRequest),
    Entry("GET", "/v1/sessions/{id}", routes_characters.session),
    Entry("DELETE", "/v1/sessions/{id}", routes_characters.delete_session),
    Entry("POST", "/v1/sessions/{id}/turn", routes_characters.turn, ours.TurnRequest),
    Entry(
        "POST", "/v1/sessions/{id}/interrupt", routes_characters.interrupt, ours.InterruptRequest
    ),
    Entry("GET", "/v1/collections", routes_collections.collections),
    Entry("POST", "/v1/collections", routes_collections.add_collection, ours.CollectionRequest),
    Entry("GET", "/v1/collections/{name}", routes_collections.collection),
    Entry("DELETE", "/v1/collections/{name}", routes_collections.delete_collection),
    Entry(
        "POST",
        "/v1/collections/{name}/documents",
        routes_collections.add_documents,
        ours.DocumentRequest,
    ),
    Entry("GET", "/v1/collections/{name}/documents/{document:path}", routes_collections.document),
    Entry("POST", "/v1/collections/{name}/search", routes_collections.search, ours.SearchRequest),
    Entry("POST", "/v1/collections/{name}/ask", routes_collections.ask_collection, ours.AskRequest),
)
