#!/usr/bin/env bash
# PDFium forgets a movement that ends a line of text behind an empty string.
#
# pypdfium2 5.15.2. `[(GNU) -2000 ()] TJ` shows "GNU" and moves the next text by 2,000 thousandths of
# the font size (ISO 32000-1, 9.4.3: strings may be empty). PDFium drops that movement where the
# array's last string is empty, so the next text stands 20 units too far left at 10 points, and
# extracted words touch ("GNUfind"). Without the empty string the movement is kept. groff's PDF writer
# ends its arrays like this at every change of font. Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install pypdfium2==5.15.2
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes

import pypdfium2
import pypdfium2.raw as raw


def pdf(content: str) -> bytes:
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] "
        "/Resources << /Font << /F1 3 0 R >> >> /Contents 5 0 R >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    tail = f"xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R >>\n"
    return out + f"{tail}startxref\n{len(out)}\n%%EOF\n".encode()


def read(array: str) -> tuple[str, float]:
    """(the text, where the f of "find" begins)"""
    page = pypdfium2.PdfDocument(pdf(f"BT /F1 10 Tf 20 200 Td {array} TJ (find) Tj ET"))[0]
    text = page.get_textpage()
    whole = text.get_text_range()
    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(text.raw, whole.index("f"), x, y)
    return whole, round(x.value, 1)


moved, lost = read("[(GNU) -2000]"), read("[(GNU) -2000 ()]")
print("without the empty string:", moved)
print("with it:                 ", lost)
assert moved[0] == "GNU find", moved
assert lost[0] == "GNUfind", lost
assert round(moved[1] - lost[1], 1) == 20.0, (moved, lost)
PYTHON
