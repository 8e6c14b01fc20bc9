"""Texts with macros: one for every macro and every corner of the grammar that is known, and random
ones.
"""

from __future__ import annotations

import random

CORNERS = r"""
{{char}} and {{ USER }}|{{{char}}}|{{{{char}}}}|{char}|{{char}|{{char}}}}|{{char|{{user's}}
{{char!}}|{{char,x}}|{{char.x}}|{{ }}|{{}}|{{1}}|{{ 1 {{user}} }}|{{"x"}}|{{a b c}}|{{a=b}}
{{char-}}|{{user::}}|{{user::x}}|{{user:}}|{{/char}}|{{! char}}|{{~char}}|{{>char}}|{{?!~#char}}
{{char\}}|{{outer {{user}} text|{{user}}{{{user}}|{{foo {{user}}}}|{{foo::{{user}}::b}}
<USER> <bot> <Char> <GROUP> <CharIfNotGroup> <START>|\{\{char\}\}|\{x\}|{{char}}a{{/char}}
{{user}} {{user}}{{/user}}|{{char}}{{/if}}|{{trim}}  a  {{/trim}}|{{trim::x}}|{{// note}}x
{{//note}}x|{{// /path}}|{{//}}|{{//}}a {{user}}{{///}}b|{{comment: x}}y|{{comment}}
{{if user}}yes{{else}}no{{/if}}|{{if !user}}yes{{else}}no{{/if}}|{{if 0}}a{{/if}}
{{if off}}a{{else}}b{{/if}}|{{#if 1}} a {{/if}}|{{if 1}}  a  {{/if}}|{{if 1::x}}|{{if::1::x}}
{{if::0::x{{else}}y}}|{{if 1}}x|{{if}}x{{/if}}|{{if::1}}x{{/if}}|{{if {{user}}}}a{{/if}}
{{if {{getvar::no}}}}a{{else}}b{{/if}}|{{if .n}}a{{else}}b{{/if}}|{{if $g}}a{{else}}b{{/if}}
{{if 1}}{{if 0}}a{{else}}b{{/if}}{{else}}c{{/if}}
{{if ! description}}a{{else}}{{description}}{{/if}}|{{IF 1}}x{{/if}}|{{else}}|a{{else}}b
{{if persona}}a{{else}}b{{/if}}|{{if nonsense}}a{{/if}}|{{if scenario}}a{{else}}b{{/if}}
{{setvar::a::b}}{{getvar::a}}|{{setvar::a}}  hi {{/setvar}}[{{getvar::a}}]
{{#setvar::a}} hi {{/setvar}}[{{getvar::a}}]|{{setvar::x::1.5}}{{addvar::x::1}}{{getvar::x}}
{{setvar::x::007}}{{getvar::x}}|{{setvar::x::1e3}}{{getvar::x}}
{{setvar::x::0.1}}{{addvar::x::0.2}}{{getvar::x}}|{{addvar::l::a}}{{addvar::l::b}}{{getvar::l}}
{{addvar::e::}}{{getvar::e}}|{{incvar::n}}{{incvar::n}}{{decvar::n}}
{{setvar::s::ab}}{{incvar::s}}|{{setvar::::x}}|{{setvar::x}}|{{getvar::nope}}
{{setvar::j::["a"]}}{{addvar::j::b}}{{getvar::j}}
{{setvarkey::o::k::v}}{{getvar::o}}{{getvarkey::o::k}}|{{setvarkey::r::2::v}}{{getvar::r}}
{{setvarindex::r::0::v}}{{getvarindex::r::0}}{{getvarkey::r::9}}|{{getvarkey::no::k}}
{{setvar::o::{"a":{"b":1.0}}}}{{getvarkey::o::a}}|{{hasvar::n}}
{{setvar::h::}}{{hasvar::h}}{{deletevar::h}}{{hasvar::h}}|{{varexists::n}}{{flushvar::n}}
{{setglobalvar::z::q}}{{getglobalvar::z}}{{globalvarexists::z}}
{{incglobalvar::c}}{{decglobalvar::c}}|{{addglobalvar::c::x}}{{$c}}
{{setglobalvarkey::k::a::1}}{{getglobalvarkey::k::a}}|{{deleteglobalvar::c}}{{hasglobalvar::c}}
{{.x = 5}}{{.x}}|{{.x=5}}{{.x++}}{{.x--}}{{.x}}|{{$g = a b }}[{{$g}}]|{{.x = 1}}{{.x += 2}}{{.x}}
{{.x = a}}{{.x += b}}{{.x}}|{{.x = 5}}{{.x -= 2}}{{.x}}|{{.x = 5}}{{.x -= a}}{{.x}}|{{.y ?? z}}
{{.y ||= w}}{{.y}}|{{.y ??= w}}{{.y}}|{{.y = 0}}{{.y || z}}|{{.y = false}}{{.y || z}}{{.y ?? q}}
{{.x = 5}}{{.x == 5}}{{.x != 5}}|{{.x = 5}}{{.x > 3}}{{.x >= 5}}{{.x < 5}}{{.x <= 5}}
{{.x = a}}{{.x > 3}}|{{. x}}|{{.my-var = 2}}{{.my-var}}|{{.-}}|{{.}}|{{$}}|{{.x *}}
{{.x = {{user}}!}}{{.x}}|{{.x = }}[{{.x}}]|{{newline}}|{{newline::2}}|{{newline::x}}
{{newline::0}}|{{space}}|{{space::3}}!|{{noop}}|{{noop::1}}|{{reverse::Hello}}|{{reverse:Hello}}
{{reverse Hello}}|{{reverse::😀é}}|{{reverse::{{user}}}}|{{reverse::}}|{{reverse:}}|{{reverse}}
{{reverse::a::b}}|{{reverse a::b}}|{{reverse:a:b}}|{{ reverse : abc }}
{{reverse::{{reverse::{{reverse::abc}}}}}}|{{random}}|{{random::}}|{{random::a::b::c}}
{{random: a , b\,c}}|{{random:a::b}}|{{random a,b}}|{{random::{{user}}::{{char}}}}|{{pick::a::b}}
{{pick:a,b}}|{{pick}}|{{roll::6}}|{{roll 2d6-1}}|{{roll:2d6+1}}|{{roll d4}}|{{ROLL:1D6+2}}
{{roll::0d4}}|{{roll::x}}|{{roll:}}|{{roll}}|{{roll::1.5}}|{{roll::d}}|{{roll::3d6+4}}|{{time}}
{{time::UTC+2}}|{{time::UTC-7}}|{{time::UTC+330}}|{{time_UTC+2}}|{{time::nonsense}}
{{time::UTC+0}}|{{date}}|{{weekday}}|{{isotime}}|{{isodate}}
{{datetimeformat::YYYY-MM-DD HH:mm:ss}}|{{datetimeformat::LLLL}}|{{datetimeformat::dddd [the] Do}}
{{datetimeformat::DDDo wo WW Q A hh kk E e d dd YY SSS}}
{{datetimeformat::LT LTS L LL LLL l ll lll llll}}|{{datetimeformat::MMM Mo}}
{{timeDiff::2023-01-01 12:00:00::2023-01-01 15:00:00}}|{{timeDiff::2023-01-02::2023-01-01}}
{{timeDiff::2023-01-01::2023-01-01}}|{{timeDiff::2020-01-01::2023-06-01}}
{{timeDiff::2023-01-01::2023-02-20}}|{{timeDiff::2023-01-01T00:00::2023-01-01T00:50}}
{{idleDuration}}|{{idle_duration}}|{{lastMessage}}|{{lastUserMessage}}|{{lastCharMessage}}
{{lastMessageId}}|{{allChatRange}}|{{firstIncludedMessageId}}|{{lastSwipeId}}|{{currentSwipeId}}
{{lastGenerationType}}|{{hasExtension::x}}|{{isMobile}}|{{model}}|{{description}}
{{charDescription}}|{{personality}}|{{charPersonality}}|{{scenario}}|{{charScenario}}|{{persona}}
{{charPrompt}}|{{charInstruction}}|{{mesExamplesRaw}}|{{mesExamples}}|{{charDepthPrompt}}
{{creatorNotes}}|{{charCreatorNotes}}|{{charVersion}}|{{version}}|{{char_version}}|{{greeting}}
{{greeting::1}}|{{greeting::9}}|{{charFirstMessage::0}}|{{greeting::x}}|{{group}}
{{charIfNotGroup}}|{{groupNotMuted}}|{{notChar}}|{{maxPrompt}}|{{maxContext}}
{{maxResponseTokens}}|{{original}}|{{instructInput}}|{{instructStop}}|{{systemPrompt}}
{{defaultSystemPrompt}}|{{exampleSeparator}}|{{chatStart}}|{{input}}|{{banned::x}}|{{banned "x"}}
{{outlet::hall}}|{{outlet::no}}|{{unknown}} {{foo:bar}}|{{trim}}|{{trim x}}
"""
WITH_LINES = [
    "a\n{{trim}}\nb",
    "a\n\n{{trim}}b",
    "a\r\n{{trim}}\r\n\r\nb",
    "a\n {{trim}} \nb",
    "{{trim}}{{trim}}\nx",
    "{{if 1}}\n  # x\n    y\n{{/if}}",
    "{{if 1}}\n\tx\n y\n{{else}}\nz\n{{/if}}",
    "{{char\n}}",
    "{{\nchar}}",
    "{{setvar::a\n::b\nc\n}}[{{getvar::a}}]",
    "{{//}}\nlong\nnote\n{{///}}\nx",
]
TEXTS = [*(text for line in CORNERS.strip().split("\n") for text in line.split("|")), *WITH_LINES]
WORDS = [
    "a",
    "b c",
    "{{user}}",
    "{{char}}",
    "2",
    "{{getvar::x}}",
    "x",
    "{{.x}}",
    "0",
    "é猫",
    "{{foo}}",
    " ",
    "false",
    "1.5",
]
FORMS = [
    "{{char}}",
    "{{user}}",
    "{{reverse::A}}",
    "{{reverse:A}}",
    "{{random::A::B}}",
    "{{random:A,B}}",
    "{{pick::A::B}}",
    "{{setvar::x::A}}",
    "{{addvar::x::A}}",
    "{{getvar::x}}",
    "{{incvar::x}}",
    "{{decvar::x}}",
    "{{.x=A}}",
    "{{.x+=A}}",
    "{{.x??A}}",
    "{{.x==A}}",
    "{{.x>A}}",
    "{{$g=A}}",
    "{{$g}}",
    "{{if::A}}B{{/if}}",
    "{{if::A}}B{{else}}C{{/if}}",
    "{{#if::A}}_B{{/if}}",
    "{{if::!A}}B{{/if}}",
    "{{newline}}",
    "{{space::2}}",
    "{{trim}}",
    "{{trim}}_A_{{/trim}}",
    "{{//::A}}",
    "{{foo::A}}",
    "{{setvar::x}}A{{/setvar}}",
    "{{hasvar::x}}",
    "{{roll::A}}",
    "{{setvarkey::o::A::B}}",
    "{{getvarkey::o::A}}",
    "{{noop}}",
    "{_A_}",
    "<USER>",
    "A",
    "B",
]


def random_text(chance: random.Random, depth: int = 0) -> str:
    """A few forms one after the other, with words or forms in the places of A, B and C."""
    out = []
    for _ in range(chance.randint(1, 3)):
        form = chance.choice(FORMS)
        for place in "ABC":
            if place in form:
                inner = (
                    random_text(chance, depth + 1)
                    if depth < 2 and chance.random() < 0.4
                    else chance.choice(WORDS)
                )
                form = form.replace(place, inner, 1)
        out.append(form.replace("_", chance.choice([" ", "\n", "\n  "])))
    return chance.choice(["", " ", "\n"]).join(out)
