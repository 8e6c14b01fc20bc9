"""Characters: cards and the files they travel in, lorebooks, macros, memory of a long play, and turns for games.

card.py card_files.py png.py charx.py   what a card is | the files it travels in
lorebook.py decorators.py macros.py     what is called up when, where it goes, what stands for what
layout.py memory.py                     the order of a prompt and of dropping | what is remembered over a long play
npc.py state.py guard.py                a turn of a game character | the game and its reducer | what it may know and say
"""
