"""The same text in another notation. Texts are taken as UTF-8."""

from __future__ import annotations

import base64
import codecs
import html
import json
import string
from collections.abc import Callable
from urllib.parse import quote, unquote

from understudy.judge.redteam.converters.base import Converter

_MORSE = {
    "a": ".-",
    "b": "-...",
    "c": "-.-.",
    "d": "-..",
    "e": ".",
    "f": "..-.",
    "g": "--.",
    "h": "....",
    "i": "..",
    "j": ".---",
    "k": "-.-",
    "l": ".-..",
    "m": "--",
    "n": "-.",
    "o": "---",
    "p": ".--.",
    "q": "--.-",
    "r": ".-.",
    "s": "...",
    "t": "-",
    "u": "..-",
    "v": "...-",
    "w": ".--",
    "x": "-..-",
    "y": "-.--",
    "z": "--..",
    "0": "-----",
    "1": ".----",
    "2": "..---",
    "3": "...--",
    "4": "....-",
    "5": ".....",
    "6": "-....",
    "7": "--...",
    "8": "---..",
    "9": "----.",
    ".": ".-.-.-",
    ",": "--..--",
    "?": "..--..",
    "'": ".----.",
    "!": "-.-.--",
    "/": "-..-.",
    "(": "-.--.",
    ")": "-.--.-",
    "&": ".-...",
    ":": "---...",
    ";": "-.-.-.",
    "=": "-...-",
    "+": ".-.-.",
    "-": "-....-",
    "_": "..--.-",
    '"': ".-..-.",
    "@": ".--.-.",
}
_NATO = [
    "Alfa",
    "Bravo",
    "Charlie",
    "Delta",
    "Echo",
    "Foxtrot",
    "Golf",
    "Hotel",
    "India",
    "Juliett",
    "Kilo",
    "Lima",
    "Mike",
    "November",
    "Oscar",
    "Papa",
    "Quebec",
    "Romeo",
    "Sierra",
    "Tango",
    "Uniform",
    "Victor",
    "Whiskey",
    "Xray",
    "Yankee",
    "Zulu",
]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _of_bytes(
    encode: Callable[[bytes], bytes | str], decode: Callable[[str], bytes]
) -> tuple[Callable[[str], str], Callable[[str], str]]:
    def convert(text: str) -> str:
        encoded = encode(_bytes(text))
        return encoded if isinstance(encoded, str) else encoded.decode("ascii")

    return convert, lambda text: decode(text).decode("utf-8")


def _binary(text: str) -> str:
    return " ".join(f"{byte:08b}" for byte in _bytes(text))


def _unbinary(text: str) -> str:
    return bytes(int(word, 2) for word in text.split()).decode("utf-8")


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def _atbash(text: str) -> str:
    letters = string.ascii_lowercase + string.ascii_uppercase
    mirrored = string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1]
    return text.translate(str.maketrans(letters, mirrored))


def _morse(text: str) -> str:
    """Words are parted by `/`; what Morse has no sign for stays."""
    return " / ".join(
        " ".join(_MORSE.get(character, character) for character in word)
        for word in text.lower().split(" ")
    )


def _unmorse(text: str) -> str:
    signs = {sign: character for character, sign in _MORSE.items()}
    return " ".join(
        "".join(signs.get(sign, sign) for sign in word.split(" ")) for word in text.split(" / ")
    )


def _spelled(text: str) -> str:
    """The letters by the alphabet of radio, words parted by a comma."""
    words = (
        " ".join(_NATO[ord(c) - 97] if "a" <= c <= "z" else c for c in word)
        for word in text.lower().split(" ")
    )
    return ", ".join(words)


def _unspelled(text: str) -> str:
    letters = {name: name[0].lower() for name in _NATO}
    return " ".join(
        "".join(letters.get(name, name) for name in word.split(" ")) for word in text.split(", ")
    )


def _escaped(text: str) -> str:
    """Every UTF-16 unit as \\uXXXX, as JSON and JavaScript read it."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _unescaped(text: str) -> str:
    return str(json.loads(f'"{text}"'))


def _entities(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


_KIND = "encoding"
ENCODINGS = (
    Converter(
        "base64",
        _KIND,
        "Base64",
        *_of_bytes(base64.b64encode, lambda text: base64.b64decode(text, validate=True)),
    ),
    Converter("base32", _KIND, "Base32", *_of_bytes(base64.b32encode, base64.b32decode)),
    Converter("hex", _KIND, "hexadecimal bytes", *_of_bytes(bytes.hex, bytes.fromhex)),
    Converter("binary", _KIND, "bytes as eight 0s and 1s", _binary, _unbinary),
    Converter("rot13", _KIND, "letters moved by 13", _rot13, _rot13),
    Converter("atbash", _KIND, "letters mirrored, a for z", _atbash, _atbash),
    Converter("morse", _KIND, "Morse code", _morse, _unmorse, "letters"),
    Converter(
        "radio-alphabet", _KIND, "letters as Alfa, Bravo, Charlie", _spelled, _unspelled, "letters"
    ),
    Converter(
        "url",
        _KIND,
        "percent signs, as in addresses",
        lambda text: quote(text, safe="", errors="replace"),
        unquote,
    ),
    Converter("json-escape", _KIND, "\\u escapes of JSON", _escaped, _unescaped),
    Converter("html-entities", _KIND, "numbers of HTML", _entities, html.unescape, "ascii"),
)
