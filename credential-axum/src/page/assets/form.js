// What forms in dialogs are made of: faults at their field, radio buttons in a group.

import { h, icon, isSaid, newId, t } from "./ui.js";

export const idsOf = (...names) => Object.fromEntries(names.map((name) => [name, newId()]));

/** One per intended change: the same attempt repeated must not do it twice. */
export const randomText = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What the server found wrong with a field, in the page's words. */
export function faultFrom(fields, name, words, values = {}) {
  const found = fields.find(({ field }) => field === name);
  if (!found) return null;
  const key = `fault.${words}.${found.code}`;
  return t(isSaid(key) ? key : `fault.${words}.other`, values);
}

export const fault = (id, text) => h("p", { id, class: "error" }, text && [icon("alert"), text]);

/** Puts the focus on the first field that is wrong; whether there is one. */
export function focusFault(root) {
  const first = root?.querySelector('[aria-invalid="true"]');
  (first?.matches("fieldset") ? first.querySelector('[aria-invalid="true"]') ?? first.querySelector("input:checked") ?? first.querySelector("input") : first)?.focus();
  return Boolean(first);
}

/**
 * Radio buttons in a group. `options` are `{ value, label, about }`; `ids` has the names `group`, `hint` and `fault`;
 * `rest` stands below the buttons.
 */
export function radios({ ids, legend, hint, options, chosen, wrong, choose, rest, className = "", isRequired = false }) {
  const described = [ids.fault, hint && ids.hint].filter(Boolean).join(" ");
  return h("fieldset", { class: "field", role: "radiogroup", "aria-required": isRequired ? "true" : undefined, "aria-invalid": String(Boolean(wrong)), "aria-describedby": described },
    h("legend", {}, legend), hint && h("p", { id: ids.hint, class: "muted" }, hint),
    h("div", { class: `choices ${className}` }, options.map(({ value, label, about }, at) => {
      const [radio, describe] = [`${ids.group}-${at}`, `${ids.group}-${at}-about`];
      return h("div", { class: "choice" },
        h("input", { type: "radio", name: ids.group, value, id: radio, checked: chosen === value,
          "aria-describedby": [wrong && ids.fault, about && describe].filter(Boolean).join(" ") || undefined, onchange: () => choose(value) }),
        h("label", { for: radio }, label), about && h("p", { id: describe, class: "muted" }, about));
    })),
    rest, fault(ids.fault, wrong));
}
