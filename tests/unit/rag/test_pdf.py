"""PDF: words as they stand on the page, lines that run on, words cut at line ends, forms,
passwords.
"""

from __future__ import annotations

import io

import pytest

from tests.unit.rag.test_readers import pdf_of, read
from understudy.errors import DocumentError
from understudy.rag.readers.pdf_lines import Glyph, lines_of


def page(*instructions: str, font: str = "F1 10") -> bytes:
    """A PDF of one page whose text object is written by hand."""
    return pdf_of(f"x) Tj ET BT /{font} Tf {' '.join(instructions)} (").replace(
        b"(x) Tj", b"( ) Tj"
    )


def lines(*texts: str) -> bytes:
    """Lines 12 units apart, the full ones as wide as the column."""
    return page("1 0 0 1 72 600 Tm 12 TL", *(f"({text}) Tj T*" for text in texts))


def test_kerned_and_justified_words_are_whole(tmp_path):
    moved = page(
        "1 0 0 1 72 600 Tm",
        "[(Softw) 15 (are) -251 (F) 15 (oundation) -500 (and) -250 (T) 80 (o)] TJ",
    )
    assert read(tmp_path, "a.pdf", moved).text.strip() == "Software Foundation and To"
    under = page("1 0 0 1 72 600 Tm", "[(PA) 90 ( ) 240 (TTERNS here)] TJ")
    assert read(tmp_path, "b.pdf", under).text.strip() == "PATTERNS here"


def test_lines_run_on_and_cut_words_are_joined(tmp_path):
    column = lines(
        "The keeper of the light at the river mouth wrote that the inter-",
        "national fleet came in by night, and the harbour was full of sa-",
        "lt and rope. The toll is four pence, and it is well-known to all",
        "who come here.",
    )
    text = "The keeper of the light at the river mouth wrote that the international fleet came in by night, and the harbour was full of salt and rope. The toll is four pence, and it is well-known to all who come here."
    assert read(tmp_path, "a.pdf", column).text.strip() == text


@pytest.mark.parametrize(
    ("instructions", "text"),
    [
        (r"[(L) -111 (\310) 444 (uck)] TJ", "Lück"),
        (r"[(r) -111 (\303) 444 (ole)] TJ", "rôle"),
        (r"[(na) 55 (\310) 278 (\365ve)] TJ", "naïve"),
        (r"(a \302 b) Tj", "a ´ b"),
    ],
)
def test_accents_that_stand_over_a_letter_are_one_with_it(tmp_path, instructions, text):
    document = read(tmp_path, "a.pdf", page("1 0 0 1 72 600 Tm", instructions))
    assert document.text.strip() == text


def test_what_is_drawn_twice_to_look_bold_is_read_once():
    """Ligatures, of which PDFium gives each letter; two equal letters side by side are two."""
    places = [("o", 0, 0), ("f", 10, 0), ("f", 15, 0), ("f", 10, 0.7), ("f", 15, 0.7), ("t", 20, 0)]
    glyphs = [Glyph(letter, left, left + 5, y, 10) for letter, left, y in places]
    assert [line.text for line in lines_of(glyphs)] == ["o fft"]


@pytest.mark.parametrize("turn", ["0 1 -1 0", "-1 0 0 -1", "0 -1 1 0"])
def test_lines_that_are_turned_are_read_along(tmp_path, turn):
    column = page(f"{turn} 300 400 Tm 12 TL (The toll is four pence) Tj T* (and due at once.) Tj")
    text = read(tmp_path, "a.pdf", column).text
    assert text.split() == ["The", "toll", "is", "four", "pence", "and", "due", "at", "once."]


def test_the_number_of_a_note_stands_apart(tmp_path):
    note = page("1 0 0 1 72 600 Tm 3 Ts (12) Tj 0 Ts (The toll is due.) Tj")
    assert read(tmp_path, "a.pdf", note).text.strip() == "12 The toll is due."


WORDS = "the keeper of the light at the river mouth wrote that the inter-"


@pytest.mark.parametrize("is_apart", [False, True])
def test_line_numbers_in_the_margin_do_not_cut_sentences(tmp_path, is_apart):
    """As part of each line, and written as lines of their own."""
    places = [(f"1 0 0 1 50 {700 - 12 * i} Tm ({i + 7}) Tj", 700 - 12 * i) for i in range(12)]
    texts = [f"1 0 0 1 72 {y} Tm ({WORDS}) Tj" for _, y in places]
    numbers = [number for number, _ in places]
    mixed = [part for pair in zip(numbers, texts, strict=True) for part in pair]
    document = read(tmp_path, "a.pdf", page(*(numbers + texts if is_apart else mixed)))
    assert document.text.count("interthe") == 11
    assert all(str(number) in document.text.split() for number in range(7, 19))


