"""Words that speak for a category of AEGIS 2.0, as one list a category.

Short and cautious on purpose: a word list knows no context, and what it flags wrongly is the reason
why guards get switched off. Slurs are not listed; give your own list to `Guard(lexicon=...)` where
you need one.
"""

from __future__ import annotations

from collections.abc import Mapping

LEXICON: Mapping[str, tuple[str, ...]] = {
    "Violence": (
        "behead",
        "beheaded",
        "beat him up",
        "beat her up",
        "murder",
        "murdered",
        "torture",
        "stab",
        "stabbed",
        "massacre",
        "strangle",
    ),
    "Threat": (
        "i will kill you",
        "i'll kill you",
        "i will hurt you",
        "i'll hurt you",
        "you will regret",
        "you are dead",
        "watch your back",
    ),
    "Suicide and Self Harm": (
        "suicide",
        "suicidal",
        "kill myself",
        "killing myself",
        "end my life",
        "self harm",
        "self-harm",
        "cut myself",
        "cutting myself",
        "want to die",
    ),
    "Sexual": (
        "sex",
        "naked",
        "nude",
        "porn",
        "pornography",
        "erotic",
        "orgasm",
        "genitals",
        "penis",
        "vagina",
        "masturbate",
    ),
    "Guns and Illegal Weapons": (
        "pipe bomb",
        "ghost gun",
        "explosive",
        "explosives",
        "silencer",
        "bomb",
        "molotov",
    ),
    "Controlled/Regulated Substances": (
        "cocaine",
        "heroin",
        "methamphetamine",
        "meth",
        "fentanyl",
        "mdma",
        "lsd",
    ),
    "Criminal Planning/Confessions": (
        "rob a bank",
        "kidnap",
        "shoplift",
        "burglary",
        "blackmail",
        "smuggle",
        "launder money",
        "hitman",
    ),
    "Hate/Identity Hate": (
        "subhuman",
        "vermin",
        "ethnic cleansing",
        "white power",
        "inferior race",
        "go back to your country",
    ),
    "Harassment": ("stalk her", "stalk him", "you are worthless", "humiliate", "doxx", "dox"),
    "Profanity": ("fuck", "fucking", "shit", "bitch", "asshole", "cunt", "motherfucker"),
    "Malware": ("ransomware", "keylogger", "malware", "computer worm", "botnet", "ddos"),
    "Fraud/Deception": ("phishing", "counterfeit", "fake id", "pyramid scheme", "identity theft"),
}
