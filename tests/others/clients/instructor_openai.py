"""instructor over openai: tools, and a JSON schema."""

import instructor
import openai
from pydantic import BaseModel


class Town(BaseModel):
    name: str
    people: int


def structured(url, model):
    client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    made = []
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        town = instructor.from_openai(client, mode=mode).chat.completions.create(
            model=model,
            response_model=Town,
            messages=[{"role": "user", "content": "Paris has 2 people."}],
            max_tokens=96,
            max_retries=0,
        )
        made.append(type(town).__name__)
    return made
