"""Functions as tools: the model calls one, its result comes back, and the ledger says where the
tokens went.
"""

from typing import Literal

import understudy
from understudy import Session, SessionSettings, Tool


def price(item: Literal["apple", "bread", "rope"], count: int) -> str:
    """The price of an item in the village shop.

    Args:
        item: what to buy
        count: how many
    """
    return f"{count} {item} cost {count * {'apple': 2, 'bread': 3, 'rope': 7}[item]} silver coins."


print(Tool.from_function(price).to_openai()["function"]["parameters"])
model = understudy.load("smollm2-135m-instruct")
session = Session(model, tools=[price], settings=SessionSettings(is_parallel=False, rounds=1))
reply = session.say("What is the price of 4 apples?", tool_choice="required")
for result in reply.results:
    print(f"{result.call.name}({result.call.arguments}) -> {result.content}")
print(reply.text)
print(reply.ledger)
# A tool without a function is only announced: its call waits for you.
session = Session(model, tools=[Tool.from_function(price).to_openai()])
call = session.say("What is the price of 2 apples?", tool_choice="price").tool_calls[-1]
print(call.id, call.name, call.arguments)
