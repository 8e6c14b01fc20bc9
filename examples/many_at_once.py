"""Several requests share one engine; each text is what it would be alone."""

from concurrent.futures import ThreadPoolExecutor

import understudy

QUESTIONS = ["What is a bridge?", "What is a ship?", "What is a lighthouse?", "What is a harbour?"]

with understudy.load("smollm2-135m-instruct", context=512, cache_tokens=2048) as model:

    def ask(question: str) -> str:
        return model.generate(
            [{"role": "user", "content": question}], max_tokens=24, temperature=0.7, seed=7
        ).text

    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        together = list(pool.map(ask, QUESTIONS))
    for question, answer in zip(QUESTIONS, together, strict=True):
        print(f"{question} {answer}")
    assert together == [ask(question) for question in QUESTIONS]
