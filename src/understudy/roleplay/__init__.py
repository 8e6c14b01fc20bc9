"""Characters: cards and the files they travel in, lorebooks, macros, memory of a long play, and
turns for games.

card.py card_files.py png.py charx.py    what a card is | the files it travels in
card_formats.py card_notes.py            characters of other programs | what of a card is not used
here lorebook.py lore.py lore_formats.py      a book, and asking several | the nouns | books of
other programs lore_v3.py lore_sillytavern.py           the two sets of rules by which entries are
called up (with
                                         lore_search, lore_groups, lore_effects, world_entry,
                                         decorators)
patterns.py charsets.py javascript.py    keys that are JavaScript's regular expressions
macros.py macro_list.py                  what stands for what (with macro_grammar, macro_operators,
                                         macro_variables, macro_context, moments, card_values)
layout.py memory.py                      the order of a prompt | what is remembered over a long play
npc.py part.py state.py knowledge.py     a turn of a game character | a character in play | the game
                                         and its reducer | what it may know and say
"""
