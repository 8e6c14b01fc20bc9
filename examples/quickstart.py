"""Load the embedded model, continue a text, answer a message, and stream."""

import understudy

model = understudy.load("smollm2-135m-instruct", context=512)

print(model.generate("The capital of France is", max_tokens=8).text)

reply = model.generate([{"role": "user", "content": "What is a bridge?"}], max_tokens=40)
print(reply.text)
print(
    f"{reply.usage.prompt_tokens} + {reply.usage.completion_tokens} tokens, {reply.usage.decode_rate:.0f} tokens/s"
)

for piece in model.stream("Once upon a time", max_tokens=30, temperature=0.8, seed=1):
    print(piece, end="", flush=True)
print()
