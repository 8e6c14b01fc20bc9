"""The table of all routes."""

from __future__ import annotations

from understudy.serve.api import (
    anthropic,
    characters,
    collections,
    conversations,
    llama,
    lora,
    openai_chat,
    openai_completions,
    openai_embeddings,
    responses,
    session_bodies,
    status,
    tokenize,
)
from understudy.serve.api.responses_bodies import ResponsesRequest
from understudy.serve.openapi import RouteEntry

ROUTES: tuple[RouteEntry, ...] = (
    RouteEntry("GET", "/health", status.health),
    RouteEntry("GET", "/ready", status.ready),
    RouteEntry("GET", "/metrics", status.metrics, summary="Numbers for Prometheus"),
    RouteEntry("GET", "/ps", status.ps),
    RouteEntry("GET", "/v1/models", openai_chat.models),
    RouteEntry("GET", "/v1/models/{name:path}", openai_chat.model, summary="One model"),
    RouteEntry(
        "POST",
        "/v1/chat/completions",
        openai_chat.chat_completions,
        openai_chat.ChatCompletionsBody,
        "Answer a conversation (OpenAI)",
    ),
    RouteEntry(
        "POST",
        "/v1/completions",
        openai_completions.completions,
        openai_completions.CompletionsBody,
        "Continue texts (OpenAI)",
    ),
    RouteEntry(
        "POST",
        "/v1/embeddings",
        openai_embeddings.embeddings,
        openai_embeddings.EmbeddingsBody,
        "Vectors of texts (OpenAI)",
    ),
    RouteEntry(
        "POST",
        "/v1/responses",
        responses.responses,
        ResponsesRequest,
        "Answer a conversation and remember it (OpenAI)",
    ),
    RouteEntry("GET", "/v1/responses/{id}", responses.get_response),
    RouteEntry("DELETE", "/v1/responses/{id}", responses.delete_response),
    RouteEntry(
        "POST",
        "/v1/messages",
        anthropic.messages,
        anthropic.MessagesRequest,
        "Answer a conversation (Anthropic)",
    ),
    RouteEntry("POST", "/v1/messages/count_tokens", anthropic.count_tokens, anthropic.CountRequest),
    RouteEntry("POST", "/tokenize", tokenize.tokenize, tokenize.TokenizeBody),
    RouteEntry("POST", "/detokenize", tokenize.detokenize, tokenize.DetokenizeBody),
    RouteEntry("GET", "/tokenizer_info", tokenize.tokenizer_info),
    RouteEntry("GET", "/props", llama.props),
    RouteEntry(
        "POST",
        "/completion",
        llama.completion,
        llama.LlamaCompletionBody,
        "Continue a text (llama-server)",
    ),
    RouteEntry(
        "POST",
        "/apply-template",
        openai_chat.apply_template,
        openai_chat.ChatCompletionsBody,
        "The prompt of a conversation as text (llama-server)",
    ),
    RouteEntry("GET", "/lora-adapters", lora.lora_adapters),
    RouteEntry("POST", "/lora-adapters", lora.set_lora_adapters, lora.LoraScales),
    RouteEntry("GET", "/slots", llama.slots),
    RouteEntry("POST", "/slots/{id}", llama.slot_action, llama.SlotBody),
    RouteEntry("POST", "/v1/characters", characters.add_character),
    RouteEntry("GET", "/v1/characters", characters.characters),
    RouteEntry("GET", "/v1/characters/{id}", characters.character),
    RouteEntry("DELETE", "/v1/characters/{id}", characters.delete_character),
    RouteEntry("POST", "/v1/sessions", characters.add_session, session_bodies.SessionRequest),
    RouteEntry("GET", "/v1/sessions", characters.sessions),
    RouteEntry(
        "POST", "/v1/sessions/restore", characters.restore_session, session_bodies.SavedSession
    ),
    RouteEntry("GET", "/v1/sessions/{id}", characters.session),
    RouteEntry("POST", "/v1/sessions/{id}/save", characters.save_session),
    RouteEntry("DELETE", "/v1/sessions/{id}", characters.delete_session),
    RouteEntry("POST", "/v1/sessions/{id}/turn", characters.turn, session_bodies.TurnRequest),
    RouteEntry(
        "POST", "/v1/sessions/{id}/interrupt", characters.interrupt, session_bodies.InterruptRequest
    ),
    RouteEntry("GET", "/v1/collections", collections.collections),
    RouteEntry(
        "POST", "/v1/collections", collections.add_collection, collections.CollectionRequest
    ),
    RouteEntry("GET", "/v1/collections/{name}", collections.collection),
    RouteEntry("DELETE", "/v1/collections/{name}", collections.delete_collection),
    RouteEntry(
        "POST",
        "/v1/collections/{name}/documents",
        collections.add_documents,
        collections.DocumentRequest,
    ),
    RouteEntry("GET", "/v1/collections/{name}/documents/{document:path}", collections.document),
    RouteEntry(
        "DELETE",
        "/v1/collections/{name}/documents/{document:path}",
        collections.delete_document,
    ),
    RouteEntry(
        "POST", "/v1/collections/{name}/search", collections.search, collections.SearchRequest
    ),
    RouteEntry(
        "POST", "/v1/collections/{name}/ask", collections.ask_collection, collections.AskRequest
    ),
    RouteEntry("GET", "/v1/conversations", conversations.conversations),
    RouteEntry("GET", "/v1/conversations/{id}", conversations.conversation),
    RouteEntry("PUT", "/v1/conversations/{id}", conversations.put_conversation),
    RouteEntry("DELETE", "/v1/conversations/{id}", conversations.delete_conversation),
)
