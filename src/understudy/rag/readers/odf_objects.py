"""What frames of OpenDocument hold that is a document of its own, and what controls of forms show.

OpenDocument 1.3 part 3: objects 10.4.6, forms 13.
"""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from understudy.rag.readers.mathml import mathml_text
from understudy.rag.readers.package import Package


class OdfObjects:
    """The objects and controls of one document."""

    def __init__(self, package: Package, content: Element) -> None:
        self._package = package
        self._controls = {
            control.get("id", ""): control
            for forms in content.iter("office.forms")
            for control in forms.iter()
        }

    def formula(self, frame: Element) -> str | None:
        """The formula that a frame holds, None where it holds none."""
        holder = frame.find("draw.object")
        root = None if holder is None else self._embedded(holder)
        return mathml_text(root) if root is not None and root.tag == "math" else None

    def text(self, element: Element, left_out: Counter[str]) -> str:
        """An object's text: a formula; all others are counted in `left_out`."""
        root = self._embedded(element)
        if root is not None and root.tag == "math":
            return mathml_text(root)
        is_chart = root is not None and root.find("office.body/office.chart") is not None
        left_out["chart" if is_chart else "embedded document"] += 1
        return ""

    def _embedded(self, element: Element) -> Element | None:
        inside = element.find("math")
        name = element.get("href", "").removeprefix("./")
        return inside if inside is not None else self._package.optional_xml(f"{name}/content.xml")

    def control(self, element: Element) -> str:
        """What a control shows: its value, its label, whether its box is ticked."""
        control = self._controls.get(element.get("control", ""))
        if control is None:
            return ""
        label, kind = control.get("label", ""), control.tag.removeprefix("form.")
        if kind in ("checkbox", "radio"):
            state = control.get("current-state") or control.get("state")
            is_on = state == "checked" or control.get("current-selected") == "true"
            return f"{'☒' if is_on else '☐'} {label}"
        if kind == "listbox":
            chosen = (o for o in control if o.get("current-selected", o.get("selected")) == "true")
            return ", ".join(option.get("label", "") for option in chosen)
        return control.get("current-value") or control.get("value") or label