def test_numbers_before_rows_stay_there(tmp_path):
    rows = [
        f"1 0 0 1 50 {700 - 12 * i} Tm ({i + 1}) Tj 1 0 0 1 72 {700 - 12 * i} Tm ({'x' * i}) Tj"
        for i in range(1, 16)
    ]
    assert "9 xxxxxxxx" in read(tmp_path, "a.pdf", page(*rows)).text


def test_short_lines_keep_their_end_and_gaps_part_paragraphs(tmp_path):
    text = page(
        "1 0 0 1 72 600 Tm 12 TL (Port Ely) Tj T* (Fare 4) Tj T* T* (A paragraph of its own.) Tj",
    )
    assert (
        read(tmp_path, "a.pdf", text).text.strip() == "Port Ely\nFare 4\n\nA paragraph of its own."
    )


def form() -> bytes:
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import (
        ArrayObject,
        DictionaryObject,
        NameObject,
        NumberObject,
        TextStringObject,
    )

    writer = PdfWriter(
        clone_from=PdfReader(io.BytesIO(page("1 0 0 1 72 600 Tm (Name:) Tj 0 -30 Td (Old:) Tj")))
    )
    fields = []
    for y, kind, value in (
        (597, "/Tx", TextStringObject("Ada Stone")),
        (567, "/Btn", NameObject("/Yes")),
    ):
        fields.append(
            writer._add_object(
                DictionaryObject(
                    {
                        NameObject("/Type"): NameObject("/Annot"),
                        NameObject("/Subtype"): NameObject("/Widget"),
                        NameObject("/FT"): NameObject(kind),
                        NameObject("/T"): TextStringObject(f"field{y}"),
                        NameObject("/V"): value,
                        NameObject("/AS" if kind == "/Btn" else "/DA"): value,
                        NameObject("/Rect"): ArrayObject(
                            [NumberObject(n) for n in (120, y, 220, y + 12)]
                        ),
                    }
                )
            )
        )
    writer.pages[0][NameObject("/Annots")] = ArrayObject(fields)
    writer._root_object[NameObject("/AcroForm")] = DictionaryObject(
        {NameObject("/Fields"): ArrayObject(fields)}
    )
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_fields_that_are_filled_in(tmp_path):
    text = read(tmp_path, "form.pdf", form()).text
    assert "Name: Ada Stone" in text
    assert "Old: ☒" in text


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_encrypted_files_open_where_no_password_is_needed(tmp_path, algorithm):
    from pypdf import PdfReader, PdfWriter

    for user, is_open in (("", True), ("secret", False)):
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_of("The ferry leaves."))))
        writer.encrypt(user, "owner", algorithm=algorithm)
        buffer = io.BytesIO()
        writer.write(buffer)
        if is_open:
            assert read(tmp_path, "a.pdf", buffer.getvalue()).text == "The ferry leaves."
        else:
            with pytest.raises(DocumentError, match="PDF is encrypted"):
                read(tmp_path, "a.pdf", buffer.getvalue())


@pytest.mark.parametrize("title", ["untitled", "(anonymous)", "Microsoft Word - Fares"])
def test_titles_that_say_nothing_are_not_taken(tmp_path, title):
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_of("Text."))))
    writer.add_metadata({"/Title": title})
    buffer = io.BytesIO()
    writer.write(buffer)
    assert read(tmp_path, "toll.pdf", buffer.getvalue()).title == (
        "Fares" if "Fares" in title else "toll"
    )


def test_a_movement_at_the_end_of_a_line_stands():
    import zlib

    from understudy.rag.readers.pdf_source import with_last_movements

    page = b"BT 0 Tw [(. GNU) -251.600 ()] TJ /F36 10 Tf (find) Tj ET " * 50
    packed = zlib.compress(page, 1)
    head = (
        b"<< /Producer (gropdf version 1.22.4) >> << /Filter /FlateDecode\n/Length 99\n>>\nstream\n"
    )
    file = head + packed + b"\nendstream"
    mended = with_last_movements(file)
    assert len(mended) == len(file)
    reader = zlib.decompressobj()
    assert reader.decompress(mended[len(head) :]) == page.replace(b" ()]", b"]")
    assert with_last_movements(file.replace(b"gropdf", b"others")) == file.replace(
        b"gropdf", b"others"
    )
    assert with_last_movements(file[: len(head) + 20]) == file[: len(head) + 20]
