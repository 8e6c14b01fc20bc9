// A form made of a JSON schema: the arguments of a function as fields. What it cannot show is edited as JSON.

import { make, shown } from "/page/dom.js";

let count = 0;

/** A form over the properties of an object schema. `onChange` gets the values after each change. */
export function argumentForm(schema, text, onChange) {
  let values = {};
  try {
    values = JSON.parse(text || "{}") ?? {};
  } catch {
    values = {};
  }
  const properties = Object.entries(schema?.properties ?? {});
  if (!properties.length) return null;
  const changed = (name, value) => {
    if (value === undefined) delete values[name];
    else values[name] = value;
    onChange({ ...values });
  };
  const fields = properties.map(([name, one]) => field(name, one ?? {}, values[name], schema.required?.includes(name), (value) => changed(name, value)));
  return make("div", { class: "arguments-form" }, ...fields);
}

function field(name, schema, value, isRequired, onChange) {
  const id = `argument-${(count += 1)}`;
  const input = control(schema, value, onChange);
  input.id = id;
  if (isRequired) input.setAttribute("aria-required", "true");
  const about = schema.description ? [make("small", {}, shown(schema.description).slice(0, 300))] : [];
  return make("div", { class: "field" }, make("label", { for: id }, shown(isRequired ? `${name} *` : name), ...about), input);
}

function control(schema, value, onChange) {
  const kind = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (Array.isArray(schema.enum)) {
    const select = make("select", {}, make("option", { value: "" }, "–"), ...schema.enum.map((one, i) => make("option", { value: String(i) }, shown(String(one)))));
    select.value = String(schema.enum.indexOf(value));
    select.addEventListener("change", () => onChange(schema.enum[Number(select.value)]));
    return select;
  }
  if (kind === "boolean") {
    const box = make("input", { type: "checkbox" });
    box.checked = value === true;
    box.addEventListener("change", () => onChange(box.checked));
    return box;
  }
  if (kind === "integer" || kind === "number") {
    const input = make("input", { type: "number", step: kind === "integer" ? "1" : "any", min: schema.minimum, max: schema.maximum });
    input.value = value ?? "";
    input.addEventListener("input", () => onChange(Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : undefined));
    return input;
  }
  const isText = kind === "string";
  const area = make("textarea", { rows: isText ? "1" : "3", class: isText ? undefined : "code", maxlength: schema.maxLength });
  area.value = value === undefined ? "" : isText ? String(value) : JSON.stringify(value);
  area.addEventListener("input", () => read(area, isText, onChange));
  return area;
}

function read(area, isText, onChange) {
  area.removeAttribute("aria-invalid");
  if (isText || !area.value.trim()) return onChange(area.value || undefined);
  try {
    onChange(JSON.parse(area.value));
  } catch {
    area.setAttribute("aria-invalid", "true");
  }
}
