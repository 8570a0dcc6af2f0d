// The name of a key as a field.

import { field, h, selectorOf, t } from "./ui.js";
import { fault, faultFrom } from "./form.js";

const LONGEST_NAME = 100;

export function faultOfName(name) {
  if (!name) return t("fault.name.required");
  if (selectorOf(name) !== null) return t("leak.elsewhere");
  const { length } = [...name];
  return length > LONGEST_NAME ? t("fault.name.too_long", { count: LONGEST_NAME, actual: length }) : null;
}

/** What the server has against a name, if that is what it refused. */
export const nameFaultOf = ({ code, fields = [] }) =>
  (code === "name_taken" ? t("fault.name.taken") : faultFrom(fields, "name", "name", { count: LONGEST_NAME, actual: "" }));

export function nameField(ids, { name, nameFault }, change) {
  return h("div", { class: "field" },
    h("label", { for: ids.name }, t("field.name")),
    h("p", { id: ids.nameHint, class: "muted" }, t("field.name.hint", { count: LONGEST_NAME })),
    h("input", { type: "text", id: ids.name, dir: "auto", autocomplete: "off", "aria-required": "true", value: name,
      "aria-invalid": String(Boolean(nameFault)), "aria-describedby": `${ids.nameFault} ${ids.nameHint}`,
      ...field((text) => change({ name: text }), () => change({ name: "", nameFault: t("leak.elsewhere") })) }),
    fault(ids.nameFault, nameFault));
}
